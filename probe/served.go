package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"arid/internal/guard"
)

// How TLS begins where it does not at once.
const (
	StartSMTP = "smtp" // RFC 3207
	StartIMAP = "imap" // RFC 9051 §6.2.1
)

const (
	// greetTime bounds a connection on which words come before TLS: mail servers let
	// strangers wait some seconds for the first of them.
	greetTime = 10 * time.Second

	maxLine  = 4 << 10 // of what is said before TLS
	maxLines = 100
)

// Target is where a server shows its certificate.
type Target struct {
	Host     string // a name or an address
	Port     int
	StartTLS string // "" where TLS begins at once
}

// ParseTarget reads HOST:PORT, or HOST:PORT/smtp, HOST:PORT/imap; an IPv6 address
// stands in brackets.
func ParseTarget(text string) (Target, error) {
	at, start, given := strings.Cut(text, "/")
	if given && start != StartSMTP && start != StartIMAP {
		return Target{}, fmt.Errorf("%q: what follows the port is /smtp or /imap", text)
	}
	host, port, err := net.SplitHostPort(at)
	if err != nil || host == "" {
		return Target{}, fmt.Errorf("%q is no HOST:PORT", text)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Target{}, fmt.Errorf("%q: %q is no number of a port", text, port)
	}
	return Target{host, int(n), start}, nil
}

func (t Target) String() string {
	text := net.JoinHostPort(t.Host, strconv.Itoa(t.Port))
	if t.StartTLS != "" {
		text += "/" + t.StartTLS
	}
	return text
}

// Served is what one address shows.
type Served struct {
	At    netip.Addr
	Chain []*x509.Certificate // leaf first; empty: none was shown

	// Without a chain:
	Text  string // why: it follows the address, and brings its own ": " or " "
	Spoke bool   // somebody answered, though not with a certificate
	Start string // what to begin TLS with, where what was heard tells; else ""
}

// Where is the address as it is shown, in brackets if it is an IPv6 address.
func (s *Served) Where() string { return bracket(s.At) }

// Query is what is asked of a target.
type Query struct {
	Target
	Name    string // that the server is told (SNI); "" or an address: none
	Network string // "" both, "4" or "6": only addresses of that family

	dial func(ctx context.Context, network, address string) (net.Conn, error) // as Prober's

	// Key restricts what kind of key the certificate may have, for servers that have
	// several for one name. Then TLS 1.3 is not spoken, which cannot tell.
	Key x509.PublicKeyAlgorithm
}

// Ask looks at every address of the target, side by side, and returns what each
// shows. Nothing is verified but that the server has the key of its certificate.
// The error says why there is no address.
func Ask(ctx context.Context, q Query) ([]Served, error) {
	all, err := systemAddresses(ctx, q)
	if err != nil {
		return nil, err
	}
	served := make([]Served, len(all))
	var wait sync.WaitGroup
	for i, at := range all {
		wait.Go(func() {
			err := guard.Run(func() error {
				served[i] = q.ask(ctx, at)
				return nil
			})
			if err != nil {
				served[i] = Served{Text: ": " + words(err)}
			}
			served[i].At = at
		})
	}
	wait.Wait()
	return served, nil
}

// systemAddresses asks as all programs of this host do, /etc/hosts included: the
// server is the user's own.
func systemAddresses(ctx context.Context, q Query) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(q.Host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	within, cancel := context.WithTimeout(ctx, chainTime)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(within, "ip"+q.Network, q.Host)
	var missing *net.DNSError
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, &missing) && missing.IsNotFound, err == nil && len(found) == 0:
		return nil, fmt.Errorf("%q has no address", q.Host)
	case err != nil:
		return nil, fmt.Errorf("the addresses of %q: %s", q.Host, words(err))
	}
	seen := map[netip.Addr]bool{}
	var all []netip.Addr
	for _, a := range found {
		if a = a.Unmap(); !seen[a] {
			seen[a] = true
			all = append(all, a)
		}
	}
	return choose(all, maxLooks), nil
}

// ask looks at one address.
func (q Query) ask(ctx context.Context, at netip.Addr) Served {
	limit := lookTime
	if q.StartTLS != "" {
		limit = greetTime
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, patience(limit))
	defer cancel()
	bound, err := (&Prober{dial: q.dial}).connect(ctx, at, q.Port)
	if err != nil {
		l := unconnected(ctx, err, TLSRefused, TLSTimeout, TLSUnreachable)
		return Served{Text: l.text}
	}
	defer bound.Close()
	if q.StartTLS != "" {
		if err := startTLS(bound, q.StartTLS); err != nil {
			return Served{Text: unstarted(ctx, err), Spoke: len(bound.head) > 0}
		}
	}
	return q.handshake(ctx, bound)
}

// patience is the cause that netFault knows, where the time is the one it knows.
func patience(limit time.Duration) error {
	if limit == lookTime {
		return errPatience
	}
	return context.DeadlineExceeded
}

// handshake asks for the certificate on a connection on which TLS begins now.
func (q Query) handshake(ctx context.Context, bound *boundConn) Served {
	bound.head = nil
	var shown []*x509.Certificate
	asked := false
	conn := tls.Client(bound, q.config(&shown, &asked))
	err := conn.HandshakeContext(ctx)
	// One that wants a certificate of ours has shown, and proved, its own before it says so.
	if err != nil && (!asked || len(shown) == 0) {
		l := unshaken(ctx, err, bound.head)
		return Served{Text: l.text, Spoke: len(bound.head) > 0, Start: speaks(bound.head)}
	}
	if err == nil {
		takeLeave(conn, q.StartTLS)
	}
	return Served{Chain: shown}
}

