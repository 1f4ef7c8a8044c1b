package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	mdns "github.com/miekg/dns"
)

// lag hides TXT records until that many questions have come.
func (s *server) lag(looks int) {
	var n atomic.Int32
	s.behave(func(w mdns.ResponseWriter, q *mdns.Msg) bool {
		if q.Question[0].Qtype == mdns.TypeTXT && int(n.Add(1)) <= looks {
			s.mu.Lock()
			m := s.answer(q)
			s.mu.Unlock()
			m.Answer = nil
			w.WriteMsg(m)
			return true
		}
		return false
	})
}

// both gives example.org with these records to ns1 and ns2.
func (w *world) both(records string) (ns1, ns2 *server) {
	w.usual()
	for _, ip := range []string{"127.0.0.2", "127.0.0.3"} {
		w.serve(ip, "example.org", "@ NS ns1\n@ NS ns2\nns1 A 127.0.0.2\nns2 A 127.0.0.3\n"+records)
	}
	return w.servers["127.0.0.2"], w.servers["127.0.0.3"]
}

// waiting runs Wait in a bubble with the usual bound and tells how long it took.
func waiting(t *testing.T, c *Client, records ...Record) (err error, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(bg, 120*time.Second)
		defer cancel()
		err = c.Wait(ctx, records)
		took = time.Since(start)
	})
	return err, took
}

