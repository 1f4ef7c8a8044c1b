package dns

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"arid/internal/guard"

	mdns "github.com/miekg/dns"
)

const (
	// questionTime bounds one question over one transport; after a third of it
	// without an answer a datagram is sent once more.
	questionTime = 3 * time.Second

	// udpSize is what crosses nearly every path in one piece, and what we tell
	// servers that we take (the DNS flag day of 2020). Larger goes over TCP.
	udpSize = 1232

	// maxOdd bounds the datagrams that are no answer to one question.
	maxOdd = 64

	maxAsked = 32 // name servers of one zone, addresses of one name
	maxSide  = 64 // questions at a time, for one name
)

// Client asks name servers. The zero value asks the system's resolvers.
// Safe for concurrent use as long as nobody changes it.
type Client struct {
	Resolvers []string // HOST:PORT each, recursive, asked in turn; none: the system's
	Port      string   // of authoritative servers; "" = "53"
	Network   string   // "" both, "4" or "6": only addresses of that family

	patience time.Duration // 0 = questionTime; tests have less
}

// rcodeError is a refusal in the protocol's own words: "SERVFAIL", "REFUSED".
type rcodeError int

func (e rcodeError) Error() string {
	if name, ok := mdns.RcodeToString[int(e)]; ok {
		return name
	}
	return fmt.Sprintf("RCODE %d", int(e))
}

// newQuestion asks for one type of one name, which is fully qualified.
func newQuestion(name string, kind uint16, recurse bool) *mdns.Msg {
	q := new(mdns.Msg).SetQuestion(name, kind)
	q.RecursionDesired = recurse
	return q.SetEdns0(udpSize, false)
}

// ask is exchange for questions: a server too old for EDNS is asked without.
func (c *Client) ask(ctx context.Context, question *mdns.Msg, server string) (*mdns.Msg, error) {
	m, err := c.exchange(ctx, question, server)
	if err != nil || question.IsEdns0() == nil {
		return m, err
	}
	// RFC 6891 §7: FORMERR; some say NOTIMP.
	if m.Rcode == mdns.RcodeFormatError || m.Rcode == mdns.RcodeNotImplemented {
		plain := question.Copy()
		plain.Extra = nil
		return c.exchange(ctx, plain, server)
	}
	return m, nil
}

// exchange sends one message to server (HOST:PORT) and returns its answer,
// whatever RCODE that has. It goes by UDP, and by TCP when the answer is
// truncated or the message too long for one datagram; a lost datagram is sent
// once more. The error is short: "i/o timeout", "connection refused".
func (c *Client) exchange(ctx context.Context, question *mdns.Msg, server string) (*mdns.Msg, error) {
	x, err := newExchange(question, nil)
	if err != nil {
		return nil, err
	}
	x.patience = cmp.Or(c.patience, questionTime)
	if len(x.wire) <= udpSize {
		m, err := x.udp(ctx, server)
		if err != nil || !m.Truncated {
			return m, err
		}
	}
	return x.tcp(ctx, server)
}

// exchange is one message under way: the bytes are made once, so that every
// transport and try sends the same.
type exchange struct {
	question *mdns.Msg
	wire     []byte
	patience time.Duration

	key mdns.TsigProvider // or nil
	mac string            // of what we sent
}

// newExchange packs a message. If there is a key, the message ends in an
// unsigned TSIG record (SetTsig); the key signs it and checks the answer.
func newExchange(question *mdns.Msg, key mdns.TsigProvider) (x *exchange, err error) {
	x = &exchange{question: question, patience: questionTime, key: key}
	if key == nil {
		x.wire, err = question.Pack()
	} else {
		// A copy: signing takes the TSIG record out of the message.
		x.wire, x.mac, err = mdns.TsigGenerateWithProvider(question.Copy(), key, "", false)
	}
	return x, err
}

