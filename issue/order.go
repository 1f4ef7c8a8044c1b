package issue

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"arid/acme"
	"arid/certs"
	"arid/challenge"
	"arid/hooks"
	"arid/keys"
)

// obtain gets a certificate from the CA: a new order, or the one that an
// earlier run left open. The chain that comes back has been checked against key
// and names.
func (r *run) obtain(ctx context.Context) (_ *certs.Material, err error) {
	r.deadline = time.Now().Add(r.Timeout)
	defer func() { r.reportRefusal(ctx, err) }()
	if r.Listen != nil && (r.Types.Uses(challenge.HTTP01, r.Names) || r.Types.Uses(challenge.TLSALPN01, r.Names)) {
		if err := r.Listen(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.openAccount(ctx); err != nil {
		return nil, err
	}
	o, made, err := r.openOrder(ctx)
	if err != nil {
		return nil, err
	}
	if o.Status == "pending" {
		if o, err = r.validate(ctx, o); err != nil {
			return nil, r.giveUp(err)
		}
	} else {
		for _, name := range r.Names {
			r.tell(StepHeld, "%s: the CA still holds a valid authorization", name)
		}
		r.tell(StepPending, "0 pending challenges")
	}
	if o, err = r.finalize(ctx, o, made.CSR); err != nil {
		return nil, r.giveUp(err)
	}
	if made.Chain, err = r.download(ctx, o); err != nil {
		return nil, err
	}
	csr, err := x509.ParseCertificateRequest(made.CSR)
	if err != nil {
		return nil, err
	}
	warnings, err := certs.CheckChain(made.Chain, csr.PublicKey, r.Names, time.Now())
	if err != nil {
		return nil, r.giveUp(&acme.ProtocolError{URL: o.Certificate, What: "the certificate is not the one ordered", Err: err})
	}
	for _, w := range warnings {
		r.tell(StepWarning, "%s", w)
	}
	return made, nil
}

// openAccount finds or makes the account. What the CA's directory says is
// checked here, before anything is posted.
func (r *run) openAccount(ctx context.Context) error {
	if err := r.Account.Check(r.Registration); err != nil {
		return err // before the CA is asked anything
	}
	ctx, cancel := r.waitCA(ctx)
	defer cancel()
	directory, err := r.Client.Directory(ctx)
	if err != nil {
		return err
	}
	if _, known := directory.Meta.Profiles[r.Profile]; r.Profile != "" && !known {
		offered := "it offers none"
		if len(directory.Meta.Profiles) > 0 {
			offered = "it offers " + listed(slices.Sorted(maps.Keys(directory.Meta.Profiles)))
		}
		return &ConfigError{What: fmt.Sprintf("the CA has no profile %q; %s", r.Profile, offered)}
	}
	a, created, err := r.Account.Ensure(ctx, r.Client, r.Registration)
	if err != nil {
		return err
	}
	if created {
		r.tell(StepAccount, "account made: %s", a.URL)
	} else {
		r.tell(StepAccount, "account: %s", a.URL)
	}
	r.account = a.URL
	// Now, while there is more to do: a run that is killed here is followed by one
	// that comes here again, and takes away what was half-written.
	if document, fetched := r.Client.DirectoryDocument(); fetched && r.Memory != nil {
		if err := r.Memory.SaveDirectory(document, time.Now()); err != nil {
			r.tell(StepWarning, "%v", err)
		}
	}
	return nil
}

// openOrder takes up the order that an earlier run left open, or makes a new
// one with a new key. Key and CSR are on disk before the CA hears of the order,
// its URL right after: a crash costs one request and not one certificate.
func (r *run) openOrder(ctx context.Context) (*acme.Order, *certs.Material, error) {
	ctx, cancel := r.waitCA(ctx)
	defer cancel()
	if o, made, err := r.resume(ctx); o != nil || err != nil {
		return o, made, err
	}
	made := &certs.Material{}
	if r.CSR != nil {
		made.CSR = r.CSR.DER
	} else {
		var err error
		if made.Key, err = r.newKey(); err != nil {
			return nil, nil, err
		}
		r.tell(StepCSR, "making the signing request")
		if made.CSR, err = r.newCSR(made.Key); err != nil {
			return nil, nil, err
		}
	}
	if r.Certificate != nil {
		if err := r.Certificate.StartPending(made.Key, made.CSR); err != nil {
			return nil, nil, fmt.Errorf("pending: %w", err)
		}
	}
	directory, err := r.Client.Directory(ctx)
	if err != nil {
		return nil, nil, err
	}
	request := acme.OrderRequest{Profile: r.Profile, NotAfter: r.NotAfter, Replaces: r.replaces(directory)}
	for _, name := range r.Names {
		request.Identifiers = append(request.Identifiers, acme.NewIdentifier(name))
	}
	o, err := r.newOrder(ctx, request)
	if err != nil {
		return nil, nil, r.giveUp(r.Account.Lost(err))
	}
	if r.Certificate != nil {
		if err := r.Certificate.SaveOrder(r.pendingOrder(o.URL)); err != nil {
			return nil, nil, fmt.Errorf("pending: %w", err)
		}
	}
	return o, made, nil
}

// newOrder makes an order. With Revalidate it gives up what the CA holds valid of it,
// which ends the order, and makes another, until there is nothing of that kind.
func (r *run) newOrder(ctx context.Context, request acme.OrderRequest) (*acme.Order, error) {
	for try := 1; ; try++ {
		o, err := r.Client.NewOrder(ctx, request)
		if request.Replaces != "" && aboutReplaced(err) {
			request.Replaces = ""
			o, err = r.Client.NewOrder(ctx, request)
		}
		if err != nil {
			return nil, err
		}
		r.tell(StepOrder, "order for %s: %s", r.names, o.URL)
		if !r.Revalidate {
			return o, nil
		}
		held := false
		for _, url := range o.Authorizations {
			a, err := r.Client.FetchAuthorization(ctx, url)
			if err != nil {
				return nil, err
			}
			if a.Status != "valid" {
				continue
			}
			held = true
			r.tell(StepGivenUp, "%s: the CA holds a valid authorization, which is given up", a.Identifier.Value)
			if err := r.Client.DeactivateAuthorization(ctx, url); err != nil {
				return nil, err
			}
		}
		switch {
		case !held:
			return o, nil
		case try == maxGivenUp:
			return nil, &acme.ProtocolError{URL: o.URL, What: "authorizations stay valid, however many are given up"}
		}
	}
}

// aboutReplaced says whether a refused order may be taken without the certificate that
// it replaces: another order was first, the CA does not know the certificate, or knows it
// from another account. Trouble of the CA's own counts too, lest a certificate that it
// cannot look up is never renewed. If that order was made all the same, there is one more.
func aboutReplaced(err error) bool {
	var p *acme.Problem
	var later *acme.TemporaryError
	switch {
	case !errors.As(err, &p):
		return false
	case errors.As(err, &later):
		return later.Until.IsZero() && p.Short() == "serverInternal"
	}
	return slices.Contains([]string{"alreadyReplaced", "malformed", "unauthorized"}, p.Short())
}

// maxGivenUp is how many authorizations of one name a CA may hold.
const maxGivenUp = 20

// pendingOrder is what an open order must match to be taken up again.
func (r *run) pendingOrder(url string) certs.PendingOrder {
	p := certs.PendingOrder{URL: url, CA: r.CA, Account: r.account, Names: r.Names, Profile: r.Profile}
	if !r.NotAfter.IsZero() {
		p.NotAfter = r.NotAfter.UTC().Format(time.RFC3339)
	}
	return p
}

// resume returns the order that is still open for this very request, or nil.
func (r *run) resume(ctx context.Context) (*acme.Order, *certs.Material, error) {
	if r.Certificate == nil || r.Revalidate {
		return nil, nil, nil
	}
	p, err := r.Certificate.Pending()
	if err != nil {
		return nil, nil, fmt.Errorf("pending: %w", err)
	}
	if p == nil || !r.fits(p) {
		return nil, nil, nil
	}
	o, err := r.Client.FetchOrder(ctx, p.Order.URL)
	switch {
	case acme.Refusal(err) != nil:
		return nil, nil, nil // the CA has forgotten it
	case err != nil:
		return nil, nil, r.giveUp(err)
	}
	r.removeStale(ctx, o)
	if o.Status == "invalid" {
		return nil, nil, nil
	}
	r.tell(StepResume, "going on with the order of an earlier run: %s", o.URL)
	return o, &certs.Material{Key: p.Key, CSR: p.CSR}, nil
}

// fits tells whether the open order would end in what is wanted now: the CA may
// have its CSR already, and then it can have no other.
func (r *run) fits(p *certs.Pending) bool {
	want, have := r.pendingOrder(p.Order.URL), p.Order
	switch {
	case have.CA != want.CA || have.Account != want.Account || !slices.Equal(have.Names, want.Names) ||
		have.Profile != want.Profile || have.NotAfter != want.NotAfter:
		return false
	case r.CSR != nil:
		return slices.Equal(p.CSR, r.CSR.DER)
	}
	return p.Key != nil && r.fitsKey(p.Key) && r.fitsCSR(p)
}

// fitsKey tells whether newKey could have given this key.
func (r *run) fitsKey(key crypto.Signer) bool {
	if reuse := r.keyToReuse(); reuse != nil {
		return keys.Fits(reuse.Public(), key)
	}
	if r.current != nil && keys.Fits(r.current.Leaf.PublicKey, key) {
		return false // a fresh one is wanted
	}
	algo, err := keys.AlgoOf(key.Public())
	return err == nil && algo == r.Algo
}

// fitsCSR tells whether the open order's CSR asks for what a new one would.
func (r *run) fitsCSR(p *certs.Pending) bool {
	der, err := r.newCSR(p.Key)
	if err != nil {
		return false
	}
	want, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return false
	}
	have, err := x509.ParseCertificateRequest(p.CSR)
	return err == nil && bytes.Equal(have.RawTBSCertificateRequest, want.RawTBSCertificateRequest)
}

func (r *run) newCSR(key crypto.Signer) ([]byte, error) {
	return keys.MakeCSR(key, keys.CSROptions{Names: r.Names, Subject: r.Subject, MustStaple: r.MustStaple})
}

// giveUp forgets the open order where going on with it can never work, and
// keeps it where another run may: after an outage, a signal, a failed hook.
func (r *run) giveUp(err error) error {
	dead := is[*ValidationError](err) || is[*OrderError](err) || is[*acme.Problem](err) || is[*acme.ProtocolError](err)
	if r.Certificate == nil || !dead || is[*acme.TemporaryError](err) {
		return err
	}
	if dropErr := r.Certificate.DropPending(); dropErr != nil {
		r.tell(StepWarning, "pending: %v", dropErr)
	}
	return err
}

// reportRefusal tells the hook that the CA refused a request.
func (r *run) reportRefusal(ctx context.Context, err error) {
	var p *acme.Problem
	if !errors.As(err, &p) || p.Method == "" || ctx.Err() != nil {
		return
	}
	event := hooks.RequestFailure(p.Status, string(p.Body), strings.ToLower(p.Method), p.HeaderText())
	if err := r.hook(ctx, event); err != nil {
		r.tell(StepWarning, "%v", err)
	}
}

// finalize sends the CSR where the order is ready, and waits for the
// certificate.
func (r *run) finalize(ctx context.Context, o *acme.Order, csr []byte) (*acme.Order, error) {
	ctx, cancel := r.waitCA(ctx)
	defer cancel()
	ctx, end := limit(ctx, r.OrderTimeout, "order")
	defer end()
	var err error
	if o.Status == "ready" {
		r.tell(StepFinalize, "sending the CSR")
		if o, err = r.Client.Finalize(ctx, o, csr); err != nil {
			return nil, err
		}
	}
	issued := func(status string) bool { return status == "valid" }
	if !issued(o.Status) {
		if o, err = r.Client.WaitOrder(ctx, o, issued); err != nil {
			return nil, err
		}
	}
	switch {
	case o.Status != "valid":
		return nil, &OrderError{What: "the CA did not issue the certificate", Problem: o.Error}
	case o.Certificate == "":
		return nil, &acme.ProtocolError{URL: o.URL, What: "the order is valid and names no certificate"}
	}
	return o, nil
}

// download fetches the chain, and its alternates only where one is preferred. The
// order is kept where the CA just does not give those out: the certificate is good.
func (r *run) download(ctx context.Context, o *acme.Order) ([]*x509.Certificate, error) {
	ctx, cancel := r.waitCA(ctx)
	defer cancel()
	chain, err := r.Client.FetchCertificate(ctx, o.Certificate)
	if err != nil {
		return nil, r.giveUp(err)
	}
	if chain, err = r.preferred(ctx, chain); err != nil {
		return nil, err
	}
	r.tell(StepDownload, "downloaded %d certificates", len(chain.Certificates))
	return chain.Certificates, nil
}

// preferred is the chain that is wanted: the one at hand, or one that the CA has besides.
func (r *run) preferred(ctx context.Context, chain *acme.Chain) (*acme.Chain, error) {
	if r.PreferredChain == "" || topIssuer(chain) == r.PreferredChain {
		return chain, nil
	}
	offered := []string{topIssuer(chain)}
	var first error
	for alternate, err := range r.Client.FetchAlternates(ctx, chain) {
		switch {
		case err != nil && (ctx.Err() != nil || is[*acme.TemporaryError](err)):
			return nil, err
		case err != nil:
			first = cmp.Or(first, err)
		case topIssuer(alternate) == r.PreferredChain:
			return alternate, nil
		default:
			offered = append(offered, topIssuer(alternate))
		}
	}
	if first != nil {
		err := fmt.Errorf("looking for a chain up to %q: %w", r.PreferredChain, first)
		if acme.Refusal(first) != nil {
			return nil, err
		}
		return nil, r.giveUp(err)
	}
	return nil, &ChainError{r.PreferredChain, offered}
}

// topIssuer is the common name that PREFERRED_CHAIN is held against.
func topIssuer(c *acme.Chain) string {
	return c.Certificates[len(c.Certificates)-1].Issuer.CommonName
}

// keyAuthorization of a token is made from our own key, never from what the CA
// sent (RFC 8555 §8.1).
func (r *run) keyAuthorization(token string) (string, error) {
	return acme.KeyAuthorization(token, r.Client.AccountKey())
}
