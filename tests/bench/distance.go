//go:build linux

package main

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// distance forwards TCP connections byte by byte and makes the way as long as it is
// told: half a round trip in each direction, a whole one for the connection itself.
// Loss, bandwidth and slow start are not part of it.
type distance struct {
	listener    net.Listener
	to          string
	roundTrip   atomic.Int64 // time.Duration
	connections atomic.Int64 // taken so far
	open        sync.Map     // net.Conn
}

// newDistance listens on a free port of 127.0.0.1.
func newDistance(to string) (*distance, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &distance{listener: listener, to: to}
	guarded(d.accept)
	return d, nil
}

func (d *distance) accept() error {
	for {
		near, err := d.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		d.connections.Add(1)
		guarded(func() error { d.forward(near); return nil })
	}
}

// forward ends with the last of both directions.
func (d *distance) forward(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp4", d.to)
	if err != nil {
		return
	}
	defer far.Close()
	d.open.Store(near, nil)
	defer d.open.Delete(near)
	roundTrip := time.Duration(d.roundTrip.Load())
	var work sync.WaitGroup
	work.Add(2)
	// Who connects knows only after a round trip that he may talk.
	guarded(func() error { defer work.Done(); carry(far, near, roundTrip/2, roundTrip); return nil })
	guarded(func() error { defer work.Done(); carry(near, far, roundTrip/2, 0); return nil })
	work.Wait()
}

// close stops listening and cuts what is still connected.
func (d *distance) close() {
	d.listener.Close()
	d.open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
}

// piece is what was read at once, and when it arrives. Without data: the end.
type piece struct {
	data []byte
	due  time.Time
}

// carry copies and delays; nothing is sent before a time of opening has passed.
func carry(to, from net.Conn, delay, opening time.Duration) {
	opened := time.Now().Add(opening)
	pieces := make(chan piece, 1024)
	guarded(func() error {
		defer close(pieces)
		buffer := make([]byte, 32<<10)
		for {
			n, err := from.Read(buffer)
			due := time.Now()
			if due.Before(opened) {
				due = opened
			}
			pieces <- piece{append([]byte(nil), buffer[:n]...), due.Add(delay)}
			if err != nil {
				return nil
			}
		}
	})
	broken := false
	for p := range pieces {
		if delay+opening > 0 {
			time.Sleep(time.Until(p.due))
		}
		if len(p.data) == 0 || broken {
			continue
		}
		if _, err := to.Write(p.data); err != nil {
			broken = true
			from.Close() // nobody reads on; ends the other goroutine
		}
	}
	_ = to.(*net.TCPConn).CloseWrite()
}
