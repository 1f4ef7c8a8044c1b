package issue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"arid/acme"
	"arid/certs"
	"arid/dns"
	"arid/hooks"
	"arid/internal/atomicfile"
	"arid/renew"
)

// HeldError says that there is something to do, and that its time has not come: an
// attempt failed not long ago, or the CA wants not to be asked. Nothing was sent.
type HeldError struct {
	Until  time.Time
	Why    string // what is to be done, and what holds it back
	Failed string // what the attempt ended with that failed; "": the CA asked to wait
	Status int    // that the run ended with which failed; 0: the CA asked to wait
}

func (e *HeldError) Error() string {
	if e.Failed == "" {
		return e.Why
	}
	return e.Why + ": " + e.Failed
}

// When renewal info is asked for (RFC 9773 §4.3.2), where the CA does not say.
const (
	ariFirst   = 12 * time.Hour // after the certificate was issued, or an eighth of its lifetime
	ariAgain   = 6 * time.Hour
	ariTrouble = time.Hour // after no good answer
	ariNever   = 24 * time.Hour
	ariLeast   = time.Minute
	ariTimeout = 20 * time.Second // no renewal waits longer for advice

	ariExplanation = 2000 // bytes: a longer URL is for nobody
)

// aheadAtMost is how far ahead a failure may have been noted, by a run that ended
// later; further ahead, the clock was wrong.
const aheadAtMost = time.Hour

// remembered fills in what earlier runs met with this certificate and with the CA.
func (r *run) remembered(f *renew.Facts) {
	if r.Memory == nil {
		return
	}
	f.ID = r.Certificate.Alias
	if failed := r.state.Failed; failed != nil && !r.Insist && r.isFor(failed) {
		f.Failures, f.LastFailure = failed.Attempts, failed.Last
	}
	f.HoldUntil, f.HoldWhy = r.pause()
}

// pause is until when the CA wants no order for these names, and why.
func (r *run) pause() (until time.Time, why string) {
	if h := r.state.Hold; h != nil && h.CA == r.CA && sameNames(h.Names, r.Names) {
		until, why = h.Until, h.Why
	}
	if all, whyAll := r.Memory.Held(r.Now); all.After(until) {
		return all, whyAll
	}
	return until, why
}

// suggested fills in what the CA has said about the live certificate.
func (r *run) suggested(f *renew.Facts) {
	a := r.state.ARI
	if r.Memory == nil || a == nil || a.Start.IsZero() || a.ID != acme.CertificateID(r.current.Leaf) {
		return
	}
	f.Suggested, f.Explanation = renew.Window{Start: a.Start, End: a.End}.Instant(a.ID), a.Explanation
}

// held is the error for what is to be done and has to wait; nil where nothing has to.
func (r *run) held() error {
	owed := r.state.Owed
	switch {
	case r.due.Due && r.due.Held:
		e := &HeldError{Until: r.due.Until, Why: r.due.Reason}
		if asked, _ := r.pause(); r.state.Failed != nil && !asked.Equal(r.due.Until) {
			e.Failed, e.Status = r.state.Failed.Error, r.state.Failed.Status
		}
		return e
	case !r.due.Due && owed != nil && r.owedUntil().After(r.Now):
		until := r.owedUntil()
		return &HeldError{
			Until:  until,
			Why:    fmt.Sprintf("version %s is owed to a hook, which failed; not again before %s", owed.Version, until.UTC().Format(time.RFC3339)),
			Failed: owed.Failed.Error,
			Status: owed.Failed.Status,
		}
	}
	return nil
}

// owedUntil is when the hook that failed for a stored version is called again; zero:
// at once.
func (r *run) owedUntil() time.Time {
	if r.Memory == nil || r.Insist || r.Redeploy || r.state.Owed == nil || r.state.Owed.Failed == nil {
		return time.Time{}
	}
	failed := r.state.Owed.Failed
	if !r.isFor(failed) || failed.Last.After(r.Now.Add(aheadAtMost)) {
		return time.Time{}
	}
	return renew.Retry(r.Certificate.Alias, failed.Attempts, failed.Last)
}

