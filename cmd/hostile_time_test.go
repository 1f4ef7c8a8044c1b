package cmd_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"arid/internal/fakeca"
)

func TestHangingCA(t *testing.T) {
	var rows attacks
	for _, s := range stages {
		hang := func(ca *fakeca.CA) { ca.Hang(s.kind) }
		rows = append(rows,
			attack{name: s.kind + " for a second", newcomer: s.newcomer, does: hang, args: []string{"--timeout", "1s"},
				says: []string{"the CA took longer than 1s (--timeout)"}, within: 2 * time.Second},
			attack{name: s.kind + " for ever", newcomer: s.newcomer, does: hang, only: inTurn(len(rows), s.newcomer),
				says: []string{s.what, "no answer in time"}, most: map[string]int{s.kind: 16}},
			attack{name: s.kind + " byte by byte", newcomer: s.newcomer, does: func(ca *fakeca.CA) { ca.Drip(s.kind, 1, 5*time.Second) },
				args: []string{"--timeout", "30s"}, only: inTurn(len(rows), s.newcomer), says: []string{"the CA took longer than 30s (--timeout)"}, within: 31 * time.Second},
		)
	}
	for i := range rows {
		if rows[i].name == fakeca.Nonce+" byte by byte" { // it has no body
			rows[i].does = func(ca *fakeca.CA) { ca.Hang(fakeca.Nonce) }
		}
	}
	rows = append(rows, attack{name: "TLS that says nothing", does: func(ca *fakeca.CA) { ca.SilentTLS() }, fatal: true, says: []string{"no answer in time", "TLS handshake timeout"}, within: 2 * time.Minute})
	against(t, rows.with(75))
}

func TestStuckOrderIsTakenUpAgain(t *testing.T) {
	for _, at := range []struct {
		name  string
		stick func(ca *fakeca.CA)
		heal  func(ca *fakeca.CA)
		says  string
	}{
		{"processing", func(ca *fakeca.CA) { ca.StuckProcessing() }, func(ca *fakeca.CA) { ca.Unstick() }, "is still processing"},
		{"validating", func(ca *fakeca.CA) { ca.ValidationPolls(-1) }, func(ca *fakeca.CA) { ca.ValidationPolls(0) }, "is still pending"},
	} {
		for _, v := range []variant{firstTime, renewal} {
			t.Run(at.name+"/"+string(v), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := newSiege(t, attack{does: at.stick, heal: at.heal, args: []string{"--timeout", "3s"}, status: 75,
						says: []string{at.says, "the CA took longer than 3s (--timeout)"}, within: 4 * time.Second, fatal: at.name == "validating"}, v)
					s.run()
					if n := s.ca.NewOrders() - s.orders; n != 1 {
						t.Errorf("%d orders", n)
					}
				})
			})
		}
	}
}

func TestRetryAfter(t *testing.T) {
	var rows attacks
	for _, s := range stages {
		for _, status := range []int{429, 503} {
			for _, when := range []struct{ name, value, hint string }{
				{"in an hour", "3600", "not before 2000-01-01T01:"},
				{"at a date", "Sat, 01 Jan 2000 10:00:00 GMT", "not before 2000-01-01T10:00:00Z"},
				{"in a year", "31536000", "not before 200"},
				{"in 20 nines", "99999999999999999999", "not before 200"},
				{"in the year 9999", "Fri, 31 Dec 9999 23:59:59 GMT", "not before 200"},
				{"nonsense", "soon", ""},
				{"below nothing", "-5", ""},
			} {
				most := 1
				if status == 503 && when.hint == "" {
					most = 4 // an outage
				}
				rows = append(rows, attack{
					name: fmt.Sprintf("%s %d %s", s.kind, status, when.name), newcomer: s.newcomer, only: inTurn(len(rows), s.newcomer),
					does: problem(s.kind, status, "rateLimited", "too many of you", "Retry-After: "+when.value),
					says: []string{"not now: " + s.what}, hint: when.hint, most: map[string]int{s.kind: most}, within: 30 * time.Second,
				})
			}
		}
	}
	for i := range rows {
		if rows[i].hint != "" {
			rows[i].within = time.Second
		}
	}
	rows = append(rows,
		attack{name: "longer than --timeout", does: problem(fakeca.NewOrder, 429, "rateLimited", "slow down", "Retry-After: 90"), args: []string{"--timeout", "1m"},
			says: []string{"not now: new order"}, hint: "not before 2000-01-01T00:01:3", within: time.Second},
		attack{name: "longer than is waited for", does: problem(fakeca.NewOrder, 503, "", "closed", "Retry-After: 400"),
			says: []string{"not now: new order"}, hint: "not before 2000-01-01T00:06:4", within: time.Second},
		attack{name: "again and again", does: problem(fakeca.NewOrder, 503, "", "closed", "Retry-After: 20"),
			says: []string{"not now: new order"}, hint: "not before 2000-01-01T00:0", most: map[string]int{fakeca.NewOrder: 11}, within: 5 * time.Minute},
	)
	against(t, rows.with(75))
}

