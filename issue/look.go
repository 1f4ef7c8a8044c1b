package issue

import "time"

// Outlook is what Sign would find to do.
type Outlook struct {
	Due    bool      // it would order
	Owed   bool      // it would finish what an earlier run could not
	Reason string    // why it is due, or until when it is not
	At     time.Time // from when on it is due; zero if the reason is not the time
}

// Look tells what Sign would do now. It asks nobody and writes nothing. Errors
// are those of certs, and *ConfigError.
func Look(request *Request) (*Outlook, error) {
	r := &run{Request: request}
	if err := r.look(); err != nil {
		return nil, err
	}
	return &Outlook{Due: r.due.Due, Owed: r.state.Owed != nil || r.owedGone, Reason: r.due.Reason, At: r.due.At}, nil
}