// failed remembers an attempt that did not work, and what the CA asked for with it.
// What the run was told to end in is not one, nor is trouble on this host, which may
// be over in a moment. It says whether it does.
func (r *run) failed(ctx context.Context, err error, now time.Time) (remembered bool) {
	if err == nil || r.Memory == nil || ctx.Err() != nil || !costs(err) {
		return false
	}
	if later, ok := errors.AsType[*acme.TemporaryError](err); ok && later.Until.After(now) {
		r.hold(later)
	}
	place := &r.state.Failed
	if is[*DeployError](err) {
		if r.state.Owed == nil { // of a set that arid did not make
			return false
		}
		place = &r.state.Owed.Failed
	}
	f := &certs.Failed{Attempts: 1, Last: now.UTC().Truncate(time.Second), Status: 1, Error: err.Error(), Request: r.request()}
	if was := *place; was != nil && r.isFor(was) {
		f.Attempts += was.Attempts
	}
	if r.StatusOf != nil {
		f.Status = r.StatusOf(err)
	}
	*place = f
	if r.state.ReadOnly {
		r.tell(StepWarning, "state.json was written by a newer arid: this failure is not remembered, and the next run tries again")
		return false
	}
	if err := r.saveState(); err != nil {
		r.tell(StepWarning, "%v", err)
		return false
	}
	return true
}

// again adds to a failure that is remembered when the same is tried again: by what the
// next run will find, to which nobody says that it is to insist.
func (r *run) again(err error, now time.Time) error {
	own := *r.Request
	own.Now, own.Force, own.Insist, own.Redeploy, own.Tell = now, false, false, false, nil
	next := &run{Request: &own, account: r.account, digested: r.digested}
	var held *HeldError
	if next.look() != nil || !errors.As(next.held(), &held) {
		return err
	}
	asked, _ := next.pause()
	return &AgainError{Err: err, Next: held.Until, AtOnce: r.Insist && !asked.After(now)}
}

// hold remembers what the CA asked for: with the account what is for all, where it
// has a folder already.
func (r *run) hold(asked *acme.TemporaryError) {
	if asked.WholeCA() {
		if err := r.Memory.Hold(asked.Until, asked.Error()); err != nil {
			r.tell(StepWarning, "%v", err)
		}
		if _, err := os.Stat(r.Account.Path()); err == nil {
			return
		}
	}
	r.state.Hold = &certs.Hold{Until: wholeSecond(asked.Until), Why: asked.Error(), CA: r.CA, Names: r.Names}
}

// isFor says whether an attempt that failed was for this very request.
func (r *run) isFor(f *certs.Failed) bool { return f.Request == r.digested || f.Request == r.request() }

// request tells requests apart: after a failure, one with other settings, or by
// another account, is worth a try at once.
func (r *run) request() string {
	url := r.account
	if url == "" {
		if a, err := r.Account.Open(); err == nil {
			url = a.URL
		}
	}
	return hash(r.digest() + " " + url)
}

// digest is the part of it that the settings say. A CSR of the hook's comes too late
// to count.
func (r *run) digest() string {
	if r.digested != "" {
		return r.digested
	}
	hook := hooks.Runner{}
	if r.Hooks != nil {
		hook.Program, hook.Function = r.Hooks.Program, r.Hooks.Function
	}
	r.digested = hash(fmt.Sprintf("%q %q %q %v %q %q %v %v %v %v %v %q %v %q %q %q %s %s %q %v %s %v %q", r.CA, r.Names, r.Profile, r.Types, r.WellKnown,
		r.ALPNDir, r.updates(), r.HookChain, r.Algo, r.ReuseKey, r.MustStaple, r.Subject.String(), r.NotAfter.Unix(), hook.Program, hook.Function,
		r.PreferredChain, r.Timeout, r.DNSWait, r.Account.KeyFile, r.Registration.Contact, r.binding(),
		r.checkedAt(), r.ListenOn))
	return r.digested
}

// checkedAt is the port where SelfCheck looks for http-01, -1 without one.
func (r *run) checkedAt() int {
	if r.SelfCheck == nil {
		return -1
	}
	return r.SelfCheck.HTTPPort
}

// updates is who writes TXT records, as far as settings say it.
func (r *run) updates() string {
	if r.Updater == nil {
		return ""
	}
	key := ""
	if r.Updater.Key != nil {
		key = r.Updater.Key.String()
	}
	return fmt.Sprintf("%q %q %q", r.Updater.Server, r.Updater.Zone, key)
}

