// relay hands what comes to one address on to another, TCP and UDP:
//
//	relay 127.9.8.7:53 127.0.0.1:12345
//
// BIND listens on the addresses of interfaces alone, and only 127.0.0.1 is one;
// so this is how a name server gets an address of its own, with port 53. Without
// a second address it takes everything and never answers, as behind a firewall
// that drops.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"arid/internal/guard"
)

// patience is how long one question, or one connection, may take.
const patience = 30 * time.Second

func main() {
	if len(os.Args) < 2 || len(os.Args) > 3 {
		fmt.Fprintln(os.Stderr, "usage: relay LISTEN [TARGET]")
		os.Exit(64)
	}
	listen, target := os.Args[1], ""
	if len(os.Args) == 3 {
		target = os.Args[2]
	}
	packets, err := net.ListenPacket("udp", listen)
	if err != nil {
		end(err)
	}
	connections, err := net.Listen("tcp", listen)
	if err != nil {
		end(err)
	}
	start(func() error { return questions(packets, target) })
	end(accept(connections, target))
}

func end(err error) {
	fmt.Fprintln(os.Stderr, "relay:", err)
	os.Exit(1)
}

// start runs do beside us; what goes wrong there is told.
func start(do func() error) {
	go func() {
		if err := guard.Run(do); err != nil {
			fmt.Fprintln(os.Stderr, "relay:", err)
		}
	}()
}

func accept(l net.Listener, target string) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		start(func() error { return connection(c, target) })
	}
}

func connection(c net.Conn, target string) error {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if target == "" {
		_, _ = io.Copy(io.Discard, c)
		return nil
	}
	far, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer far.Close()
	_ = far.SetDeadline(time.Now().Add(patience))
	start(func() error {
		_, _ = io.Copy(far, c)
		return far.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(c, far)
	return nil
}

// questions hands on each datagram, and the one that comes back for it.
func questions(p net.PacketConn, target string) error {
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := p.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if target == "" {
			continue
		}
		question := append([]byte(nil), buffer[:n]...)
		start(func() error {
			answer, err := ask(target, question)
			if err != nil {
				return err
			}
			_, err = p.WriteTo(answer, from)
			return err
		})
	}
}

func ask(target string, question []byte) ([]byte, error) {
	far, err := net.Dial("udp", target)
	if err != nil {
		return nil, err
	}
	defer far.Close()
	_ = far.SetDeadline(time.Now().Add(patience))
	if _, err := far.Write(question); err != nil {
		return nil, err
	}
	answer := make([]byte, 1<<16)
	n, err := far.Read(answer)
	return answer[:n], err
}
