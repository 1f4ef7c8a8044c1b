// Package respond answers a CA's questions from the directories that `arid sign`
// fills, or from memory: tls-alpn-01 (RFC 8737) from pairs of certificate and key,
// http-01 (RFC 8555 §8.3) from tokens. What else comes is refused, or forwarded
// untouched.
package respond

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"arid/alpn"
	"arid/internal/guard"
)

// Options say what is answered, and what becomes of the rest. At least one of
// ALPN, HTTP and Proofs is wanted.
type Options struct {
	ALPN   string  // directory of pairs, as alpn.Dir.Put writes them; "": no tls-alpn-01
	HTTP   string  // directory of tokens; "": no http-01
	Proofs *Proofs // of both kinds, and looked at first; nil: none

	// Fallback is shown for names that have no pair, in place of an alert.
	Fallback *tls.Certificate

	// Backend is HOST:PORT of who gets what is no challenge; "": it is refused.
	Backend   string
	SendProxy int // version of the PROXY header that Backend is sent first; 0: none

	// ProxyFrom are the peers that must speak the PROXY protocol, or may with
	// ProxyOptional. From others its headers are refused.
	ProxyFrom     Peers
	ProxyOptional bool

	// Tell is told what becomes of each connection. Trouble is nil where all is
	// well or the peer is at fault; the same trouble is told once a minute.
	Tell func(text string, trouble error)
}

const (
	helloTime     = 3 * time.Second  // for the PROXY header and the ClientHello
	handshakeTime = 10 * time.Second // for all of a handshake
	endTime       = time.Second      // for what is open at the end
	maxHello      = 16 << 10         // bytes, with a PROXY header
)

// Serve answers on the listeners until ctx is done; then it closes them, gives open
// connections a second, and returns nil. Any other end of a listener is returned as
// an error.
//
// By its first bytes a connection is told apart, so that each listener serves for
// all. A client that offers acme-tls/1, and nothing else, is answered with the pair for its
// server name, or the alert unrecognized_name; after the handshake the connection is
// closed. A request below /.well-known/acme-challenge/ is answered with the token, or
// 404. All else goes to Backend; without one the alert is no_application_protocol,
// and 404 where HTTP is served. Directories are opened for each answer, so that they
// may be made or replaced meanwhile.
func Serve(ctx context.Context, listeners []net.Listener, o Options) error {
	closeAll := func() {
		for _, l := range listeners {
			l.Close()
		}
	}
	defer closeAll()
	stop := context.AfterFunc(ctx, closeAll) // ends Accept
	defer stop()

	r := newResponder(o)
	last, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	ended := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() {
			ended <- guard.Run(func() error { return r.listen(ctx, last, l) })
		}()
	}
	var end error
	for i := range listeners {
		err := <-ended
		if i == 0 {
			end = err
			closeAll() // one that fails ends the others
		}
	}
	timer := time.AfterFunc(endTime, cut)
	defer timer.Stop()
	r.open.Wait()
	if ctx.Err() == nil {
		return end
	}
	select {
	case err := <-r.bug:
		return err
	default:
		return nil
	}
}

// One answers on one connection, as Serve does, and closes it. What is no fault of
// the peer's is returned as an error, and not told. When ctx is done it has a second
// more.
func One(ctx context.Context, c net.Conn, o Options) error {
	r := newResponder(o)
	last, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(endTime, cut) })
	defer stop()
	return guard.Run(func() error { return r.handle(last, c) })
}

// responder is one run of Serve or One.
type responder struct {
	Options
	crowd    *crowd // those who have not said what they want, or are being answered
	forwards *counter
	open     sync.WaitGroup
	bug      chan error // the first one; it does not end the others
	troubles troubles
}

func newResponder(o Options) *responder {
	answers, forwards := limits()
	return &responder{
		Options:  o,
		crowd:    &crowd{max: answers},
		forwards: &counter{max: forwards, held: map[source]int{}},
		bug:      make(chan error, 1),
	}
}

// listen accepts until ctx is done; connections have until last is.
func (r *responder) listen(ctx, last context.Context, l net.Listener) error {
	for {
		c, err := accept(ctx, l)
		if err != nil {
			return fmt.Errorf("answer on %s: %w", l.Addr(), err)
		}
		r.open.Go(func() {
			err := guard.Run(func() error { return r.handle(last, c) })
			r.trouble(err)
			if _, ok := errors.AsType[*guard.Panic](err); ok {
				select {
				case r.bug <- err:
				default:
				}
			}
		})
	}
}

// accept waits out what passes: too many open files, memory, a firewall's no
// (accept(2)).
func accept(ctx context.Context, l net.Listener) (net.Conn, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		c, err := l.Accept()
		var e interface{ Temporary() bool }
		passes := errors.As(err, &e) && e.Temporary() || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EPERM)
		if err == nil || ctx.Err() != nil || !passes {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}