func TestWait(t *testing.T) {
	seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
	tests := []struct {
		about           string
		records         string // of example.org
		more            func(w *world, ns1, ns2 *server)
		wait            string // NAME=VALUE ...
		want            string // error, "" = seen
		took            time.Duration
		onlyUnreachable bool
	}{
		{"right already", "_acme-challenge TXT a", nil, acme + "=a", "", 0, false},
		{"apex and wildcard", "_acme-challenge TXT a\n_acme-challenge TXT b", nil, acme + "=a " + acme + "=b", "", 0, false},
		{"beside another value", "_acme-challenge TXT a\n_acme-challenge TXT old", nil, acme + "=a", "", 0, false},
		{"a secondary one look behind", "_acme-challenge TXT a", func(_ *world, _, ns2 *server) { ns2.lag(1) }, acme + "=a", "", seconds(1), false},
		{"a secondary that lags", "_acme-challenge TXT a", func(_ *world, _, ns2 *server) { ns2.lag(6) }, acme + "=a", "",
			seconds(1 + 2 + 4 + 8 + 10 + 10), false},
		{"a secondary that never gets it", "_acme-challenge TXT a", func(_ *world, _, ns2 *server) { ns2.lag(1000) }, acme + "=a",
			`"_acme-challenge.example.org" is missing at ns2.example.org (127.0.0.3:PORT)`, seconds(120), false},
		{"nowhere", "", nil, acme + "=a",
			`"_acme-challenge.example.org" is missing at ns1.example.org (127.0.0.2:PORT) and 1 more server`, seconds(120), false},
		{"an old value", "_acme-challenge TXT old", nil, acme + "=a",
			`"_acme-challenge.example.org" has only other values at ns1.example.org (127.0.0.2:PORT) and 1 more server`, seconds(120), false},
		{"one of two values", "_acme-challenge TXT a", nil, acme + "=a " + acme + "=b",
			`"_acme-challenge.example.org" has only 1 of 2 values at ns1.example.org (127.0.0.2:PORT) and 1 more server`, seconds(120), false},
		{"one of two values, one asked for twice", "_acme-challenge TXT a", nil, acme + "=a " + acme + "=a " + acme + "=b",
			`"_acme-challenge.example.org" has only 1 of 2 values at ns1.example.org (127.0.0.2:PORT) and 1 more server`, seconds(120), false},
		{"the letters of a value count", "_acme-challenge TXT A", nil, acme + "=a",
			`"_acme-challenge.example.org" has only other values at ns1.example.org (127.0.0.2:PORT) and 1 more server`, seconds(120), false},
		{"at the end of a CNAME", "_acme-challenge CNAME x\nx TXT a", nil, acme + "=a", "", 0, false},
		{"at the end of a CNAME, to nowhere", "_acme-challenge CNAME x", nil, acme + "=a",
			`"x.example.org" is missing at ns1.example.org (127.0.0.2:PORT) and 1 more server`, seconds(120), false},

		{"one server is down", "@ NS ns3\nns3 A 127.0.0.9\n_acme-challenge TXT a", nil, acme + "=a",
			`"_acme-challenge.example.org" is seen, but ns3.example.org (127.0.0.9:PORT) does not answer: connection refused`, seconds(1), true},
		{"two servers are down", "@ NS ns3\nns3 A 127.0.0.9\nns3 A 127.0.0.10\n_acme-challenge TXT a", nil, acme + "=a",
			`"_acme-challenge.example.org" is seen, but ns3.example.org (127.0.0.9:PORT) and 1 more server do not answer: connection refused`, seconds(1), true},
		{"one is lame", "_acme-challenge TXT a", func(_ *world, _, ns2 *server) { ns2.behave(rcode(mdns.RcodeServerFailure)) }, acme + "=a",
			`"_acme-challenge.example.org" is seen, but ns2.example.org (127.0.0.3:PORT) does not answer: SERVFAIL`, seconds(1), true},
		{"one is down for a moment", "_acme-challenge TXT a", func(_ *world, _, ns2 *server) {
			var n atomic.Int32
			ns2.behave(func(w mdns.ResponseWriter, q *mdns.Msg) bool {
				return q.Question[0].Qtype == mdns.TypeTXT && n.Add(1) == 1 && rcode(mdns.RcodeServerFailure)(w, q)
			})
		}, acme + "=a", "", seconds(1), false},
		{"one lags and then goes down", "_acme-challenge TXT a", func(_ *world, _, ns2 *server) {
			var n atomic.Int32
			ns2.behave(func(w mdns.ResponseWriter, q *mdns.Msg) bool {
				if q.Question[0].Qtype != mdns.TypeTXT {
					return false
				} else if n.Add(1) == 1 {
					return shows(true)(w, q)
				}
				return rcode(mdns.RcodeServerFailure)(w, q)
			})
		}, acme + "=a", `"_acme-challenge.example.org" is seen, but ns2.example.org (127.0.0.3:PORT) does not answer: SERVFAIL`, seconds(3), true},
		{"one lags, one is down", "@ NS ns3\nns3 A 127.0.0.9\n_acme-challenge TXT a", func(_ *world, _, ns2 *server) { ns2.lag(3) }, acme + "=a",
			`"_acme-challenge.example.org" is seen, but ns3.example.org (127.0.0.9:PORT) does not answer: connection refused`, seconds(7), true},
		{"one never gets it, one is down", "@ NS ns0\nns0 A 127.0.0.9\n_acme-challenge TXT a", func(_ *world, _, ns2 *server) { ns2.lag(1000) }, acme + "=a",
			`"_acme-challenge.example.org" is missing at ns2.example.org (127.0.0.3:PORT)`, seconds(120), false},

		{"none answers", "", func(_ *world, ns1, ns2 *server) {
			ns1.behave(rcode(mdns.RcodeRefused))
			ns2.behave(rcode(mdns.RcodeRefused))
		}, acme + "=a", `none of the 2 name servers of "example.org" answers: ns1.example.org (127.0.0.2:PORT): REFUSED`, seconds(1), false},
		{"none answers from now on", "", func(_ *world, ns1, ns2 *server) {
			refuseTXT := func(w mdns.ResponseWriter, q *mdns.Msg) bool {
				return q.Question[0].Qtype == mdns.TypeTXT && rcode(mdns.RcodeRefused)(w, q)
			}
			ns1.behave(refuseTXT)
			ns2.behave(refuseTXT)
		}, acme + "=a", `none of the 2 name servers of "example.org" answers: ns1.example.org (127.0.0.2:PORT): REFUSED`, seconds(1), false},
		{"nobody serves it", "", nil, "_acme-challenge.example.com=a", `nobody serves a zone for "_acme-challenge.example.com"`, 0, false},
		{"nobody serves one, the other is there", "_acme-challenge TXT a", func(_ *world, _, ns2 *server) { ns2.lag(1) },
			"_acme-challenge.example.com=a " + acme + "=a", `nobody serves a zone for "_acme-challenge.example.com"`, seconds(1), false},
		{"five names are missing", "", nil, "a.example.org=a b.example.org=a c.example.org=a d.example.org=a e.example.org=a",
			`"a.example.org" is missing at ns1.example.org (127.0.0.2:PORT) and 1 more server; ` +
				`"b.example.org" is missing at ns1.example.org (127.0.0.2:PORT) and 1 more server; ` +
				`"c.example.org" is missing at ns1.example.org (127.0.0.2:PORT) and 1 more server and 2 more names`, seconds(120), false},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			w := newWorld(t)
			ns1, ns2 := w.both(test.records)
			if test.more != nil {
				test.more(w, ns1, ns2)
			}
			var records []Record
			for _, r := range strings.Fields(test.wait) {
				name, value, _ := strings.Cut(r, "=")
				records = append(records, Record{name, value})
			}
			err, took := waiting(t, w.client(), records...)
			got := ""
			if err != nil {
				got = strings.ReplaceAll(err.Error(), ":"+w.port, ":PORT")
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if took != test.took {
				t.Errorf("took %v, want %v", took, test.took)
			}
			var u *UnseenError
			if errors.As(err, &u) && u.OnlyUnreachable() != test.onlyUnreachable {
				t.Errorf("OnlyUnreachable is %t", u.OnlyUnreachable())
			}
			for _, r := range records {
				w.neverRecursed(r.Name)
			}
		})
	}
}

