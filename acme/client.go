package acme

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of one request.
const (
	maxJSON        = 1 << 20
	defaultTimeout = 60 * time.Second
)

// Options are how a Client talks; the zero value will do.
type Options struct {
	// HTTP carries the transport to use; nil: one made by NewTransport. Of the
	// http.Client only its Transport counts: redirects, cookies, limits and
	// deadlines are this package's.
	HTTP           *http.Client
	UserAgent      string         // RFC 8555 §6.1 wants one; "arid" if empty
	RequestTimeout time.Duration  // of a request, its body included; 0: 60 s
	Trace          func(Exchange) // is told of every exchange, maybe from several goroutines at once; may be nil

	// KnownDirectory is what DirectoryDocument gave in an earlier run; nil: none.
	// It saves a request. What is no good is not used, and where it turns out not
	// to hold any more the directory is fetched, once.
	KnownDirectory []byte
}

// Client talks to one CA. It is safe for concurrent use.
type Client struct {
	directoryURL *url.URL
	http         *http.Client
	userAgent    string
	timeout      time.Duration
	trace        func(Exchange)
	remembered   *Directory    // of an earlier run; nil: none
	beginning    chan struct{} // held by the first request
	begun        atomic.Bool   // the first request is over
	fetching     chan struct{} // held while the directory is being fetched
	renewed      bool          // for who holds fetching: a new one was tried for

	mu        sync.Mutex
	directory *Directory      // in force
	document  []byte          // of it
	origins   map[string]bool // where resources may be
	nonces    []string
	account   account
}

// account is who signs; url is empty before newAccount.
type account struct {
	key crypto.Signer
	url string
}

// New makes a client for the CA with that directory. Nothing is sent. Refused,
// with *URLError, is what is neither https nor http to a loopback address.
func New(directoryURL string, o Options) (*Client, error) {
	u, err := parseURL(directoryURL)
	if err != nil {
		return nil, &URLError{directoryURL, err.Error()}
	}
	if u.Scheme == "http" && !isLoopback(u) {
		return nil, &URLError{directoryURL, "plain http is for loopback addresses alone; use https"}
	}
	var transport http.RoundTripper
	if o.HTTP != nil {
		transport = o.HTTP.Transport
	}
	if transport == nil {
		transport = NewTransport(TransportOptions{})
	}
	c := &Client{
		directoryURL: u,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		userAgent: cmp.Or(o.UserAgent, "arid"),
		timeout:   cmp.Or(o.RequestTimeout, defaultTimeout),
		trace:     o.Trace,
		beginning: make(chan struct{}, 1),
		fetching:  make(chan struct{}, 1),
		origins:   map[string]bool{origin(u): true},
	}
	c.remember(o.KnownDirectory)
	return c, nil
}

// UseAccount says who signs from now on.
func (c *Client) UseAccount(key crypto.Signer, accountURL string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.account = account{key, accountURL}
}

// AccountKey is the key that signs; nil before UseAccount or NewAccount.
func (c *Client) AccountKey() crypto.Signer { return c.signer().key }

func (c *Client) signer() account {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.account
}

// call is one thing asked of the CA; it can take several requests.
type call struct {
	what    string // for errors: "new order"
	method  string // "" is POST
	url     string
	payload []byte  // POST: empty, not nil, for POST-as-GET
	account account // POST: who signs; with its key in the JWS where url is empty
	accept  string
	limit   int64 // of the body; 0: maxJSON

	// A member of the directory is called instead of url, or what stands below
	// it; payloadAt makes the payload where it depends on the URL. Both are set
	// for each try: the directory may have moved.
	member    *member
	below     string
	payloadAt func(url string) ([]byte, error)

	// again says that it can be sent again although it may have been carried
	// out: it changes nothing.
	again bool

	redirected bool // the caller deals with redirects

	contentType string // of a body; "" is a JWS's
	nonce       string // signed with, at this try
}

// reply is a whole reply.
type reply struct {
	call       *call
	status     int
	proto      string // as "HTTP/2"
	header     http.Header
	body       []byte
	nonce      string    // "" for none that is good
	retryAfter time.Time // zero for none
}

// fetch is POST-as-GET.
func (c *Client) fetch(ctx context.Context, what, url string) (*reply, error) {
	return c.send(ctx, &call{what: what, url: url, account: c.signer(), again: true,
		payload: []byte{}}) // empty, not nil: go-jose drops the member for nil (RFC 8555 §6.3)
}

// post sends a payload in the account's name.
func (c *Client) post(ctx context.Context, what, url string, payload any) (*reply, error) {
	return c.send(ctx, &call{what: what, url: url, account: c.signer(), payload: encode(payload)})
}

// send asks until there is an answer: a 2xx reply, a refusal (*Problem), or no
// hope for now (*TemporaryError). What may be tried again, and when, is patience's
// to say.
func (c *Client) send(ctx context.Context, k *call) (*reply, error) {
	if k.method = cmp.Or(k.method, http.MethodPost); k.method == http.MethodPost && k.account.key == nil {
		return nil, fmt.Errorf("%s: %w", k.what, errNoAccount)
	}
	var p patience
	for {
		by, err := c.aim(ctx, k)
		if err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ended(ctx, k.name())
		}
		if p.nonce == "" && k.payload != nil {
			if p.nonce, err = c.nonce(ctx); err != nil {
				return nil, err
			}
			continue // the directory may be another one now
		}
		r, err := c.attempt(ctx, k, p.nonce)
		if c.moved(ctx, k, by, r, err) {
			if err == nil { // else the nonce has not been sent
				p.nonce = ""
			}
			continue
		}
		if err == nil && (r.status/100 == 2 || r.status/100 == 3 && k.redirected) {
			return r, nil
		}
		pause, err := p.after(ctx, k, r, err)
		if err != nil {
			return nil, err
		}
		sleep(ctx, pause)
	}
}

