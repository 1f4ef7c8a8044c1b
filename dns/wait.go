package dns

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	firstPause = time.Second
	maxPause   = 10 * time.Second

	maxSilent = 2  // tries in a row at a server that does not answer
	maxPlaces = 16 // to find at a time
	maxVisit  = 8  // questions to one server at a time
	maxTold   = 3  // in one line
)

// UnseenError says what Wait could not see, place by place: only those where
// something is amiss, sorted by name. Its text is one line.
type UnseenError struct{ Places []Unseen }

// Unseen is one place, in one of three states:
//   - Err: nothing could be looked at, as no place was found or no server of it
//     answers (*ZoneError, *ChainError, *UnreachableError, *ResolverError, or the
//     context's once that had ended);
//   - Lacking: these servers answer, and lacked a value when the time was over;
//   - Unreachable alone: every server that could be reached shows every value.
type Unseen struct {
	Names       []string // of the records, as they were asked for
	Place       *Place   // nil if none was found
	Values      []string // that should be there
	Lacking     []Sight
	Unreachable []Sight // each with Err
	Err         error

	posts []*post
}

// OnlyUnreachable tells whether every record is shown by every server that could
// be reached, of which each place has one: some servers did not answer, and that
// is all that is wrong.
func (e *UnseenError) OnlyUnreachable() bool {
	return !slices.ContainsFunc(e.Places, func(u Unseen) bool { return u.Err != nil || len(u.Lacking) > 0 })
}

// Unwrap is why nothing could be looked at.
func (e *UnseenError) Unwrap() []error {
	var errs []error
	for _, u := range e.Places {
		if u.Err != nil {
			errs = append(errs, u.Err)
		}
	}
	return errs
}

// Error tells the worst: lacking servers before unreachable ones.
func (e *UnseenError) Error() string {
	worst := slices.Clone(e.Places)
	if !e.OnlyUnreachable() {
		worst = slices.DeleteFunc(worst, func(u Unseen) bool { return u.Err == nil && len(u.Lacking) == 0 })
	}
	var lines []string
	for _, u := range worst[:min(len(worst), maxTold)] {
		lines = append(lines, u.String())
	}
	return strings.Join(lines, "; ") + andMore(len(worst)-len(lines), "name")
}

// String is one line: what is not seen, and where.
func (u Unseen) String() string {
	switch {
	case u.Place == nil && u.Err == context.DeadlineExceeded:
		return fmt.Sprintf("the name servers of %q were not found in time", u.Names[0])
	case u.Err != nil:
		return u.Err.Error()
	case len(u.Lacking) > 0:
		first := u.Lacking[0]
		more := andMore(len(u.Lacking)-1, "server")
		return fmt.Sprintf("%q %s at %s%s", u.Place.Name, first.lack(u.Values), first.Server, more)
	}
	first, does := u.Unreachable[0], "does"
	if len(u.Unreachable) > 1 {
		does = "do"
	}
	more := andMore(len(u.Unreachable)-1, "server")
	return fmt.Sprintf("%q is seen, but %s%s %s not answer: %v", u.Place.Name, first.Server, more, does, first.Err)
}

func andMore(n int, what string) string {
	switch {
	case n <= 0:
		return ""
	case n == 1:
		return fmt.Sprintf(" and 1 more %s", what)
	}
	return fmt.Sprintf(" and %d more %ss", n, what)
}

// lack says how a server falls short of values.
func (s Sight) lack(values []string) string {
	shown := 0
	for _, v := range values {
		if slices.Contains(s.Values, v) {
			shown++
		}
	}
	switch {
	case len(s.Values) == 0:
		return "is missing"
	case shown == 0:
		return "has only other values"
	}
	return fmt.Sprintf("has only %d of %d values", shown, len(values))
}

// shows tells whether a server shows all these values; others do not matter.
func (s Sight) shows(values []string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(s.Values, v) })
}

// Wait looks until every authoritative server that can be reached shows every
// record: at once, after 1 s, 2, 4, 8, and then every 10 s. It ends with ctx,
// which should have a deadline, and sooner when there is nothing to wait for: a
// server that twice in a row does not answer is given up.
//
// nil: all of them show all. Otherwise it is an *UnseenError, or the context's
// cause if ctx was cancelled.
func (c *Client) Wait(ctx context.Context, records []Record) error {
	return c.see(ctx, records, func(pause time.Duration) bool { return sleep(ctx, pause) })
}

// See is Wait with one look and no more.
func (c *Client) See(ctx context.Context, records []Record) error {
	return c.see(ctx, records, func(time.Duration) bool { return false })
}

// see looks, and again as long as that may help and again says so.
func (c *Client) see(ctx context.Context, records []Record, again func(pause time.Duration) bool) error {
	spots := c.spots(ctx, records)
	w := newWatch(c, spots)
	for pause := firstPause; w.round(ctx) && again(pause); pause = min(2*pause, maxPause) {
	}
	if ctx.Err() == context.Canceled {
		return context.Cause(ctx)
	}
	e := &UnseenError{}
	for _, s := range spots {
		if s.Err == nil {
			s.sum(ctx)
		}
		if s.Err != nil || len(s.Lacking) > 0 || len(s.Unreachable) > 0 {
			e.Places = append(e.Places, *s)
		}
	}
	if len(e.Places) == 0 {
		return nil
	}
	return e
}

