package renew

import (
	"fmt"
	"time"
)

// ClockError says that this host's clock is wrong: it shows a time before
// something that has happened.
type ClockError struct {
	Now   time.Time // what the clock says
	Event string    // what has happened since: "this arid was released"
	At    time.Time // when that was
}

func (e *ClockError) Error() string {
	return fmt.Sprintf("this host's clock says %s, before %s (%s)", stamp(e.Now), e.Event, stamp(e.At))
}

// CheckClock gives a *ClockError where now cannot be: more than a day before this
// program was released, or more than an hour before notBefore, the live
// certificate's; no clock is before the zero time. A clock that is ahead cannot be
// told by this.
func CheckClock(now, released, notBefore time.Time) error {
	switch {
	case now.Before(released.Add(-day)):
		return &ClockError{Now: now, Event: "this arid was released", At: released}
	case now.Before(notBefore.Add(-time.Hour)):
		return &ClockError{Now: now, Event: "the live certificate's notBefore", At: notBefore}
	}
	return nil
}
