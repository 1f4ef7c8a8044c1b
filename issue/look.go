package issue

import (
	"errors"
	"time"

	"arid/certs"
)

// Outlook is what Sign would find to do.
type Outlook struct {
	Due    bool      // it would order
	Owed   bool      // it would finish what an earlier run could not
	Held   bool      // it would do neither before Until
	Reason string    // why it is due, or until when it is not, and what holds it back
	At     time.Time // from when on it is due; zero if the reason is not the time
	Until  time.Time // with Held

	Live  *certs.Live // what the stable names show; nil: nothing usable
	State *certs.State
}

// Look tells what Sign would do now. It asks nobody and writes nothing. Errors
// are those of certs, *ConfigError, and *renew.ClockError.
func Look(request *Request) (*Outlook, error) {
	r := &run{Request: request, began: time.Now()}
	if err := r.look(); err != nil {
		return nil, err
	}
	o := &Outlook{Due: r.due.Due, Owed: r.state.Owed != nil || r.owedGone, Reason: r.due.Reason, At: r.due.At, Live: r.live, State: r.state}
	var held *HeldError
	if errors.As(r.held(), &held) {
		o.Held, o.Until, o.Reason = true, held.Until, held.Why
	}
	return o, nil
}
