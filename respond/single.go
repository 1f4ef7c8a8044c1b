package respond

import (
	"net"
	"sync"
)

// single is a listener for the one connection that there is: net/http wants one.
type single struct {
	conn *closing
	once bool
}

// Accept returns the connection, and then waits until it is closed.
func (s *single) Accept() (net.Conn, error) {
	if !s.once {
		s.once = true
		return s.conn, nil
	}
	<-s.conn.done
	return nil, net.ErrClosed
}

func (s *single) Close() error   { return nil }
func (s *single) Addr() net.Addr { return s.conn.LocalAddr() }

// closing tells when it is closed.
type closing struct {
	*peer
	closed sync.Once
	done   chan struct{}
}

func (c *closing) Close() error {
	c.closed.Do(func() { close(c.done) })
	return c.peer.Close()
}
