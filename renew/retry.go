package renew

import (
	"fmt"
	"strconv"
	"time"
)

const day = 24 * time.Hour

// ladder is the wait after the first, second, third failure in a row, and after
// each one from then on, as Let's Encrypt's integration guide asks for.
var ladder = [...]time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, day}

// Retry is the moment of the next attempt after so many failures in a row, the
// last of them at last. Each wait is up to a tenth longer or shorter, always the
// same for the same id. Fewer than one failure gives last. Due, which knows when
// the certificate expires, may want it earlier.
func Retry(id string, failures int, last time.Time) time.Time {
	if failures < 1 {
		return last
	}
	step := ladder[min(failures, len(ladder))-1]
	return last.Add(step - step/10 + spread(step/5, id, strconv.Itoa(failures)))
}

const (
	// A failure noted further ahead than this was noted by a clock that was wrong:
	// waiting for that day could take years. Less can be another run's, which ended
	// after this one had looked at the clock.
	aheadAtMost = time.Hour

	// So was a hold that ends further ahead: no CA is believed for more than a year.
	holdAtMost = 366 * day

	// A certificate that is renewed this short before it expires has no whole days
	// to give.
	shortNotice = 5 * day
)

// pause is the moment before which a certificate that is due is not to be tried,
// and why; one that has passed if it may be. at is when it is due by time.
func pause(now, at time.Time, f Facts) (until time.Time, why string) {
	if f.HoldUntil.Before(now.Add(holdAtMost)) {
		until, why = f.HoldUntil, f.HoldWhy
	}
	if why == "" {
		why = "the CA asks to wait"
	}
	if f.Force || f.Failures < 1 || f.LastFailure.After(now.Add(aheadAtMost)) {
		return until, why
	}
	next := Retry(f.ID, f.Failures, f.LastFailure)
	// Waiting at most half of the time that is left always leaves one attempt more:
	// by whole days a six-day certificate would sleep through its last hours after
	// a CA that was down for three days is back.
	left := f.NotAfter.Sub(f.LastFailure)
	if half := f.LastFailure.Add(left / 2); left > 0 && f.NotAfter.Sub(at) < shortNotice && half.Before(next) {
		next = half
	}
	if !next.After(until) {
		return until, why
	}
	failed := "the last attempt failed at "
	if f.Failures > 1 {
		failed = fmt.Sprintf("the last %d attempts failed, the latest at ", f.Failures)
	}
	return next, failed + stamp(f.LastFailure)
}