// config takes whatever a server may show: it is looked at, not trusted.
func (q Query) config(shown *[]*x509.Certificate, asked *bool) *tls.Config {
	c := &tls.Config{
		ServerName:         q.Name, // an address is not told
		InsecureSkipVerify: true,
		MinVersion:         tls.VersionTLS10,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			for _, der := range raw {
				parsed, err := x509.ParseCertificate(der)
				if err != nil {
					return err
				}
				*shown = append(*shown, parsed)
			}
			return nil
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			*asked = true
			return new(tls.Certificate), nil
		},
	}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if ecdsa := strings.Contains(s.Name, "_ECDSA_"); q.Key == 0 || ecdsa == (q.Key != x509.RSA) {
			c.CipherSuites = append(c.CipherSuites, s.ID)
		}
	}
	if q.Key != 0 {
		c.MaxVersion = tls.VersionTLS12
	}
	return c
}

// takeLeave ends a conversation as the protocol has it, so that the server's log
// has no lost connection.
func takeLeave(conn *tls.Conn, protocol string) {
	switch protocol {
	case StartSMTP:
		_, _ = io.WriteString(conn, "QUIT\r\n")
	case StartIMAP:
		_, _ = io.WriteString(conn, "a2 LOGOUT\r\n")
	}
	_ = conn.Close()
}

// speaks is the protocol whose greeting this is, "" where it is none known.
func speaks(head []byte) string {
	switch text := string(head); {
	case strings.HasPrefix(text, "220 "), strings.HasPrefix(text, "220-"):
		return StartSMTP
	case strings.HasPrefix(text, "* OK"):
		return StartIMAP
	}
	return ""
}

// wordsError is an answer before TLS that is not the one to be expected.
type wordsError struct{ what string }

func (e *wordsError) Error() string { return e.what }

// unstarted says why TLS could not begin.
func unstarted(ctx context.Context, err error) string {
	var answer *wordsError
	switch fault, text := netFault(ctx, err); {
	case errors.As(err, &answer):
		return " " + answer.what
	case fault == faultTimeout:
		return " takes the connection, but does not come to TLS " + text
	case fault == faultEnded:
		return " did not come to TLS " + text
	case fault == faultClosed:
		return " " + text + " before TLS"
	default:
		return ": " + text
	}
}

// startTLS says what a protocol wants to hear before TLS.
func startTLS(conn net.Conn, protocol string) error {
	s := &starter{conn: conn, r: bufio.NewReaderSize(conn, maxLine)}
	var err error
	if protocol == StartSMTP {
		err = s.smtp()
	} else {
		err = s.imap()
	}
	if err == nil && s.r.Buffered() > 0 {
		return &wordsError{"says more after its answer to STARTTLS"}
	}
	return err
}

// starter speaks in lines.
type starter struct {
	conn  net.Conn
	r     *bufio.Reader
	lines int
}

// line reads one, without its end.
func (s *starter) line() (string, error) {
	if s.lines++; s.lines > maxLines {
		return "", &wordsError{fmt.Sprintf("says more than %d lines before TLS", maxLines)}
	}
	text, err := s.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", &wordsError{fmt.Sprintf("says a line of more than %d bytes", maxLine)}
	}
	return strings.TrimRight(string(text), "\r\n"), err
}

func (s *starter) say(text string) error {
	_, err := io.WriteString(s.conn, text+"\r\n")
	return err
}

func (s *starter) smtp() error {
	if _, err := s.reply("220", "greets with"); err != nil {
		return err
	}
	if err := s.say("EHLO " + literal(s.conn.LocalAddr())); err != nil {
		return err
	}
	offers, err := s.reply("250", "answers EHLO with")
	if err != nil {
		return err
	}
	offered := false
	for _, offer := range offers {
		offered = offered || strings.EqualFold(offer, "STARTTLS")
	}
	if !offered {
		return &wordsError{"offers no STARTTLS"}
	}
	if err := s.say("STARTTLS"); err != nil {
		return err
	}
	_, err = s.reply("220", "answers STARTTLS with")
	return err
}

// reply reads the lines of one (RFC 5321 §4.2), which must have this code, and
// returns their texts.
func (s *starter) reply(code, what string) (texts []string, err error) {
	for {
		line, err := s.line()
		if err != nil {
			return nil, err
		}
		rest, expected := strings.CutPrefix(line, code)
		if !expected || rest != "" && rest[0] != ' ' && rest[0] != '-' {
			return nil, &wordsError{what + " " + quote(line, 60)}
		}
		if texts = append(texts, strings.TrimLeft(rest, " -")); rest == "" || rest[0] == ' ' {
			return texts, nil
		}
	}
}

// literal is our address as EHLO takes it (RFC 5321 §4.1.3): every server accepts
// one, and no name of ours need be right for it.
func literal(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return "[127.0.0.1]"
	}
	at := tcp.AddrPort().Addr().Unmap().WithZone("")
	if at.Is6() {
		return "[IPv6:" + at.String() + "]"
	}
	return "[" + at.String() + "]"
}

func (s *starter) imap() error {
	greeting, err := s.line()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(greeting, "* OK") {
		return &wordsError{"greets with " + quote(greeting, 60)}
	}
	if err := s.say("a1 STARTTLS"); err != nil {
		return err
	}
	for {
		line, err := s.line()
		if err != nil {
			return err
		}
		answer, tagged := strings.CutPrefix(line, "a1 ")
		word, _, _ := strings.Cut(answer, " ")
		switch {
		case tagged && strings.EqualFold(word, "OK"):
			return nil
		case tagged:
			return &wordsError{"answers STARTTLS with " + quote(answer, 60)}
		}
	}
}
