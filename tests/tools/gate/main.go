// gate stands before a CA for tests, counts what comes, and answers some of it in
// the CA's place:
//
//	gate 127.0.0.1:443 cert.pem key.pem 127.0.0.1:14000 LOG RULES
//
// LOG gets a line for each request when its answer begins:
//
//	CONNECTION METHOD PATH STATUS PAYLOAD
//
// with the number of the connection, and the payload of a signed request as JSON. A
// line of RULES, which is read anew for each request and may be missing, is
//
//	METHOD PATH STATUS RETRY-AFTER TYPE
//
// and says with which status, Retry-After and ACME problem type a request is refused
// whose path begins so; "-" stands for none, and as METHOD for all. With the status
// "hold" it is let through as soon as no such line stands there any more; LOG has a
// line with "held" for it until then.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

func main() {
	if len(os.Args) != 7 {
		fmt.Fprintln(os.Stderr, "usage: gate LISTEN CERTIFICATE KEY TARGET LOG RULES")
		os.Exit(64)
	}
	out, err := os.OpenFile(os.Args[5], os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		end(err)
	}
	g := &gate{target: os.Args[4], rules: os.Args[6], log: log.New(out, "", 0)}
	g.proxy = &httputil.ReverseProxy{
		// The host stays what the client called: the CA makes its URLs of it.
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "https", g.target },
		// Its certificate is another's, and it is on this machine.
		Transport:      &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		ModifyResponse: func(r *http.Response) error { g.note(r.Request, r.StatusCode); return nil },
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
			g.note(r, http.StatusBadGateway)
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	var connections atomic.Int64
	server := &http.Server{Addr: os.Args[1], Handler: g, ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, connection, connections.Add(1))
	}}
	end(server.ListenAndServeTLS(os.Args[2], os.Args[3]))
}

func end(err error) {
	fmt.Fprintln(os.Stderr, "gate:", err)
	os.Exit(1)
}

type gate struct {
	target, rules string
	log           *log.Logger
	proxy         *httputil.ReverseProxy
}

type key int

// What the context of a request has.
const (
	connection key = iota // its number
	payload               // JSON, or ""
)

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r = r.WithContext(context.WithValue(r.Context(), payload, payloadOf(body)))
	rule := g.rule(r)
	for held := false; rule != nil && rule[2] == "hold"; rule = g.rule(r) {
		if !held {
			held = true
			g.note(r, "held")
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-r.Context().Done():
			return // the client has gone
		}
	}
	if rule == nil {
		g.proxy.ServeHTTP(w, r)
		return
	}
	status, _ := strconv.Atoi(rule[2])
	if rule[3] != "-" {
		w.Header().Set("Retry-After", rule[3])
	}
	if rule[4] != "-" {
		w.Header().Set("Content-Type", "application/problem+json")
	}
	g.note(r, status)
	w.WriteHeader(status)
	if rule[4] != "-" {
		fmt.Fprintf(w, `{"type":"urn:ietf:params:acme:error:%s","detail":"so say the rules","status":%d}`, rule[4], status)
	}
}

// rule is the line that the request is refused by; nil: none.
func (g *gate) rule(r *http.Request) []string {
	text, _ := os.ReadFile(g.rules)
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) == 5 && (words[0] == "-" || words[0] == r.Method) && strings.HasPrefix(r.URL.Path, words[1]) {
			return words
		}
	}
	return nil
}

func (g *gate) note(r *http.Request, status any) {
	g.log.Println(r.Context().Value(connection), r.Method, r.URL.Path, status, r.Context().Value(payload))
}

// payloadOf is what a signed request says, on one line.
func payloadOf(body []byte) string {
	var jws struct{ Payload string }
	if json.Unmarshal(body, &jws) != nil {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(jws.Payload)
	var line bytes.Buffer
	if err != nil || json.Compact(&line, text) != nil {
		return ""
	}
	return line.String()
}
