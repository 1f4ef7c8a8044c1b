package respond

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"arid/internal/guard"
)

const (
	dialTime = 5 * time.Second
	idleTime = 10 * time.Minute // of a forwarded connection in which nothing is said
)

// BackendError is a backend that could not be reached.
type BackendError struct {
	Backend string
	Err     error
}

func (e *BackendError) Error() string {
	var op *net.OpError
	err := e.Err
	if errors.As(err, &op) {
		err = op.Err // the rest says the address again
	}
	return fmt.Sprintf("backend %s: %v", e.Backend, err)
}

func (e *BackendError) Unwrap() error { return e.Err }

// ForwardsError is said when one more connection cannot be forwarded.
type ForwardsError struct {
	Peer string
	Max  int
}

func (e *ForwardsError) Error() string {
	return fmt.Sprintf("%s is not forwarded: %d connections at once, and half of that from one address, is the limit", e.Peer, e.Max)
}

// Kind leaves the peer out.
func (e *ForwardsError) Kind() string { return "forwards" }

var errItself = errors.New("is where arid itself listens")

// isAt tells whether two are the same address and port.
func isAt(a, b net.Addr) bool {
	one, ok := a.(*net.TCPAddr)
	two, okToo := b.(*net.TCPAddr)
	return ok && okToo && one.Port == two.Port && addrOf(one) == addrOf(two)
}

// forward hands a connection on, with all that was read ahead, until both sides have
// ended or nothing was said for idleTime.
func (r *responder) forward(ctx context.Context, p *peer) error {
	from := sourceOf(p.from)
	if !r.forwards.enter(from) {
		return &ForwardsError{p.name(), r.forwards.max}
	}
	defer r.forwards.leave(from)
	r.crowd.leave(p)

	header, err := r.proxyHeader(p)
	if err != nil {
		return &BackendError{r.Backend, err}
	}
	d := net.Dialer{Timeout: dialTime}
	backend, err := d.DialContext(ctx, "tcp", r.Backend)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return &BackendError{r.Backend, err}
	}
	defer backend.Close()
	if isAt(backend.RemoteAddr(), p.Conn.LocalAddr()) { // else each would call forth the next
		return &BackendError{r.Backend, errItself}
	}
	stop := context.AfterFunc(ctx, func() { backend.Close() })
	defer stop()
	r.tell(p, "forwarded to %s", r.Backend)

	touch := func() {
		end := time.Now().Add(idleTime)
		p.SetDeadline(end)
		backend.SetDeadline(end)
	}
	touch()
	if _, err := backend.Write(header); err != nil {
		return nil
	}
	back := make(chan error, 1)
	go func() {
		back <- guard.Run(func() error { pass(p, backend, touch); return nil })
	}()
	pass(backend, p, touch)
	return <-back
}

// pass hands on what one side says, and that it has ended. Where that fails both
// are closed.
func pass(to, from net.Conn, touch func()) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			touch()
			if _, err := to.Write(buf[:n]); err != nil {
				break
			}
		}
		if err == io.EOF && closeWrite(to) == nil {
			return
		}
		if err != nil {
			break
		}
	}
	to.Close()
	from.Close()
}