// A silent server costs two tries in all, not two for each name.
func TestWaitSilentServer(t *testing.T) {
	w := newWorld(t)
	var zone strings.Builder
	var records []Record
	for i := range 40 {
		fmt.Fprintf(&zone, "%d TXT a\n", i)
		records = append(records, Record{fmt.Sprintf("%d.example.org", i), "a"})
	}
	_, ns2 := w.both(zone.String())
	ns2.behave(func(_ mdns.ResponseWriter, q *mdns.Msg) bool { return q.Question[0].Qtype == mdns.TypeTXT })
	err, took := waiting(t, w.hasty(), records...)
	var u *UnseenError
	if !errors.As(err, &u) || !u.OnlyUnreachable() || len(u.Places) != 40 || took != time.Second {
		t.Errorf("got %v after %v", err, took)
	}
	// Two datagrams a question, as many questions as go side by side, two rounds.
	if n := len(ns2.questions("TXT")); n > 2*2*maxVisit {
		t.Errorf("%d questions", n)
	}
}

// All names of a zone whose servers are silent are given up together.
func TestWaitSilentZone(t *testing.T) {
	w := newWorld(t)
	ns1, ns2 := w.both("")
	ns1.behave(silent)
	ns2.behave(silent)
	var records []Record
	for i := range 100 {
		records = append(records, Record{fmt.Sprintf("%d.example.org", i), "a"})
	}
	err, took := waiting(t, w.hasty(), records...)
	if !errors.As(err, new(*UnreachableError)) || took != time.Second {
		t.Errorf("got %v after %v", err, took)
	}
	if n := len(ns1.questions("SOA")); n > 2*2*maxPlaces {
		t.Errorf("%d questions", n)
	}
}

