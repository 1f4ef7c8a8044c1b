// dnsapi is the API of a DNS provider for tests: it takes what the real one takes, refuses
// what that refuses, and gives the records to a name server by plain updates (RFC 2136):
//
//	dnsapi acme-dns LISTEN SERVER ZONE
//	dnsapi cloudflare LISTEN SERVER TOKEN ZONE...
//
// Each request is told on stderr: method, path, status.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"

	mdns "github.com/miekg/dns"
)

func main() {
	words := os.Args[1:]
	var api http.Handler
	switch {
	case len(words) == 4 && words[0] == "acme-dns":
		api = newACMEDNS(words[3], &server{addr: words[2]})
	case len(words) > 4 && words[0] == "cloudflare":
		api = newCloudflare(words[3], words[4:], &server{addr: words[2]})
	default:
		fmt.Fprintln(os.Stderr, "usage: dnsapi acme-dns LISTEN SERVER ZONE | dnsapi cloudflare LISTEN SERVER TOKEN ZONE...")
		os.Exit(64)
	}
	var one sync.Mutex // one request at a time
	fmt.Fprintln(os.Stderr, "dnsapi:", http.ListenAndServe(words[1], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one.Lock()
		defer one.Unlock()
		told := &answer{ResponseWriter: w, status: http.StatusOK}
		api.ServeHTTP(told, r)
		fmt.Fprintln(os.Stderr, r.Method, r.URL.RequestURI(), told.status)
	})))
	os.Exit(1)
}

// answer remembers its status.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// reply sends a status and a JSON text or value.
func reply(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}

// read is the body, at most 1 MiB.
func read(r *http.Request) []byte {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	return body
}

// server is the name server that has the zones.
type server struct{ addr string }

// set makes the texts all that there is under the name.
func (s *server) set(zone, name string, texts []string) error {
	m := new(mdns.Msg)
	m.SetUpdate(mdns.Fqdn(zone))
	header := mdns.RR_Header{Name: mdns.Fqdn(name), Rrtype: mdns.TypeTXT, Class: mdns.ClassINET, Ttl: 60}
	m.RemoveRRset([]mdns.RR{&mdns.TXT{Hdr: header}})
	for _, text := range texts {
		m.Insert([]mdns.RR{&mdns.TXT{Hdr: header, Txt: []string{text}}})
	}
	reply, err := mdns.Exchange(m, s.addr)
	if err == nil && reply.Rcode != mdns.RcodeSuccess {
		err = fmt.Errorf("%s: %s", name, mdns.RcodeToString[reply.Rcode])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "dnsapi:", err)
	}
	return err
}

// inZone says whether a name is the zone's or in it.
func inZone(name, zone string) bool { return name == zone || strings.HasSuffix(name, "."+zone) }
