package probe

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxHeader and maxBody bound what is read of one answer.
	maxHeader = 64 << 10
	maxBody   = 4 << 10
	// maxRedirects and maxPadded, the bytes of an answer with white space after
	// it, are Let's Encrypt's (Boulder 2026).
	maxRedirects = 10
	maxPadded    = 128
)

// HTTP01 looks at the URL of an http-01 challenge at every address of name, and
// follows redirects as CAs do (RFC 8555 §8.3, CA/Browser Forum Baseline
// Requirements §3.2.2.4.19). keyAuth is what should be shown.
func (p *Prober) HTTP01(ctx context.Context, name, token, keyAuth string) Seen {
	u := &url.URL{Scheme: "http", Host: hostPort(name, p.httpPort(), 80), Path: "/.well-known/acme-challenge/" + token}
	return p.lookAll(ctx, u.String(), name, p.httpPort(), func(ctx context.Context, at netip.Addr) look {
		return p.follow(ctx, at, u, keyAuth)
	})
}

// hostPort is the authority of a URL, without the port where it is the usual one.
func hostPort(name string, port, usual int) string {
	if a, err := netip.ParseAddr(name); err == nil {
		name = bracket(a)
	}
	if port == usual {
		return name
	}
	return name + ":" + strconv.Itoa(port)
}

// follow gets u at one address, and what it is redirected to.
func (p *Prober) follow(ctx context.Context, at netip.Addr, u *url.URL, keyAuth string) look {
	way := "" // the redirects so far
	seen := map[string]bool{u.String(): true}
	for hop := 1; ; hop++ {
		a, failed := p.fetch(ctx, at, u)
		if failed != nil {
			if hop > 1 && failed.cause != "" {
				failed.cause = HTTPRedirect // the first host did answer
			}
			return failed.after(way)
		}
		location := a.header.Get("Location")
		if location == "" || !slices.Contains([]int{301, 302, 303, 307, 308}, a.status) {
			return judge(a, keyAuth).after(way)
		}
		way = " redirects to "
		if hop > 1 {
			way = fmt.Sprintf(" redirects %d times, last to ", hop)
		}
		way += quote(location, 100)
		target, why := p.target(u, location)
		switch {
		case a.status == http.StatusSeeOther: // the Baseline Requirements allow the four others
			why = "by 303 See Other, which CAs do not follow"
		case why != "":
		case hop > maxRedirects:
			why = "and CAs follow 10 at most"
		case seen[target.String()]:
			why = "which is a circle"
		}
		if why == "" {
			at, why = p.hop(ctx, at, u, target)
		}
		if why != "" {
			return look{text: way + ", " + why, cause: HTTPRedirect}
		}
		seen[target.String()] = true
		u = target
		way += fmt.Sprintf(" at %s port %d", shown(at), port(u))
	}
}

// after is the look with the way that led to it before its text.
func (l look) after(way string) look {
	if way != "" && l.text[0] == ' ' {
		way += ", which"
	}
	l.text = way + l.text
	return l
}

// target reads the Location that u answered with; why not says what is wrong
// with it. Credentials in it are left out.
func (p *Prober) target(u *url.URL, location string) (target *url.URL, why string) {
	if len(location) > 2000 { // as Let's Encrypt has it
		return nil, "which is too long"
	}
	target, err := u.Parse(location)
	if err != nil {
		return nil, "which is no URL"
	}
	target.User, target.Fragment, target.RawFragment = nil, "", ""
	target.Host = strings.ToLower(target.Host)
	if target.Scheme != "http" && target.Scheme != "https" {
		return nil, "and CAs follow only http and https"
	}
	if !isHost(target.Hostname()) {
		return nil, "which names no host"
	}
	if strings.HasSuffix(target.Hostname(), ".well-known") { // Apache's "Redirect / https://example.org"
		return nil, `which lacks the "/" after the host`
	}
	if !slices.Contains([]int{80, 443, p.httpPort(), p.tlsPort()}, port(target)) {
		return nil, "and CAs follow only to the ports 80 and 443"
	}
	return target, ""
}

// port is where u is asked, 0 where that is no number.
func port(u *url.URL) int {
	if text := u.Port(); text != "" {
		n, _ := strconv.ParseUint(text, 10, 16)
		return int(n)
	}
	if u.Scheme == "https" {
		return 443
	}
	return 80
}

// isHost tells whether name is an address, or could be a DNS name that has one.
func isHost(name string) bool {
	if a, err := netip.ParseAddr(name); err == nil {
		return a.Zone() == ""
	}
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_."
	return len(name) <= 253 && strings.Trim(name, letters) == "" && strings.Trim(name, ".") != ""
}

