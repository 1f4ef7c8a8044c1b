package issue

import (
	"errors"
	"fmt"
	"time"

	"arid/acme"
	"arid/certs"
	"arid/renew"
)

// Outlook is what Sign would find to do.
type Outlook struct {
	Due    bool      // it would order
	Owed   bool      // it would finish what an earlier run could not
	OCSP   bool      // it would do neither, and fetch an OCSP response, or give one to its hook
	Held   bool      // it would not order, or not finish, before Until
	Reason string    // why it is due, or until when it is not, and what holds it back
	At     time.Time // from when on it is due; zero if the reason is not the time
	Until  time.Time // with Held

	// Ask is from when on the CA may be asked when it wants the certificate renewed;
	// zero: it is not asked.
	Ask time.Time

	Mismatch bool          // there is a certificate; its names are not those wanted, or its key does not fit
	Revoked  bool          // arid revoked it, and none is in its place
	Failed   *certs.Failed // the attempts since the last success to do what there is to do; nil: none

	Names []string    // that are wanted; nil: not known
	Live  *certs.Live // what the stable names show; nil: nothing usable
	State *certs.State
}

// Look tells what Sign would do now. It asks nobody and writes nothing. Errors
// are those of certs, *ConfigError, and *renew.ClockError; beside one of them the
// Outlook has Names, Live and State as far as they are known, and no more.
func Look(request *Request) (*Outlook, error) {
	r := &run{Request: request, began: time.Now()}
	if err := r.look(); err != nil {
		return &Outlook{Names: r.Names, Live: r.live, State: r.state}, err
	}
	return r.outlook(), nil
}

// LookAlone is Look for a certificate whose request nobody has at hand, as of a folder
// that no line of domains.txt covers. request says what settings say of all
// certificates; what this one is asked for with is taken to be what it was asked for
// with before, its names too where request has none.
func LookAlone(request *Request) (*Outlook, error) {
	own := *request
	r := &run{Request: &own, began: time.Now()}
	state, err := r.Certificate.State()
	if state == nil {
		return &Outlook{Names: r.Names}, err
	}
	own.Explicit, own.Force, own.TestCA = Explicit{}, false, state.TestCA
	if len(own.Names) == 0 {
		own.Names = r.namesAlone(state)
	}
	names := own.Names
	if len(names) == 0 {
		own.Names = []string{r.Certificate.Alias} // what warnings call it
	}
	if state.Failed != nil {
		r.digested = state.Failed.Request
	} else if state.Owed != nil && state.Owed.Failed != nil {
		r.digested = state.Owed.Failed.Request
	}
	o := &Outlook{}
	if err = r.look(); err == nil {
		o = r.outlook()
	}
	o.Names, o.Live, o.State = names, r.live, r.state
	return o, err
}

// namesAlone are the names of a certificate that nobody asks for: those it was made
// with, else those in it; nil where neither is known.
func (r *run) namesAlone(state *certs.State) []string {
	if state.Leaf != "" {
		return state.Names
	}
	if live, err := r.Certificate.Live(); err == nil {
		return certs.Names(live.Leaf)
	}
	return nil
}

// outlook is what look has found.
func (r *run) outlook() *Outlook {
	o := &Outlook{
		Due: r.due.Due, Owed: r.state.Owed != nil || r.owedGone, Reason: r.due.Reason, At: r.due.At,
		Names: r.Names, Live: r.live, State: r.state, Ask: r.askFrom(), Failed: r.state.Failed,
	}
	if r.current != nil {
		present := renew.Facts{Wanted: r.Names}
		r.compare(&present)
		present.Changed = nil
		d := renew.Due(r.Now, present, r.Policy)
		o.Mismatch = d.Due && d.At.IsZero() // for no reason of time: key or names
	}
	o.Revoked = r.state.Revoked && (r.live == nil || r.state.Leaf == certs.Fingerprint(r.live.Leaf))
	if owed := r.state.Owed; owed != nil && !o.Due {
		o.Failed = owed.Failed
		o.Reason = fmt.Sprintf("version %s is owed to a hook", owed.Version)
	} else if r.owedGone && !o.Due {
		o.Reason = "what was owed cannot be done any more"
	}
	var held *HeldError
	if errors.As(r.held(), &held) {
		o.Held, o.Until, o.Reason = true, held.Until, held.Why
	}
	if !o.Due && !o.Owed {
		if o.OCSP = r.stapleDue(); o.OCSP {
			o.Reason = "an OCSP response is to be fetched, or to be given to its hook"
		}
	}
	return o
}

// askFrom is from when on askWhen may ask the CA; zero: not at all.
func (r *run) askFrom() time.Time {
	if r.Memory == nil || r.current == nil || r.due.At.IsZero() || !r.stateIsCurrent() || r.state.CA != r.CA || r.state.ReadOnly {
		return time.Time{}
	}
	id := acme.CertificateID(r.current.Leaf)
	if id == "" {
		return time.Time{}
	}
	from := r.Now
	if a := r.state.ARI; a != nil && a.ID == id && a.Ask.After(from) {
		from = a.Ask
	}
	if until, _ := r.Memory.Held(r.Now); until.After(from) {
		from = until
	}
	if !r.Memory.MayAsk(from) {
		from = from.Add(time.Hour) // or sooner
	}
	return from
}

// stapleDue says whether there is something to do for the OCSP response of a
// certificate for which there is nothing else to do.
func (r *run) stapleDue() bool {
	if !r.OCSP || r.live == nil || len(r.live.Leaf.OCSPServer) == 0 || len(r.live.Chain) == 1 {
		return false
	}
	if r.state.DeployOCSP {
		return true
	}
	kept, err := r.keptResponse(r.live.Chain)
	return err == nil && !kept.fresh
}
