// Package ocsp asks a CA's OCSP responder about a certificate (RFC 6960), and
// checks the answer: what stands in a file beside a certificate is shown to
// others by a server.
package ocsp

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	xocsp "golang.org/x/crypto/ocsp"
)

const (
	maxResponse  = 64 << 10
	maxResponder = 3 // asked in turn
	patience     = 30 * time.Second
	skew         = 5 * time.Minute // between two clocks
)

// Response is a responder's word that a certificate is good.
type Response struct {
	DER        []byte
	ThisUpdate time.Time // when that was known to be so
	NextUpdate time.Time // when there will be news; zero: always
}

// ErrNoResponder says that a certificate names nobody to ask.
var ErrNoResponder = errors.New("the certificate names no OCSP responder")

// StatusError is a responder's word that a certificate is not good.
type StatusError struct {
	Revoked time.Time // zero: the responder does not know the certificate
}

func (e *StatusError) Error() string {
	if e.Revoked.IsZero() {
		return "the responder does not know the certificate"
	}
	return "the certificate was revoked at " + e.Revoked.UTC().Format(time.RFC3339)
}

// Fetch asks the responders that the certificate names, in turn, until one gives
// a good answer. Errors: ErrNoResponder, *StatusError, and what went wrong with
// the first that was asked.
func Fetch(ctx context.Context, client *http.Client, leaf, issuer *x509.Certificate) (*Response, error) {
	if len(leaf.OCSPServer) == 0 {
		return nil, ErrNoResponder
	}
	question, err := xocsp.CreateRequest(leaf, issuer, nil) // SHA-1, as all responders know it (RFC 5019 §2.1.1)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, responder := range leaf.OCSPServer[:min(len(leaf.OCSPServer), maxResponder)] {
		response, err := ask(ctx, client, responder, question, leaf, issuer)
		var status *StatusError
		if err == nil || errors.As(err, &status) || ctx.Err() != nil {
			return response, err
		}
		if failed == nil {
			failed = err
		}
	}
	return nil, failed
}

func ask(ctx context.Context, client *http.Client, responder string, question []byte, leaf, issuer *x509.Certificate) (*Response, error) {
	u, err := url.Parse(responder)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%.200q is no URL of a responder", responder)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	der, err := post(ctx, client, u.String(), question)
	if err == nil {
		var response *Response
		if response, err = Parse(der, leaf, issuer, time.Now()); err == nil {
			return response, nil
		}
	}
	return nil, fmt.Errorf("responder %.200q: %w", responder, err)
}

// post is the request of RFC 6960 appendix A.1.
func post(ctx context.Context, client *http.Client, responder string, question []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, responder, bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/ocsp-request")
	request.Header.Set("Accept", "application/ocsp-response")
	plain := http.Client{
		Transport:     client.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	reply, err := plain.Do(request)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) { // the URL is told once, by ask
			err = u.Err
		}
		return nil, err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP status %d", reply.StatusCode)
	}
	der, err := io.ReadAll(io.LimitReader(reply.Body, maxResponse+1))
	if err == nil && len(der) > maxResponse {
		err = fmt.Errorf("the answer has more than %d bytes", maxResponse)
	}
	return der, err
}

// Parse reads an answer, and wants it to be one of the issuer's, or of somebody
// whom the issuer has this do, that says "good" of the certificate, and says it
// of now.
func Parse(der []byte, leaf, issuer *x509.Certificate, now time.Time) (*Response, error) {
	// Without an issuer only the signature is checked, and only against the
	// certificate in the answer, if there is one: the rest is for signedBy, which
	// is stricter.
	r, err := xocsp.ParseResponseForCert(der, leaf, nil)
	var refused xocsp.ResponseError
	switch {
	case errors.As(err, &refused):
		return nil, fmt.Errorf("it says %q", refused.Status)
	case err != nil:
		return nil, fmt.Errorf("no OCSP response: %w", err)
	}
	if err := signedBy(r, issuer, now); err != nil {
		return nil, err
	}
	switch {
	case r.ThisUpdate.After(now.Add(skew)):
		return nil, fmt.Errorf("its answer is of the future: %s", r.ThisUpdate.UTC().Format(time.RFC3339))
	case !r.NextUpdate.IsZero() && (r.NextUpdate.Before(r.ThisUpdate) || now.After(r.NextUpdate)):
		return nil, fmt.Errorf("its answer was good until %s", r.NextUpdate.UTC().Format(time.RFC3339))
	}
	switch r.Status {
	case xocsp.Good:
		return &Response{der, r.ThisUpdate, r.NextUpdate}, nil
	case xocsp.Revoked:
		return nil, &StatusError{r.RevokedAt}
	}
	return nil, &StatusError{}
}

// signedBy checks who signed (RFC 6960 §4.2.2.2): the issuer, or the holder of a
// certificate that the issuer made for that purpose. Any other of its certificates
// would do for x/crypto.
func signedBy(r *xocsp.Response, issuer *x509.Certificate, now time.Time) error {
	responder := r.Certificate
	if responder == nil || responder.Equal(issuer) {
		if err := r.CheckSignatureFrom(issuer); err != nil {
			return fmt.Errorf("its answer is not signed by the issuer: %w", err)
		}
		return nil
	}
	err := issuer.CheckSignature(responder.SignatureAlgorithm, responder.RawTBSCertificate, responder.Signature)
	switch {
	case err != nil:
		return fmt.Errorf("its answer is signed by one whom the issuer does not vouch for: %w", err)
	case !slices.Contains(responder.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("its answer is signed by one who may not: the key usage OCSPSigning is missing")
	case now.Before(responder.NotBefore.Add(-skew)) || now.After(responder.NotAfter):
		return fmt.Errorf("its answer is signed by one who might until %s", responder.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}