func TestShortRetryAfterIsWaitedOut(t *testing.T) {
	for i, s := range stages {
		for _, status := range []int{429, 503} {
			t.Run(fmt.Sprint(s.kind, status), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					date := time.Now().Add(10 * time.Second).UTC().Format(http.TimeFormat)
					newSiege(t, attack{newcomer: s.newcomer, does: func(ca *fakeca.CA) {
						ca.Problem(s.kind, status, "rateLimited", "slow down", 1, "Retry-After: 2")
						ca.Problem(s.kind, status, "rateLimited", "slow down", 1, "Retry-After: "+date)
					}, within: 20 * time.Second, also: func(s *siege) {
						if waited := time.Since(s.began); waited < 10*time.Second-100*time.Millisecond {
							s.t.Errorf("waited %v only", waited)
						}
					}}, inTurn(i, s.newcomer)).run()
				})
			})
		}
	}
}

func TestNonces(t *testing.T) {
	reject := func(n int) func(*fakeca.CA) { return func(ca *fakeca.CA) { ca.RejectNonces(n) } }
	against(t, attacks{
		{name: "three bad in a row", does: reject(3), status: 0, within: 10 * time.Second},
		{name: "twelve bad in a row", does: reject(12), status: 0, within: time.Minute},
		{name: "all bad", does: reject(-1), status: 75, says: []string{"refused 16 nonces", "badNonce"}, most: map[string]int{fakeca.NewOrder: 16, fakeca.Nonce: 1}, within: time.Minute},
		{name: "all bad for a newcomer", newcomer: true, does: reject(-1), status: 75, says: []string{"refused 16 nonces"}, most: map[string]int{fakeca.NewAccount: 16, fakeca.Nonce: 1}, within: time.Minute},
		{name: "none in the replies", does: func(ca *fakeca.CA) { ca.NoNonceInReplies(fakeca.NewOrder).NoNonceInReplies(fakeca.Authz) }, status: 0},
		{name: "none at all", does: func(ca *fakeca.CA) { ca.NoNonceInReplies("") }, status: 76, says: []string{"new nonce", "no good Replay-Nonce"}, most: map[string]int{fakeca.Nonce: 1}},
	})
}

func TestLostAnswers(t *testing.T) {
	one := map[string]int{fakeca.NewOrder: 1}
	var rows attacks
	for _, s := range stages {
		status := 0
		if s.kind == fakeca.NewAccount || s.kind == fakeca.NewOrder {
			status = 75 // it may have been carried out: the next run sees
		}
		says := ""
		if status != 0 {
			says = s.what
		}
		rows = append(rows,
			attack{name: s.kind + " carried out, and cut", newcomer: s.newcomer, does: func(ca *fakeca.CA) { ca.DropAfter(s.kind, 1) },
				status: status, says: []string{says}, most: one, within: time.Minute},
			attack{name: s.kind + " cut", newcomer: s.newcomer, does: func(ca *fakeca.CA) { ca.DropBefore(s.kind, 1) }, only: inTurn(len(rows), s.newcomer),
				status: status, says: []string{says}, most: one, within: time.Minute},
			attack{name: s.kind + " cut for ever", newcomer: s.newcomer, does: func(ca *fakeca.CA) { ca.DropBefore(s.kind, -1) }, only: inTurn(len(rows), s.newcomer),
				status: 75, says: []string{s.what, "the connection was cut"}, most: one, within: time.Minute},
		)
	}
	rows = append(rows,
		attack{name: "finalize carried out, and 500", does: func(ca *fakeca.CA) {
			ca.Status(fakeca.Finalize, 500).Body(fakeca.Finalize, func([]byte) []byte {
				return []byte(`{"type":"urn:ietf:params:acme:error:serverInternal","detail":"oops"}`)
			})
		}, status: 0, most: map[string]int{fakeca.NewOrder: 1, fakeca.Finalize: 1}, within: time.Minute},
		attack{name: "finalize carried out, and 503", does: func(ca *fakeca.CA) {
			n := 0
			ca.Status(fakeca.Finalize, 503).On(fakeca.Finalize, func(http.ResponseWriter, *http.Request) bool {
				if n++; n == 2 {
					ca.Calm()
				}
				return false
			})
		}, status: 0, most: map[string]int{fakeca.NewOrder: 1, fakeca.Finalize: 2}, within: time.Minute},
		attack{name: "challenge carried out, and 500", does: func(ca *fakeca.CA) {
			ca.On(fakeca.Challenge, once(func(w http.ResponseWriter) { w.WriteHeader(500) }))
		}, status: 0, most: one, within: time.Minute},
	)
	against(t, rows)
}

