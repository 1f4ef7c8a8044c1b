package renew_test

import (
	"math"
	"testing"
	"time"

	"arid/renew"
)

// Whatever the clocks and the CA say, there is a decision that makes sense.
func FuzzDue(f *testing.F) {
	odd := []int64{0, 1, start.Unix(), day(60).Unix(), day(90).Unix(), -62135596800, 253402300799, math.MaxInt64, math.MinInt64}
	for i, n := range odd {
		f.Add(n, odd[(i+1)%len(odd)], day(90).Unix(), odd[(i+2)%len(odd)], odd[(i+3)%len(odd)], odd[(i+4)%len(odd)], i*i*i*i, false, 0, i)
	}
	f.Add(day(61).Unix(), start.Unix(), day(90).Unix(), day(20).Unix(), day(61).Unix(), day(62).Unix(), 4, true, 30, 0)
	f.Fuzz(func(t *testing.T, now, notBefore, notAfter, suggested, last, hold int64, failures int, force bool, left, share int) {
		at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
		facts := renew.Facts{
			Force: force, KeyFits: true, ID: "a",
			NotBefore: at(notBefore), NotAfter: at(notAfter), Suggested: at(suggested),
			Failures: failures, LastFailure: at(last), HoldUntil: at(hold),
		}
		policy := renew.Policy{Left: time.Duration(left) * time.Hour, Share: share % 100}
		d := renew.Due(at(now), facts, policy)
		switch {
		case d.Reason == "":
			t.Error("no reason")
		case d.Held && !d.Due:
			t.Error("held though not due")
		case d.Held && !d.Until.After(at(now)):
			t.Errorf("held until %s, and it is %s", d.Until, at(now))
		case !d.Held && !d.Until.IsZero():
			t.Errorf("not held, and that until %s", d.Until)
		case !d.Due && !at(now).Before(at(notAfter)):
			t.Errorf("not due at %s, though it expired at %s", at(now), at(notAfter))
		case !d.Due && !d.At.After(at(now)):
			t.Errorf("not due at %s, though it is from %s on", at(now), d.At)
		case d.ByCA && (!d.At.After(at(notBefore)) || !d.At.Before(at(notAfter))):
			t.Errorf("heeds a suggestion of %s", d.At)
		}
		if w := (renew.Window{Start: at(notBefore), End: at(notAfter)}); !w.Instant("a").IsZero() && w.Instant("a").Before(w.Start) {
			t.Errorf("the instant %s is before %s", w.Instant("a"), w.Start)
		}
	})
}