// dial opens a connection that ends with ctx. The caller calls done.
func (x *exchange) dial(ctx context.Context, network, server string) (conn net.Conn, done func(), err error) {
	d := net.Dialer{Timeout: x.patience}
	conn, err = d.DialContext(ctx, network, server)
	if err != nil {
		return nil, nil, reason(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { stop(); conn.Close() }, nil
}

// udp sends the message, and again after a while of silence; a late answer to
// the first counts. Whoever can send us datagrams must not end the question with
// nonsense: what does not fit is passed over.
func (x *exchange) udp(ctx context.Context, server string) (*mdns.Msg, error) {
	conn, done, err := x.dial(ctx, "udp", server)
	if err != nil {
		return nil, err
	}
	defer done()
	var odd error
	for _, wait := range []time.Duration{x.patience / 3, x.patience * 2 / 3} {
		if _, err := conn.Write(x.wire); err != nil {
			return nil, reason(ctx, err)
		}
		conn.SetReadDeadline(time.Now().Add(wait))
		if ctx.Err() != nil { // its deadline may have been overwritten just now
			return nil, ctx.Err()
		}
		m, err := x.readUDP(conn, &odd)
		if m != nil {
			return m, err
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
			return nil, reason(ctx, err)
		}
	}
	return nil, cmp.Or(odd, os.ErrDeadlineExceeded)
}

func (x *exchange) readUDP(conn net.Conn, odd *error) (*mdns.Msg, error) {
	buffer := make([]byte, 4096)
	for range maxOdd {
		n, err := conn.Read(buffer)
		if err != nil {
			return nil, err
		}
		m, err := x.read(buffer[:n])
		if m != nil {
			return m, err
		}
		*odd = err
	}
	return nil, fmt.Errorf("%d answers that are none, the last: %w", maxOdd, *odd)
}

// tcp asks once over a connection of its own (RFC 7766).
func (x *exchange) tcp(ctx context.Context, server string) (*mdns.Msg, error) {
	conn, done, err := x.dial(ctx, "tcp", server)
	if err != nil {
		return nil, fmt.Errorf("TCP: %w", err)
	}
	defer done()
	conn.SetDeadline(time.Now().Add(x.patience))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	raw, err := x.overStream(conn)
	if err != nil {
		return nil, fmt.Errorf("TCP: %w", reason(ctx, err))
	}
	m, err := x.read(raw)
	if m != nil && m.Truncated {
		return nil, errors.New("TCP: the answer is cut short")
	}
	return m, err
}

func (x *exchange) overStream(conn io.ReadWriter) ([]byte, error) {
	if len(x.wire) > mdns.MaxMsgSize {
		return nil, fmt.Errorf("a message of %d bytes is too long", len(x.wire))
	}
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(x.wire)))
	if _, err := conn.Write(append(framed, x.wire...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	raw := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(conn, raw)
	return raw, err
}

// read takes raw as the answer, else its message is nil. A message with an error
// is not signed as it should be.
func (x *exchange) read(raw []byte) (*mdns.Msg, error) {
	m, err := readAnswer(x.question, raw)
	switch {
	case err != nil:
		return nil, err
	case x.key == nil:
		return m, nil
	case m.IsTsig() != nil:
		return m, mdns.TsigVerifyWithProvider(slices.Clone(raw), x.key, x.mac, false)
	case m.Rcode == mdns.RcodeSuccess:
		return m, mdns.ErrNoSig // RFC 8945 §5.4
	}
	return m, nil
}

// readAnswer parses raw and checks that it answers question. Of an answer cut
// short only the header is sure.
func readAnswer(question *mdns.Msg, raw []byte) (*mdns.Msg, error) {
	m := new(mdns.Msg)
	err := m.Unpack(raw)
	switch {
	case err != nil && !(m.Truncated && m.Id == question.Id && m.Response):
		return nil, fmt.Errorf("no DNS message: %w", err)
	case m.Id != question.Id || !m.Response || m.Opcode != question.Opcode:
		return nil, errors.New("no answer to this question")
	case err != nil || m.Truncated:
		return m, nil
	case len(m.Question) == 0 && (m.Rcode != mdns.RcodeSuccess || m.Opcode == mdns.OpcodeUpdate):
		// A refusal may leave it out, so may any answer to an update (RFC 2136 §3.8).
		return m, nil
	case len(m.Question) != 1 || !sameQuestion(m.Question[0], question.Question[0]):
		return nil, errors.New("an answer to another question")
	}
	return m, nil
}

func sameQuestion(a, b mdns.Question) bool {
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && sameName(a.Name, b.Name)
}

// reason is the heart of a network error: the addresses are told elsewhere.
// Once ctx has ended that is the reason.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if sys, ok := errors.AsType[*os.SyscallError](err); ok {
		err = sys.Err
	}
	if t, ok := err.(net.Error); ok && t.Timeout() {
		return os.ErrDeadlineExceeded
	}
	return err
}

// Names are fully qualified and in lower case inside this room.

func sameName(a, b string) bool { return mdns.CanonicalName(a) == mdns.CanonicalName(b) }

// bare is a name as people write it, without the final dot.
func bare(name string) string { return strings.TrimSuffix(mdns.CanonicalName(name), ".") }

func parent(name string) string {
	next, end := mdns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[next:]
}

// checkName is what may be asked for: a DNS name in ASCII.
func checkName(name string) (string, error) {
	if strings.Trim(name, ".") == "" {
		return "", errors.New("a DNS name is empty")
	}
	if _, ok := mdns.IsDomainName(name); !ok {
		return "", fmt.Errorf("%.300q is no DNS name", name)
	}
	for _, b := range []byte(name) {
		if b <= ' ' || b > '~' {
			return "", fmt.Errorf("%.300q is no DNS name in ASCII", name)
		}
	}
	return mdns.CanonicalName(name), nil
}

// wanted tells whether the address is of a family that we ask.
func (c *Client) wanted(a netip.Addr) bool {
	switch c.Network {
	case "4":
		return a.Is4()
	case "6":
		return a.Is6()
	}
	return true
}

// sideBySide calls do for 0 to n-1, at most limit at a time, and returns their
// errors in that order, a panic among them.
func sideBySide(limit, n int, do func(i int) error) []error {
	errs := make([]error, n)
	slots := make(chan struct{}, limit)
	var all sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = guard.Run(func() error { return do(i) })
		})
	}
	all.Wait()
	return errs
}