func TestWaitCounts(t *testing.T) {
	w := newWorld(t)
	ns1, ns2 := w.both("_acme-challenge TXT a\n_acme-challenge TXT b\nx.www CNAME _acme-challenge")
	ns2.lag(3)
	err, _ := waiting(t, w.client(), Record{acme, "a"}, Record{strings.ToUpper(acme) + ".", "b"}, Record{"x.www.example.org", "a"})
	if err != nil {
		t.Fatal(err)
	}
	// Three records, one place: who shows all is asked once.
	if got := ns1.questions("TXT"); len(got) != 1 {
		t.Errorf("ns1 was asked %v", got)
	}
	if got := ns2.questions("TXT"); len(got) != 4 {
		t.Errorf("ns2 was asked %v", got)
	}
	// The zone's servers and their addresses once.
	got := w.resolver.questions("")
	slices.Sort(got)
	if len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("the resolver was asked %v", got)
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	cause := errors.New("enough")
	w := newWorld(t)
	w.usual()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(bg)
		time.AfterFunc(5*time.Second, func() { cancel(cause) })
		if err := w.client().Wait(ctx, []Record{{acme, "a"}}); err != cause {
			t.Errorf("got %v", err)
		}
		over, cancelOver := context.WithTimeout(bg, 0)
		defer cancelOver()
		var u *UnseenError
		if err := w.client().Wait(over, []Record{{acme, "a"}}); !errors.As(err, &u) || u.OnlyUnreachable() || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), strconv.Quote(acme)) {
			t.Errorf("got %v", err)
		}
	})
	if err := w.client().Wait(bg, nil); err != nil {
		t.Errorf("nothing to wait for: %v", err)
	}
}

// Servers that do not answer are sought once more. When the time is over just then,
// that they do not answer is still what is told.
func TestWaitOverInTheSecondSearch(t *testing.T) {
	w := newWorld(t)
	ns1, ns2 := w.both("")
	ns1.behave(rcode(mdns.RcodeRefused))
	ns2.behave(rcode(mdns.RcodeRefused))
	for range 20 { // the end and the second search are at the same instant
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(bg, firstPause)
			defer cancel()
			if err := w.client().Wait(ctx, []Record{{acme, "a"}}); !errors.As(err, new(*UnreachableError)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Time may be over before any server has said a word.
func TestWaitOverInTheFirstLook(t *testing.T) {
	w := newWorld(t)
	ns1, ns2 := w.both("")
	ctx := over{bg, make(chan struct{})}
	var once sync.Once
	silentTXT := func(_ mdns.ResponseWriter, q *mdns.Msg) bool {
		if q.Question[0].Qtype != mdns.TypeTXT {
			return false
		}
		once.Do(func() { close(ctx.done) })
		return true
	}
	ns1.behave(silentTXT)
	ns2.behave(silentTXT)
	err := w.client().Wait(ctx, []Record{{acme, "a"}})
	if !errors.As(err, new(*UnseenError)) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// over is a context whose time is over when the test says so.
type over struct {
	context.Context
	done chan struct{}
}

func (o over) Done() <-chan struct{} { return o.done }

func (o over) Err() error {
	select {
	case <-o.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestUnseen(t *testing.T) {
	w := newWorld(t)
	_, ns2 := w.both("_acme-challenge TXT old")
	ns2.lag(1000)
	err, _ := waiting(t, w.client(), Record{acme, "a"})
	var u *UnseenError
	if !errors.As(err, &u) || len(u.Places) != 1 {
		t.Fatalf("got %v", err)
	}
	p := u.Places[0]
	if p.Place.Zone != "example.org" || !slices.Equal(p.Names, []string{acme}) || !slices.Equal(p.Values, []string{"a"}) {
		t.Errorf("got %+v", p)
	}
	if len(p.Lacking) != 2 || !slices.Equal(p.Lacking[0].Values, []string{"old"}) || len(p.Lacking[1].Values) != 0 {
		t.Errorf("got %+v", p.Lacking)
	}
}