// attempt sends the call once, a POST signed with this nonce, and keeps the nonce
// of the reply.
func (c *Client) attempt(ctx context.Context, k *call, nonce string) (_ *reply, err error) {
	var body []byte
	if k.payload != nil {
		k.nonce = nonce
		if body, err = sign(k.account, nonce, k.url, k.payload); err != nil {
			return nil, fmt.Errorf("%s: %w", k.what, err)
		}
	}
	r, err := c.exchange(ctx, k, body)
	if err != nil {
		return nil, err
	}
	if r.nonce != "" && k.method != http.MethodHead && !r.badNonce() {
		c.keepNonce(r.nonce)
	}
	return r, nil
}

// afterFirst waits until the first request has been answered, or has failed, unless
// this is it: those who begin side by side would make a connection each.
func (c *Client) afterFirst(ctx context.Context, k *call) (done func(), err error) {
	if c.begun.Load() {
		return func() {}, nil
	}
	select {
	case c.beginning <- struct{}{}:
	case <-ctx.Done():
		return nil, ended(ctx, k.name())
	}
	if c.begun.Load() {
		<-c.beginning
		return func() {}, nil
	}
	return func() { c.begun.Store(true); <-c.beginning }, nil
}

// name is the call for an error: what, to what.
func (k *call) name() string { return k.what + " " + quote(k.url, maxURLShown) }

// exchange is one HTTP request with its whole reply. Its errors are
// *TemporaryError, *ProtocolError, or those of the caller's context.
func (c *Client) exchange(ctx context.Context, k *call, body []byte) (_ *reply, err error) {
	r := &reply{call: k}
	var connected, newConnection atomic.Bool
	if c.trace != nil {
		began := time.Now()
		defer func() { c.trace(r.traced(began, len(body), newConnection.Load(), err)) }()
	}
	done, err := c.afterFirst(ctx, k)
	if err != nil {
		return nil, err
	}
	defer done()
	own, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := c.request(httptrace.WithClientTrace(own, &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) { connected.Store(true); newConnection.Store(!got.Reused) },
	}), k, body)
	if err != nil {
		return nil, r.wrong("no request can be made", err)
	}
	response, err := c.http.Do(request)
	if err == nil {
		defer func() { _ = response.Body.Close() }()
		err = r.read(response)
	}
	var protocol *ProtocolError
	switch {
	case err == nil:
		return r, nil
	case errors.As(err, &protocol):
		return nil, err
	case ctx.Err() != nil:
		return nil, ended(ctx, k.name())
	case own.Err() != nil:
		return nil, &TemporaryError{What: k.name(), Err: fmt.Errorf("no whole answer within %s", c.timeout), lost: true}
	case !connected.Load() && isTLS(err):
		return nil, &TemporaryError{What: k.name(), Err: explain(err), settled: true, unconnected: true}
	}
	_, tells := c.http.Transport.(*http.Transport) // of every connection, before it is used
	return nil, &TemporaryError{What: k.name(), Err: explain(err), lost: connected.Load() || !unsent(err),
		unconnected: !connected.Load() && (tells || unsent(err))}
}

func (c *Client) request(ctx context.Context, k *call, body []byte) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, k.method, k.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", cmp.Or(k.contentType, "application/jose+json"))
	}
	request.Header.Set("User-Agent", c.userAgent)
	request.Header.Set("Accept-Encoding", "identity") // also keeps a foreign transport from asking for gzip
	if k.accept != "" {
		request.Header.Set("Accept", k.accept)
	}
	return request, nil
}

// read takes the response in, within the limit and to its end, so that the
// connection can be used again.
func (r *reply) read(response *http.Response) (err error) {
	r.status, r.header = response.StatusCode, response.Header
	r.proto = strings.Replace(response.Proto, "HTTP/2.0", "HTTP/2", 1) // as it is written
	r.nonce = goodNonce(r.header.Get("Replay-Nonce"))
	r.retryAfter, _ = ParseRetryAfter(r.header.Values("Retry-After"), time.Now())
	if coding := r.header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return r.wrong("the reply is encoded as "+quote(coding, 64)+", which was not asked for", nil)
	}
	limit := cmp.Or(r.call.limit, maxJSON)
	tooLarge := r.wrong(fmt.Sprintf("the reply is larger than %d KiB", limit>>10), nil)
	if response.ContentLength > limit && r.call.method != http.MethodHead {
		return tooLarge
	}
	r.body, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err == nil && int64(len(r.body)) > limit {
		return tooLarge
	}
	return err
}

// unsent says that nothing of the request can have reached the CA.
func unsent(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial"
}

// isTLS says that no TLS came about, and that another try would end the same.
func isTLS(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		op          *net.OpError
		u           *url.Error
	)
	if errors.As(err, &u) {
		err = u.Err
	}
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch) ||
		errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error") || // alerts
		strings.HasPrefix(err.Error(), "tls: ")
}

// explain drops the layers that repeat method and URL, and says what trouble
// with TLS is about.
func explain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	var certificate *tls.CertificateVerificationError
	var slow net.Error
	switch {
	case errors.As(err, &certificate):
		return fmt.Errorf("the CA's own TLS certificate is not to be trusted: %w", certificate.Err)
	case isTLS(err):
		return fmt.Errorf("TLS with the CA failed: %w", err)
	case errors.As(err, &slow) && slow.Timeout():
		return fmt.Errorf("no answer in time: %w", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the connection was cut: %w", err)
	}
	return err
}
