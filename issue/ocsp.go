package issue

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"arid/certs"
	"arid/hooks"
	"arid/ocsp"
)

// staple keeps an OCSP response beside the certificate. Where the one that is there
// will do, a file is read and nobody asked. Natively the certificate is good
// whatever a responder says or does not say: that is a warning, and the next run
// tries again. dehydrated takes it for a failure of the certificate's.
func (r *run) staple(ctx context.Context, result *Result) error {
	chain := result.Chain
	switch {
	case len(chain) == 0:
		return nil
	case len(chain[0].OCSPServer) == 0:
		return r.cannotStaple(ctx, chain[0], ocsp.ErrNoResponder)
	case len(chain) == 1:
		return r.cannotStaple(ctx, chain[0], errors.New("the chain lacks the certificate of its issuer"))
	}
	if !result.Issued && !r.state.DeployOCSP {
		kept, err := r.keptResponse(chain)
		if err != nil {
			return err
		}
		if kept.fresh {
			r.tell(StepOCSPKept, "the OCSP response is still good")
			return nil
		}
	}
	unlock, err := r.lockAgain(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if live, err := r.Certificate.Live(); err != nil || !live.Leaf.Equal(chain[0]) {
		return err // another run's certificate is another run's work
	}
	return r.fetchResponse(ctx, chain, result.Issued)
}

// lockAgain takes the certificate's lock, which is free between its renewal and
// this, and reads the state anew.
func (r *run) lockAgain(ctx context.Context) (unlock func(), err error) {
	if unlock, err = r.Certificate.Lock(ctx, r.LockWait); err != nil {
		return nil, err
	}
	if r.state, err = r.Certificate.State(); r.state == nil {
		unlock()
		return nil, err
	}
	return unlock, nil // a damaged state was told of already
}

// keptResponse is what is on disk already.
type keptResponse struct {
	der       []byte
	timestamp string
	good      bool // it says so, of this certificate and of now
	fresh     bool // and is young enough
}

func (r *run) keptResponse(chain []*x509.Certificate) (kept keptResponse, err error) {
	kept.der, kept.timestamp, err = r.Certificate.OCSP()
	if err != nil || kept.der == nil {
		return kept, err
	}
	response, err := ocsp.Parse(kept.der, chain[0], chain[1], r.Now)
	if err != nil {
		return kept, nil
	}
	kept.good = true
	kept.fresh = r.Now.Sub(response.ThisUpdate) <= time.Duration(r.OCSPDays)*24*time.Hour
	if !r.Dehydrated && !response.NextUpdate.IsZero() {
		// Short-lived ones would run out before the next run.
		quarter := response.NextUpdate.Sub(response.ThisUpdate) / 4
		kept.fresh = kept.fresh && r.Now.Before(response.NextUpdate.Add(-quarter))
	}
	return kept, nil
}

// fetchResponse gets what is missing or old, and calls the hook for it, or for an
// earlier one for which that is owed.
func (r *run) fetchResponse(ctx context.Context, chain []*x509.Certificate, issued bool) error {
	kept, err := r.keptResponse(chain)
	if err != nil {
		return err
	}
	var news []byte
	if issued || !kept.fresh {
		r.tell(StepOCSP, "asking for an OCSP response")
		response, err := ocsp.Fetch(ctx, r.HTTP, chain[0], chain[1])
		if err != nil {
			return r.noResponse(ctx, err, kept.good)
		}
		if r.Dehydrated || !bytes.Equal(response.DER, kept.der) {
			news = response.DER
		}
	}
	if news == nil && !r.state.DeployOCSP {
		return nil
	}
	if r.Begin != nil {
		if err := r.Begin(ctx); err != nil {
			return err
		}
	}
	timestamp := kept.timestamp
	if news != nil {
		if timestamp, err = r.saveResponse(news); err != nil {
			return fmt.Errorf("OCSP: %w", err)
		}
	}
	return r.deployResponse(ctx, timestamp)
}

// saveResponse remembers that its hook is owed before there is anything new to be
// seen, so that a run that is killed in between loses nothing.
func (r *run) saveResponse(der []byte) (timestamp string, err error) {
	if r.hasHook() {
		r.state.DeployOCSP = true
		if err := r.Certificate.SaveState(r.state); err != nil {
			return "", err
		}
	}
	return r.Certificate.SaveOCSP(der, time.Now())
}

func (r *run) deployResponse(ctx context.Context, timestamp string) error {
	var more []string
	if r.Dehydrated { // with a blank behind a single name
		words := r.words()
		more = []string{"altnames=" + words[0] + " " + strings.Join(words[1:], " ")}
	}
	if err := r.hook(ctx, hooks.DeployOCSP(r.words()[0], r.Certificate.OCSPPath(), timestamp), more...); err != nil {
		return r.owed(ctx, err)
	}
	if !r.state.DeployOCSP {
		return nil
	}
	r.state.DeployOCSP = false
	return r.saveState()
}

// noResponse is a responder that gave nothing of use. While the response on disk is
// good nobody needs to hear of it.
func (r *run) noResponse(ctx context.Context, err error, good bool) error {
	var status *ocsp.StatusError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case r.Dehydrated:
		return fmt.Errorf("Error while fetching OCSP information: %w", err)
	case good && !errors.As(err, &status):
		r.tell(StepOCSPKept, "OCSP: %v; the response on disk is still good", err)
	default:
		r.tell(StepWarning, "OCSP: %v", err)
	}
	return nil
}

// cannotStaple is a certificate that can have no response: CAs give OCSP up. It is
// said once for each certificate.
func (r *run) cannotStaple(ctx context.Context, leaf *x509.Certificate, why error) error {
	print := certs.Fingerprint(leaf)
	switch {
	case r.Dehydrated:
		return fmt.Errorf("Error while fetching OCSP information: %w", why)
	case r.state.NoOCSP == print:
		return nil
	}
	unlock, err := r.lockAgain(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	r.tell(StepWarning, "OCSP_FETCH: %v", why)
	r.state.NoOCSP = print
	return r.saveState()
}