// sleep tells whether it slept as long as it should.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// spots gathers the records by place, so that each place is asked once however
// many values and names it has. What no place was found for stands alone.
func (c *Client) spots(ctx context.Context, records []Record) []*Unseen {
	values := map[string][]string{}
	for _, r := range records {
		values[bare(r.Name)] = append(values[bare(r.Name)], r.Value)
	}
	names := slices.Sorted(maps.Keys(values))
	var spots []*Unseen
	at := map[string]*Unseen{}
	for i, found := range c.places(ctx, names) {
		name := names[i]
		if found.err != nil {
			spots = append(spots, &Unseen{Names: []string{name}, Values: values[name], Err: found.err})
			continue
		}
		p := found.place
		if at[p.Name] == nil {
			at[p.Name] = &Unseen{Place: p}
			spots = append(spots, at[p.Name])
		}
		s := at[p.Name]
		s.Names, s.Values = append(s.Names, name), append(s.Values, values[name]...)
	}
	for _, s := range spots {
		slices.Sort(s.Values)
		s.Values = slices.Compact(s.Values)
	}
	return spots
}

type found struct {
	place *Place
	err   error
}

// places finds all places, and after a pause once more those whose servers did
// not answer.
func (c *Client) places(ctx context.Context, names []string) []found {
	all := make([]found, len(names))
	find := func(these []int) {
		f := newFinder(c)
		errs := sideBySide(maxPlaces, len(these), func(i int) (err error) {
			name, err := checkName(names[these[i]])
			if err == nil {
				all[these[i]].place, err = f.place(ctx, name)
			}
			return err
		})
		for i, err := range errs {
			// Unless it finds the place, the second search has no more to tell than the
			// first: often no more than that the time is over.
			if err == nil || all[these[i]].err == nil {
				all[these[i]].err = err
			}
		}
	}
	var every, again []int
	for i := range names {
		every = append(every, i)
	}
	find(every)
	for i, f := range all {
		if errors.As(f.err, new(*UnreachableError)) {
			again = append(again, i)
		}
	}
	if len(again) > 0 && sleep(ctx, firstPause) {
		find(again)
	}
	return all
}

// watch looks at places, server by server.
type watch struct {
	client *Client
	posts  map[netip.AddrPort][]*post
}

// post is one server, watched for one place.
type post struct {
	spot  *Unseen
	sight Sight // the last that tells something
	asked bool
	tries int // in a row without an answer
}

func newWatch(c *Client, spots []*Unseen) *watch {
	w := &watch{c, map[netip.AddrPort][]*post{}}
	for _, s := range spots {
		if s.Err != nil {
			continue
		}
		for _, server := range s.Place.Servers {
			p := &post{spot: s, sight: Sight{Server: server}}
			s.posts = append(s.posts, p)
			w.posts[server.Address] = append(w.posts[server.Address], p)
		}
	}
	return w
}

func (p *post) shows() bool { return p.asked && p.sight.Err == nil && p.sight.shows(p.spot.Values) }

// pending tells whether to look once more.
func (p *post) pending() bool { return p.tries < maxSilent && !p.shows() }

// round looks at every server that still has something to show, and tells
// whether there are such servers afterwards.
func (w *watch) round(ctx context.Context) bool {
	servers := slices.Collect(maps.Values(w.posts))
	sideBySide(maxSide, len(servers), func(i int) error {
		w.visit(ctx, servers[i])
		return nil
	})
	return slices.ContainsFunc(servers, func(posts []*post) bool {
		return slices.ContainsFunc(posts, (*post).pending)
	})
}

// visit asks one server for all places, a few at a time. Once it has been silent
// it is not waited for again in this round.
func (w *watch) visit(ctx context.Context, posts []*post) {
	posts = slices.DeleteFunc(slices.Clone(posts), func(p *post) bool { return !p.pending() })
	var silent atomic.Bool
	errs := sideBySide(maxVisit, len(posts), func(i int) error {
		p := posts[i]
		s := Sight{Server: p.sight.Server, Err: os.ErrDeadlineExceeded}
		if !silent.Load() {
			s = w.client.look(ctx, p.spot.Place.Name, s.Server)
		}
		if errors.Is(s.Err, os.ErrDeadlineExceeded) {
			silent.Store(true)
		}
		if ctx.Err() == nil || s.Err == nil {
			p.note(s)
		}
		return nil
	})
	for i, err := range errs {
		if err != nil { // a panic
			posts[i].sight.Err, posts[i].tries = err, maxSilent
		}
	}
}

// note keeps a sight. One silence does not wipe out what was seen before.
func (p *post) note(s Sight) {
	p.tries++
	if s.Err == nil {
		p.tries = 0
	}
	if s.Err == nil || !p.asked || p.tries >= maxSilent {
		p.sight = s
	}
	p.asked = true
}

// sum writes down what is wrong at a place. ctx is over, or there is nothing
// left to look at.
func (u *Unseen) sum(ctx context.Context) {
	for _, p := range u.posts {
		switch {
		case !p.asked:
			p.sight.Err = ctx.Err()
			u.Unreachable = append(u.Unreachable, p.sight)
		case p.sight.Err != nil:
			u.Unreachable = append(u.Unreachable, p.sight)
		case !p.shows():
			u.Lacking = append(u.Lacking, p.sight)
		}
	}
	if len(u.Unreachable) == len(u.posts) {
		u.Err = &UnreachableError{Zone: u.Place.Zone, Sights: u.Unreachable}
	}
}