// once answers the first request itself.
func once(answer func(http.ResponseWriter)) func(http.ResponseWriter, *http.Request) bool {
	done := false
	return func(w http.ResponseWriter, _ *http.Request) bool {
		if done {
			return false
		}
		done = true
		answer(w)
		return true
	}
}

func TestOutageInTheMiddleMakesNoSecondOrder(t *testing.T) {
	for i, s := range stages[4:] {
		for _, how := range []struct {
			name string
			does func(*fakeca.CA)
		}{
			{"429", problem(s.kind, 429, "rateLimited", "later", "Retry-After: 86400")},
			{"503", problem(s.kind, 503, "", "down", "Retry-After: 86400")},
			{"500", problem(s.kind, 500, "serverInternal", "down")},
			{"hang", func(ca *fakeca.CA) { ca.Hang(s.kind) }},
			{"cut", func(ca *fakeca.CA) { ca.DropBefore(s.kind, -1) }},
		} {
			t.Run(s.kind+" "+how.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					newSiege(t, attack{does: how.does, status: 75, also: func(s *siege) {
						if status, _, talk := s.world.run(s.sign()...); status != 75 {
							t.Errorf("a second run: status %d: %s", status, talk)
						}
						if n := s.ca.NewOrders() - s.orders; n != 1 {
							t.Errorf("%d orders", n)
						}
					}}, []variant{firstTime, renewal}[i%2]).run()
				})
			})
		}
	}
}

// Over sockets: in memory a refused handshake waits for itself.
func TestTLSOfTheCA(t *testing.T) {
	for _, tc := range []struct {
		name string
		does func(w *world)
		says string
		hint string
	}{
		{"expired", func(w *world) { w.ca.ExpiredTLS() }, "the CA's own TLS certificate is not to be trusted: x509: certificate has expired", "is the clock of this host right?"},
		{"for another host", func(w *world) { w.ca.WrongNameTLS() }, "the CA's own TLS certificate is not to be trusted: x509: certificate is valid for 192.0.2.1, not 127.0.0.1", ""},
		{"unknown issuer", func(w *world) { w.env = append(w.env, "ARID_CA_BUNDLE=") }, "the CA's own TLS certificate is not to be trusted: x509: certificate signed by unknown authority", "--ca-bundle FILE"},
		{"TLS 1.1", func(w *world) { w.ca.OldTLS() }, "TLS with the CA failed: remote error: tls: protocol version not supported", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.must(0, "register", "--accept-terms")
			before := tree(t, w.base)
			tc.does(w)
			connections, asked := w.ca.Connections(), len(w.ca.Requests())
			out, talk := w.must(75, "sign", "a.test")
			t.Log(talk)
			if !strings.Contains(talk, tc.says) || !strings.Contains(talk, tc.hint) || out != "" || strings.Count(talk, "\n") > 3 {
				t.Errorf("stdout %q, stderr %q, want %q", out, talk, tc.says)
			}
			if n := w.ca.Connections() - connections; n != 1 {
				t.Errorf("%d connections, want 1: another try would not help", n)
			}
			if n := len(w.ca.Requests()) - asked; n > 0 {
				t.Errorf("%d requests", n)
			}
			if after := tree(t, w.base); strings.Count(after, "\n-")+strings.Count(after, "\nd") > strings.Count(before, "\n-")+strings.Count(before, "\nd")+4 { // certs, alias, lock, state
				t.Errorf("made:\n%s", after)
			}
		})
	}
}

func TestPlainHTTPIsRefused(t *testing.T) {
	w := newWorld(t)
	for status, does := range map[int]func(url string) []string{
		64: func(url string) []string { return []string{"sign", "--ca", url, "a.test"} },
		78: func(url string) []string {
			return []string{"sign", "-f", w.file("config", "CA="+url+"\n", 0o600), "a.test"}
		},
	} {
		w.env = slices.DeleteFunc(w.env, func(e string) bool { return strings.HasPrefix(e, "ARID_CA=") })
		for _, url := range []string{"http://ca.example.test/directory", "http://192.0.2.1/", "http://localhost.evil.test/", "http://127.0.0.1.evil.test/"} {
			_, talk := w.must(status, does(url)...)
			t.Log(talk)
			if !strings.Contains(talk, "https") || strings.Count(talk, "\n") > 2 {
				t.Errorf("stderr %q", talk)
			}
		}
	}
	if n := len(w.ca.Requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
}