// binding is the name of the external account.
func (r *run) binding() string {
	if r.Registration.EAB == nil {
		return ""
	}
	return r.Registration.EAB.KID
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// costs says whether a failure comes from the CA, from its look at the names, from
// name servers, from a hook, or from a setting that the CA does not go with.
func costs(err error) bool {
	return is[*acme.Problem](err) || is[*acme.TemporaryError](err) || is[*acme.ProtocolError](err) ||
		is[*ValidationError](err) || is[*SelfCheckError](err) || is[*OrderError](err) || is[*OfferError](err) || is[*ChainError](err) || is[*ConfigError](err) ||
		is[*dns.UpdateError](err) || is[*dns.ZoneError](err) || is[*dns.ChainError](err) ||
		is[*dns.UnreachableError](err) || is[*dns.ResolverError](err) ||
		is[*hooks.ExitError](err) || is[*hooks.TimeoutError](err)
}

// wholeSecond is the first whole second that is not before t: nobody comes too early.
func wholeSecond(t time.Time) time.Time {
	return t.Add(time.Second - 1).UTC().Truncate(time.Second)
}

// askWhen asks the CA when it wants the live certificate renewed (RFC 9773), where it
// has not said that already or may be asked again, and says whether there is news.
// Nobody depends on an answer.
func (r *run) askWhen(ctx context.Context) bool {
	if from := r.askFrom(); r.Redeploy || from.IsZero() || from.After(r.Now) {
		return false
	}
	id := acme.CertificateID(r.current.Leaf)
	// One run asks, and not a hundred. Where another is at work on the certificate, the
	// answer is that one's business.
	unlock, err := r.Certificate.Lock(ctx, 0)
	if err != nil {
		if !is[*atomicfile.LockedError](err) {
			r.tell(StepWarning, "renewal info: %v", err)
		}
		return false
	}
	defer unlock()
	state, err := r.Certificate.State()
	if err != nil || state.Leaf != r.state.Leaf {
		return false
	}
	if a := state.ARI; a != nil && a.ID == id && r.Now.Before(a.Ask) {
		return true // it has been asked meanwhile
	}
	if state.ARI = r.ask(ctx, id); state.ARI == nil {
		return false
	}
	if err := r.Certificate.SaveState(state); err != nil {
		r.tell(StepWarning, "renewal info: %v", err)
	}
	return true
}

// ask has the CA say when it wants the certificate of that id renewed; without an
// answer, what it said the last time stands. It is nil where the run was told to end.
func (r *run) ask(ctx context.Context, id string) *certs.ARI {
	asking, cancel := context.WithTimeout(ctx, ariTimeout)
	defer cancel()
	info, err := r.Client.FetchRenewalInfo(asking, id)
	if ctx.Err() != nil {
		return nil
	}
	now := r.Now.Add(time.Since(r.began))
	a := &certs.ARI{ID: id, Ask: now.Add(ariNever)}
	var later *acme.TemporaryError
	switch {
	case err != nil:
		if was := r.state.ARI; was != nil && was.ID == id {
			*a = *was
		}
		a.Ask = now.Add(ariTrouble)
		if errors.As(err, &later) && later.Until.After(a.Ask) {
			a.Ask = later.Until
		}
		r.tell(StepARI, "the CA does not say when to renew it: %v", err)
		if later == nil {
			break
		}
		if err := r.Memory.NoAnswer(now); err != nil { // a thousand others would wait for nothing
			r.tell(StepWarning, "%v", err)
		}
	case info != nil:
		a.Start, a.End, a.Explanation = info.Start.UTC(), info.End.UTC(), ""
		if len(info.Explanation) <= ariExplanation {
			a.Explanation = info.Explanation
		}
		a.Ask = now.Add(ariAgain)
		if !info.RetryAfter.IsZero() {
			a.Ask = info.RetryAfter
		}
		r.tell(StepARI, "the CA suggests renewing it between %s and %s", a.Start.Format(time.RFC3339), a.End.Format(time.RFC3339))
	}
	a.Ask = wholeSecond(clamp(a.Ask, now.Add(ariLeast), now.Add(ariNever)))
	return a
}

// firstARI is for a new certificate: it need not be asked about for a while.
func (r *run) firstARI(m *certs.Material) *certs.ARI {
	leaf := m.Chain[0]
	id := acme.CertificateID(leaf)
	if r.Memory == nil || id == "" {
		return nil
	}
	wait := min(ariFirst, leaf.NotAfter.Sub(leaf.NotBefore)/8)
	return &certs.ARI{ID: id, Ask: r.Now.Add(wait).UTC().Truncate(time.Second)}
}

// replaces is the certificate that an order is to renew (RFC 9773 §5), or "". The two
// must have a name in common.
func (r *run) replaces(d *acme.Directory) string {
	if r.Memory == nil || d.RenewalInfo == "" || r.current == nil || !r.stateIsCurrent() || r.state.CA != r.CA {
		return ""
	}
	common := func(name string) bool { return slices.Contains(r.Names, name) }
	if !slices.ContainsFunc(certs.Names(r.current.Leaf), common) {
		return ""
	}
	return acme.CertificateID(r.current.Leaf)
}

func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func clamp(t, least, most time.Time) time.Time {
	switch {
	case t.Before(least):
		return least
	case t.After(most):
		return most
	}
	return t
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