// hop chooses the address for a redirect: the same one where the host stays the
// same, else IPv6 before IPv4, as CAs have it.
func (p *Prober) hop(ctx context.Context, at netip.Addr, from, to *url.URL) (next netip.Addr, why string) {
	if to.Hostname() == from.Hostname() {
		return at, ""
	}
	found, err := p.addresses(ctx, to.Hostname())
	if err != nil {
		return at, "whose host does not resolve: " + words(err)
	}
	// A stranger's word must not send us into places that a CA could not ask
	// either: our own host, our own network, a cloud's metadata.
	for _, a := range choose(found, 2) {
		if reach(a) < reach(at) {
			return at, fmt.Sprintf("which is %s from here: no CA gets there", bracket(a))
		}
	}
	return p.answering(ctx, choose(found, 2), port(to)), ""
}

// answering is the first address that takes a connection, or the last.
func (p *Prober) answering(ctx context.Context, addresses []netip.Addr, port int) netip.Addr {
	last := len(addresses) - 1
	for _, a := range addresses[:last] {
		ctx, cancel := context.WithTimeout(ctx, lookTime)
		conn, err := p.connect(ctx, a, port)
		cancel()
		if err == nil {
			conn.Close()
			return a
		}
	}
	return addresses[last]
}

// answer is what a web server says.
type answer struct {
	status int
	header http.Header
	body   string // at most maxBody of it
	broken bool   // it ended before it was whole
}

// fetch asks for u at one address; failed is what is to be said where there is
// no answer.
func (p *Prober) fetch(ctx context.Context, at netip.Addr, u *url.URL) (a *answer, failed *look) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTime, errPatience)
	defer cancel()
	bound, err := p.connect(ctx, at, port(u))
	if err != nil {
		l := unconnected(ctx, err, HTTPRefused, HTTPTimeout, HTTPUnreachable)
		return nil, &l
	}
	defer bound.Close()
	conn := net.Conn(bound)
	if u.Scheme == "https" {
		// Whatever certificate: the name's first one is being asked for.
		conn = tls.Client(bound, &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: true})
	}
	request := &http.Request{
		Method: http.MethodGet, URL: u, Close: true,
		// Firewalls refuse requests without Accept.
		Header: http.Header{"Accept": {"*/*"}, "User-Agent": {"arid"}},
	}
	// A server may answer without having read the request; so only reading
	// tells.
	_ = request.Write(conn)
	var heard bytes.Buffer
	a, err = readAnswer(io.TeeReader(io.LimitReader(conn, maxHeader), &heard))
	if err != nil || a.broken && ctx.Err() != nil {
		l := unanswered(ctx, err, heard.Bytes())
		return nil, &l
	}
	return a, nil
}

// readAnswer reads one answer to a GET, and a bounded part of its body.
func readAnswer(r io.Reader) (*answer, error) {
	buffered := bufio.NewReader(r)
	get := &http.Request{Method: http.MethodGet}
	response, err := http.ReadResponse(buffered, get)
	for err == nil && response.StatusCode < 200 { // 103 Early Hints
		response, err = http.ReadResponse(buffered, get)
	}
	if err != nil {
		return nil, err
	}
	// Not closed: that would read on to its end. The connection is closed.
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	return &answer{response.StatusCode, response.Header, string(body), err != nil}, nil
}

// unconnected says why there is no connection.
func unconnected(ctx context.Context, err error, refused, timeout, unreachable Cause) look {
	switch fault, text := netFault(ctx, err); fault {
	case faultRefused:
		return look{text: ": " + text, cause: refused}
	case faultTimeout:
		return look{text: ": no connection " + text, cause: timeout}
	case faultEnded:
		return look{text: ": no connection " + text}
	default:
		return look{text: ": " + text, cause: unreachable}
	}
}

// unanswered says why there is no HTTP answer on a connection; heard is what
// came on it.
func unanswered(ctx context.Context, err error, heard []byte) look {
	fault, text := netFault(ctx, err)
	begins := quote(string(heard[:min(len(heard), 256)]), 60)
	switch {
	case fault == faultTimeout && len(heard) == 0:
		return look{text: " takes the connection, but gives no answer " + text, cause: HTTPTimeout}
	case fault == faultTimeout:
		return look{text: fmt.Sprintf(" begins to answer, %s, but does not end %s", begins, text), cause: HTTPTimeout}
	case fault == faultEnded:
		return look{text: " gave no answer " + text}
	case len(heard) >= maxHeader:
		return look{text: " answers with more than 64 KiB of header", cause: HTTPNoHTTP}
	case bytes.HasPrefix(heard, []byte("HTTP/")):
		return look{text: fmt.Sprintf(" answers %s, which is broken HTTP", begins), cause: HTTPNoHTTP}
	case isTLS(heard):
		return look{text: " speaks TLS, not HTTP", cause: HTTPNoHTTP}
	case len(heard) > 0:
		return look{text: fmt.Sprintf(" answers %s, which is no HTTP", begins), cause: HTTPNoHTTP}
	case fault == faultClosed:
		return look{text: " " + text + " without an answer", cause: HTTPNoHTTP}
	}
	return look{text: " gives no answer: " + text, cause: HTTPNoHTTP}
}

