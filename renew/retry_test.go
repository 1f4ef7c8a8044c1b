package renew_test

import (
	"fmt"
	"testing"
	"time"

	"arid/renew"
)

func TestRetry(t *testing.T) {
	for failures, want := range map[int]time.Duration{
		-1:            0,
		0:             0,
		1:             time.Minute,
		2:             10 * time.Minute,
		3:             100 * time.Minute,
		4:             24 * time.Hour,
		5:             24 * time.Hour,
		1_000_000_000: 24 * time.Hour,
	} {
		shortest, longest := want, want
		for i := range 1000 {
			id := fmt.Sprint(i, ".example")
			wait := renew.Retry(id, failures, start).Sub(start)
			if again := renew.Retry(id, failures, start).Sub(start); again != wait {
				t.Fatalf("%d failures: %s, then %s", failures, wait, again)
			}
			shortest, longest = min(shortest, wait), max(longest, wait)
		}
		tenth := want / 10
		if shortest < want-tenth || longest > want+tenth {
			t.Errorf("%d failures: the waits are %s to %s, more than a tenth from %s", failures, shortest, longest, want)
		}
		if shortest > want-tenth*9/10 || longest < want+tenth*9/10 {
			t.Errorf("%d failures: the waits are %s to %s, hardly spread around %s", failures, shortest, longest, want)
		}
	}
}

func TestHeld(t *testing.T) {
	hour := func(n float64) time.Time { return day(60).Add(time.Duration(n * float64(time.Hour))) }
	// Due by time since day 60, of 90.
	failed := func(n int, last time.Time) func(*renew.Facts) {
		return func(f *renew.Facts) { f.Failures, f.LastFailure = n, last }
	}
	paused := func(until time.Time) func(*renew.Facts) {
		return func(f *renew.Facts) { f.HoldUntil, f.HoldWhy = until, "too many certificates" }
	}
	forced := func(f *renew.Facts) { f.Force = true }
	ladder := func(n int, last time.Time) time.Time { return renew.Retry("a", n, last) }
	none := time.Time{}

	for _, tc := range []struct {
		what  string
		now   time.Time
		facts []func(*renew.Facts)
		due   bool
		until time.Time // zero: not held
	}{
		{"no failure", hour(1), nil, true, none},
		{"a failure a moment ago", hour(1), all(failed(1, hour(1))), true, ladder(1, hour(1))},
		{"a failure an hour ago", hour(2), all(failed(1, hour(1))), true, none},
		{"three an hour ago", hour(2), all(failed(3, hour(1))), true, ladder(3, hour(1))},
		{"at the very moment", ladder(3, hour(1)), all(failed(3, hour(1))), true, none},
		{"a billion", hour(20), all(failed(1e9, hour(1))), true, ladder(1e9, hour(1))},
		{"forced after failures", hour(2), all(failed(3, hour(1)), forced), true, none},
		{"the CA asks for a pause", hour(1), all(paused(hour(5))), true, hour(5)},
		{"the pause is over", hour(5), all(paused(hour(5))), true, none},
		{"forced in a pause", hour(1), all(paused(hour(5)), forced), true, hour(5)},
		{"forced in a pause after failures", hour(1), all(paused(hour(5)), failed(4, hour(1)), forced), true, hour(5)},
		{"a pause longer than the ladder", hour(1), all(paused(hour(5)), failed(1, hour(1))), true, hour(5)},
		{"a pause shorter than the ladder", hour(1), all(paused(hour(5)), failed(4, hour(1))), true, ladder(4, hour(1))},
		{"not due, failures remembered", day(1), all(failed(4, day(1))), false, none},
		{"not due, a pause", day(1), all(paused(day(2))), false, none},
		{"missing, in a pause", hour(1), all(paused(hour(5)), func(f *renew.Facts) { f.Unusable = "there is none yet" }), true, hour(5)},
		{"missing, after a failure", hour(1), all(failed(4, hour(1)), func(f *renew.Facts) {
			*f = renew.Facts{Unusable: "there is none yet", ID: f.ID, Failures: f.Failures, LastFailure: f.LastFailure}
		}), true, ladder(4, hour(1))},
		{"another run failed after this one looked at the clock", hour(1), all(failed(2, hour(1.5))), true, ladder(2, hour(1.5))},
		{"a failure noted by a clock ten years ahead", hour(1), all(failed(4, day(3650))), true, none},
		{"a pause of months", hour(1), all(paused(day(200))), true, day(200)},
		{"a pause noted by a clock ten years ahead", hour(1), all(paused(day(3650))), true, none},
		{"expired, failing every day", day(100), all(failed(40, day(99.5))), true, ladder(40, day(99.5))},
	} {
		f := renew.Facts{KeyFits: true, NotBefore: start, NotAfter: day(90), ID: "a"}
		for _, change := range tc.facts {
			change(&f)
		}
		got := renew.Due(tc.now, f, renew.Policy{})
		if got.Due != tc.due || got.Held == tc.until.IsZero() || !got.Until.Equal(tc.until) {
			t.Errorf("%s: due %v, held %v until %s (%s); want due %v, until %s", tc.what, got.Due, got.Held, got.Until, got.Reason, tc.due, tc.until)
		}
	}
}

func all(changes ...func(*renew.Facts)) []func(*renew.Facts) { return changes }

// A certificate that is renewed a few days before it expires never waits longer
// than half of the time it has left.
func TestHeldAtMostHalfOfTheTimeLeft(t *testing.T) {
	for _, tc := range []struct {
		what     string
		lifetime float64
		policy   renew.Policy
		last     float64 // day of the fourth failure
		until    time.Time
	}{
		{"six days, one left", 6, renew.Policy{}, 5, day(5.5)},
		{"six days, an hour left", 6, renew.Policy{}, 6 - 1.0/24, day(6 - 0.5/24)},
		{"six days, three left", 6, renew.Policy{}, 3, renew.Retry("a", 4, day(3))},
		{"six days, expired", 6, renew.Policy{}, 6, renew.Retry("a", 4, day(6))},
		{"ninety days, one left", 90, renew.Policy{}, 89, renew.Retry("a", 4, day(89))},
		{"ninety days, renewed two before the end", 90, renew.Policy{Left: 48 * time.Hour}, 89, day(89.5)},
	} {
		f := renew.Facts{KeyFits: true, NotBefore: start, NotAfter: day(tc.lifetime), ID: "a", Failures: 4, LastFailure: day(tc.last)}
		if got := renew.Due(day(tc.last), f, tc.policy); !got.Held || !got.Until.Equal(tc.until) {
			t.Errorf("%s: held %v until %s, want %s", tc.what, got.Held, got.Until, tc.until)
		}
	}
}