// peer is a connection that is read ahead of, until it is known what it wants.
type peer struct {
	net.Conn
	ahead    *bufio.Reader
	begin    time.Time
	from, to net.Addr // as the PROXY header has them, if there is one
}

func newPeer(c net.Conn) *peer {
	return &peer{Conn: c, ahead: bufio.NewReaderSize(c, maxHello), begin: time.Now(), from: c.RemoteAddr(), to: c.LocalAddr()}
}

func (p *peer) Read(b []byte) (int, error) { return p.ahead.Read(b) }

// CloseWrite ends what we say, where that can be.
func (p *peer) CloseWrite() error { return closeWrite(p.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// begins tells whether what comes begins with these bytes. No more is waited for
// than is needed to know.
func (p *peer) begins(with string) bool {
	for i := range len(with) {
		got, err := p.ahead.Peek(i + 1)
		if err != nil || got[i] != with[i] {
			return false
		}
	}
	return true
}

// handle serves one connection to its end. What peers do wrong is no error.
func (r *responder) handle(ctx context.Context, c net.Conn) error {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	p := newPeer(c)
	if r.crowd.join(p) {
		r.trouble(&CrowdError{Held: r.crowd.max})
	}
	defer r.crowd.leave(p)

	c.SetDeadline(p.begin.Add(helloTime))
	if err := r.readProxy(p); err != nil {
		return err
	}
	first, err := p.ahead.Peek(1)
	if err != nil {
		return nil // gone, or silent for too long
	}
	const handshake = 22 // the type of a TLS record (RFC 8446 §5.1)
	switch isTLS := first[0] == handshake; {
	case isTLS && (r.ALPN != "" || r.Proofs != nil):
		return r.tls(ctx, p)
	case !isTLS && (r.HTTP != "" || r.Proofs != nil) && (r.Backend == "" || p.begins("GET "+prefix) || p.begins("HEAD "+prefix)):
		return r.http(p)
	case r.Backend != "":
		return r.forward(ctx, p)
	case isTLS:
		r.tell(p, "refused: TLS, and only http-01 is answered")
	default:
		r.tell(p, "refused: no TLS")
	}
	return nil
}

// tell says what became of a peer. Text of the peer's has to be quoted.
func (r *responder) tell(p *peer, format string, args ...any) {
	if r.Tell != nil {
		r.Tell(fmt.Sprintf("%s: %s", p.name(), fmt.Sprintf(format, args...)), nil)
	}
}

// name is who the peer is, for people.
func (p *peer) name() string {
	if p.from == nil {
		return "local"
	}
	if _, isUnix := p.from.(*net.UnixAddr); isUnix {
		return "local" // it has no name
	}
	return p.from.String()
}

// trouble says what is not the peer's fault.
func (r *responder) trouble(err error) {
	if err != nil && r.Tell != nil && r.troubles.isNew(err) {
		r.Tell(err.Error(), err)
	}
}

// troubles remembers what has been told, as strangers can call it forth.
type troubles struct {
	mu   sync.Mutex
	told map[string]time.Time
}

// isNew tells whether this kind of trouble has not been told for a minute.
func (t *troubles) isNew(err error) bool {
	kind := err.Error()
	var k interface{ Kind() string }
	if errors.As(err, &k) {
		kind = k.Kind()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, told := t.told[kind]; told && time.Since(at) < time.Minute {
		return false
	}
	if t.told == nil || len(t.told) >= 100 {
		t.told = map[string]time.Time{}
	}
	t.told[kind] = time.Now()
	return true
}

// DirError is a challenge that has no answer for reasons of this host's.
type DirError struct {
	Type string // of the challenge
	Name string // server name or token
	Dir  string
	Err  error
	More string // what else is known, for people
}

func (e *DirError) Error() string {
	why := e.Err.Error()
	var p *fs.PathError
	var d *alpn.DirError
	if !errors.As(e.Err, &d) && errors.As(e.Err, &p) {
		at := p.Path
		if !filepath.IsAbs(at) { // it is told as seen from the directory
			at = filepath.Join(e.Dir, at)
		}
		why = fmt.Sprintf("%q: %v", at, p.Err)
	}
	if e.More != "" {
		why += " (" + e.More + ")"
	}
	return fmt.Sprintf("%s: no answer for %.255q: %s", e.Type, e.Name, why)
}

func (e *DirError) Unwrap() error { return e.Err }

// Kind leaves out what strangers choose.
func (e *DirError) Kind() string { return e.Type }

// fault tells errors of this host's from those for which the peer, or whoever fills
// the directory, is to be blamed.
func fault(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENAMETOOLONG)
}

// CrowdError is said when somebody silent was cut off.
type CrowdError struct {
	Held int
}

func (e *CrowdError) Error() string {
	return fmt.Sprintf("%d connections at once are silent or unfinished, which is the limit; as more come, the oldest are cut off", e.Held)
}