// isTLS tells whether data begins as a TLS alert or handshake record does
// (RFC 8446 §5.1).
func isTLS(data []byte) bool {
	return len(data) > 2 && (data[0] == 0x15 || data[0] == 0x16) && data[1] == 3
}

// judge tells what an answer has to do with the key authorization.
func judge(a *answer, keyAuth string) look {
	if a.status != http.StatusOK {
		return judgeStatus(a)
	}
	l := judgeBody(a, keyAuth)
	if a.broken {
		l.text += fmt.Sprintf("; the answer breaks off after %d bytes", len(a.body))
		if l.cause == SeenRight {
			l.cause = HTTPChanged
		}
	}
	return l
}

func judgeStatus(a *answer) look {
	l := look{text: fmt.Sprintf(" answers %d", a.status), cause: HTTPStatus}
	phrase := http.StatusText(a.status)
	if phrase != "" {
		l.text += " " + phrase
	}
	switch a.status {
	case http.StatusNotFound, http.StatusGone:
		l.cause = HTTPMissing
	case http.StatusUnauthorized, http.StatusForbidden:
		l.cause = HTTPForbidden
	}
	var more []string
	if name := server(a); name != "" {
		more = append(more, "from "+name)
	}
	// A title tells more where it is not just the status again.
	if t := title(a.body); t != "" && (phrase == "" || !strings.Contains(t, phrase)) {
		more = append(more, "titled "+quote(t, 60))
	}
	if len(more) > 0 {
		l.text += " (" + strings.Join(more, ", ") + ")"
	}
	return l
}

func judgeBody(a *answer, keyAuth string) look {
	text := strings.TrimRight(a.body, " \t\r\n") // RFC 8555 §8.3
	token, _, _ := strings.Cut(keyAuth, ".")
	from := ""
	if name := server(a); name != "" {
		from = " (from " + name + ")"
	}
	if text == keyAuth && len(a.body) > maxPadded {
		return look{text: fmt.Sprintf(" shows the right answer with %d bytes of white space after it%s", len(a.body)-len(text), from), cause: HTTPChanged}
	}
	if text == keyAuth {
		return look{text: " shows the right answer", cause: SeenRight}
	}
	if before, after, found := strings.Cut(text, keyAuth); found {
		var added []string
		if before != "" {
			added = append(added, quote(before, 60)+" before it")
		}
		if after != "" {
			added = append(added, quote(after, 60)+" after it")
		}
		return look{text: " shows the key authorization with " + list(added, 2) + from, cause: HTTPChanged}
	}
	if len(text) >= len(token) && strings.HasPrefix(keyAuth, text) {
		return look{text: fmt.Sprintf(" shows only the first %d of the key authorization's %d characters%s", len(text), len(keyAuth), from), cause: HTTPChanged}
	}
	if thumbprint, found := strings.CutPrefix(text, token+"."); found && isThumbprint(thumbprint) {
		return look{text: fmt.Sprintf(" shows the right token, but the thumbprint %q of another account%s", thumbprint, from), cause: HTTPOtherAccount}
	}
	if before, after, found := strings.Cut(text, token+"."); found && len(before) <= 8 && !isHTML(text) {
		odd := quote(after, 60) + " for the thumbprint"
		if before != "" {
			odd = quote(before, 60) + " before it, and " + odd
		}
		return look{text: " shows the right token, but " + odd + from, cause: HTTPChanged}
	}
	return look{text: " shows " + describe(a, text) + ", and not the key authorization" + from, cause: HTTPOtherText}
}

// isThumbprint tells whether s is a SHA-256 in base64url (RFC 8555 §8.1).
func isThumbprint(s string) bool {
	const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return len(s) == 43 && strings.Trim(s, base64url) == ""
}

// describe says what a page is.
func describe(a *answer, text string) string {
	if encoding := a.header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return "something with the Content-Encoding " + quote(encoding, 30) + ", for which nobody asked"
	}
	switch name := title(text); {
	case strings.Trim(text, blank) == "":
		return "an empty page"
	case !isHTML(text):
		return quote(text, 60)
	case name != "":
		return "an HTML page titled " + quote(name, 60)
	}
	return "an HTML page that begins " + quote(strings.TrimLeft(text, blank), 60)
}

// blank is what pages and texts may begin with unseen, byte order marks too.
const blank = "\ufeff \t\r\n"

func isHTML(text string) bool { return strings.HasPrefix(strings.TrimLeft(text, blank), "<") }

var titlePattern = regexp.MustCompile(`(?i)<title[^<>]*>([^<]+)</title`)

// title is that of an HTML page, on one line.
func title(page string) string {
	found := titlePattern.FindStringSubmatch(page)
	if found == nil {
		return ""
	}
	return strings.Join(strings.Fields(found[1]), " ")
}

// server is the quoted name by which the web server calls itself, if it does.
func server(a *answer) string {
	name := cmp.Or(a.header.Get("Server"), a.header.Get("X-Powered-By"))
	if name == "" {
		return ""
	}
	return quote(name, 40)
}
