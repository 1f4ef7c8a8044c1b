package respond

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

// AddrError is an ADDR that nobody can listen on.
type AddrError struct {
	Addr string
}

func (e *AddrError) Error() string {
	return fmt.Sprintf("%q is not ADDRESS:PORT, [ADDRESS]:PORT or :PORT", e.Addr)
}

// ListenError is an ADDR that cannot be listened on just now, or by this user.
type ListenError struct {
	Addr string
	Err  error
}

func (e *ListenError) Error() string { return fmt.Sprintf("cannot listen on %s: %v", e.Addr, e.Err) }
func (e *ListenError) Unwrap() error { return e.Err }

// CheckAddr tells whether addr is ADDRESS:PORT. IPv6 addresses stand in brackets and
// may have a zone; [::] is all of IPv6 alone, and without an address it is all of
// both. The error is an *AddrError.
func CheckAddr(addr string) error {
	_, err := networkOf(addr)
	return err
}

func networkOf(addr string) (string, error) {
	host, network := addr, "tcp"
	if strings.HasPrefix(addr, ":") {
		host = "[::]" + addr
	}
	at, err := netip.ParseAddrPort(host)
	switch {
	case err != nil:
		return "", &AddrError{addr}
	case host != addr:
	case at.Addr().Is6():
		network = "tcp6"
	default:
		network = "tcp4"
	}
	return network, nil
}

// Listen listens on ADDRESS:PORT, as CheckAddr has it. The error is an *AddrError or a
// *ListenError.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	network, err := networkOf(addr)
	if err != nil {
		return nil, err
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, network, addr)
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // the rest says the address again
	}
	if err != nil {
		return nil, &ListenError{addr, err}
	}
	return l, nil
}

// ErrNoSocket is descriptor 0 that is none.
var ErrNoSocket = errors.New("descriptor 0 is no socket")

// Activated is what systemd passes, from descriptor 3 on (sd_listen_fds(3)):
// listening sockets, or the one connection of Accept=yes. It is empty where nothing is
// passed to this process.
func Activated() (listeners []net.Listener, connection net.Conn, err error) {
	for _, f := range activation.Files(true) {
		l, c, err := inherit(f)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("descriptor %q of systemd's: %w", f.Name(), err)
		case l != nil:
			listeners = append(listeners, l)
		case connection != nil:
			return nil, nil, errors.New("systemd passes more than one connection")
		default:
			connection = c
		}
		f.Close()
	}
	if connection != nil && listeners != nil {
		return nil, nil, errors.New("systemd passes both listening sockets and a connection")
	}
	return listeners, connection, nil
}

// Standard is what stands on descriptor 0 under a superserver: a connection, or the
// listening socket itself, as inetd's "wait" and s6-ipcserver-socketbinder hand it
// on. The error is ErrNoSocket where there is no socket.
func Standard(stdin any) (net.Listener, net.Conn, error) {
	f, ok := stdin.(*os.File)
	if !ok {
		return nil, nil, ErrNoSocket
	}
	return inherit(f)
}

// inherit makes one of both of a socket. f stays open.
func inherit(f *os.File) (net.Listener, net.Conn, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, nil, ErrNoSocket
	}
	var listens int
	var optErr error
	err = raw.Control(func(fd uintptr) {
		listens, optErr = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	})
	if err != nil || optErr != nil {
		return nil, nil, ErrNoSocket
	}
	if listens != 0 {
		l, err := net.FileListener(f)
		return l, nil, err
	}
	c, err := net.FileConn(f)
	return nil, c, err
}
