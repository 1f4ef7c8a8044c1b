package renew_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"arid/renew"
)

// host runs arid once an hour, at a minute of its own.
type host struct {
	facts renew.Facts
	now   time.Time // of the present run
	tries int
}

// skip goes on to the next run that is at t or later.
func (h *host) skip(t time.Time) {
	hours := (t.Sub(h.now) + time.Hour - 1) / time.Hour
	h.now = h.now.Add(max(hours, 1) * time.Hour)
}

// until goes on to the run in which the certificate is tried next, over those in
// between, which the decision says are for nothing. It tells whether there is
// one before end.
func (h *host) until(end time.Time) bool {
	for h.now.Before(end) {
		d := renew.Due(h.now, h.facts, renew.Policy{})
		switch {
		case d.Held:
			h.skip(d.Until)
		case d.Due:
			h.tries++
			return true
		default:
			h.skip(d.At)
		}
	}
	return false
}

// fail and succeed are how the present run ends, a minute after it began.
func (h *host) fail() {
	h.facts.Failures++
	h.facts.LastFailure = h.now.Add(time.Minute)
	h.skip(h.facts.LastFailure)
}

func (h *host) succeed(lifetime time.Duration) {
	h.facts.Unusable, h.facts.Failures, h.facts.LastFailure = "", 0, time.Time{}
	h.facts.NotBefore = h.now.Add(-time.Hour) // Let's Encrypt dates back an hour
	h.facts.NotAfter = h.facts.NotBefore.Add(lifetime)
	h.skip(h.now.Add(time.Minute))
}

// R20: a host whose orders fail for ever is no burden.
func TestThirtyDaysOfFailures(t *testing.T) {
	for _, tc := range []struct {
		what  string
		facts renew.Facts
		most  int
	}{
		{"no certificate", renew.Facts{Unusable: "there is none yet"}, 35},
		{"ninety days, a third left", renew.Facts{KeyFits: true, NotBefore: day(-60), NotAfter: day(30)}, 35},
		{"forty-five days, a third left", renew.Facts{KeyFits: true, NotBefore: day(-30), NotAfter: day(15)}, 35},
		// It fights for its last three days, then gives in to the daily pace.
		{"six days, half left", renew.Facts{KeyFits: true, NotBefore: start.Add(-80 * time.Hour), NotAfter: start.Add(80 * time.Hour)}, 40},
	} {
		var tries []int
		for i := range 100 {
			h := host{facts: tc.facts, now: start}
			h.facts.ID = fmt.Sprint(i, ".example")
			for ; h.until(day(30)); h.fail() {
			}
			tries = append(tries, h.tries)
		}
		t.Logf("%s: %d to %d attempts in 30 days", tc.what, slices.Min(tries), slices.Max(tries))
		if most := slices.Max(tries); most > tc.most {
			t.Errorf("%s: %d attempts, more than %d", tc.what, most, tc.most)
		}
		if least := slices.Min(tries); least < 25 {
			t.Errorf("%s: %d attempts: it has given up", tc.what, least)
		}
	}
}

// R73: certificates of Let's Encrypt's profile "shortlived" outlive a CA that is
// down for one, two or three days.
func TestSixDayCertificatesOutliveOutages(t *testing.T) {
	const (
		hosts    = 1000
		lifetime = 160 * time.Hour
	)
	var tries, renewals, outages, expired int
	closest := lifetime
	for i := range hosts {
		random := rand.New(rand.NewPCG(73, uint64(i)))
		h := host{now: start.Add(time.Duration(random.IntN(60)) * time.Minute)}
		h.facts = renew.Facts{KeyFits: true, ID: fmt.Sprint(i, ".example")}
		h.succeed(lifetime)

		var down, up time.Time // the outage at hand
		for h.until(day(365)) {
			for !h.now.Before(up) {
				down = up.Add(2*24*time.Hour + time.Duration(random.Int64N(int64(10*24*time.Hour))))
				if up.IsZero() {
					down = start.Add(time.Duration(random.Int64N(int64(10 * 24 * time.Hour))))
				}
				up = down.Add(time.Duration(1+random.IntN(3)) * 24 * time.Hour)
				outages++
			}
			if !h.now.Before(down) {
				h.fail()
				continue
			}
			left := h.facts.NotAfter.Sub(h.now)
			closest = min(closest, left)
			if left <= 0 {
				expired++
			}
			renewals++
			h.succeed(lifetime)
			if h.facts.Suggested = (time.Time{}); i%2 == 0 { // every second one follows its CA
				middle := h.facts.NotBefore.Add(lifetime / 2)
				w := renew.Window{Start: middle.Add(-lifetime / 100), End: middle.Add(lifetime / 100)}
				h.facts.Suggested = w.Instant(fmt.Sprint(h.facts.ID, renewals))
			}
		}
		if h.facts.NotAfter.Before(day(365)) {
			expired++
		}
		tries += h.tries
	}
	t.Logf("%d hosts, one year: %d renewals, %d attempts, %d outages; %s left in the closest", hosts, renewals, tries, outages, closest)
	if expired > 0 {
		t.Errorf("%d certificates expired", expired)
	}
	if renewals < 90*hosts || tries < renewals+outages/2 {
		t.Errorf("%d renewals and %d attempts are too few to have shown anything", renewals, tries)
	}
}
