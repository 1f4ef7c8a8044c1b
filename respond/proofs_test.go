package respond

import (
	"crypto/tls"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"arid/alpn"
)

// Two orders may have the same challenge: what the later one put stays until it is done.
func TestProofs(t *testing.T) {
	var p Proofs
	first := p.PutToken(token, keyAuth)
	second := p.PutToken(token, keyAuth)
	firstName, err := p.PutName("Example.org", keyAuth, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	secondName, err := p.PutName("example.org", keyAuth, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		do          func()
		token, name bool
	}{{first, true, true}, {firstName, true, true}, {second, false, true}, {secondName, false, false}, {second, false, false}} {
		step.do()
		if _, shown := p.token(token); shown != step.token {
			t.Errorf("token shown: %v", shown)
		}
		if shown := p.pair("eXample.org") != nil; shown != step.name {
			t.Errorf("pair shown: %v", shown)
		}
	}
	if _, err := p.PutName("*.example.org", keyAuth, time.Now()); err == nil {
		t.Error("a wildcard was taken")
	}
}

// From memory first, then from the directories, if there are any.
func TestServeProofs(t *testing.T) {
	p := &Proofs{}
	p.PutToken(token, keyAuth)
	if _, err := p.PutName("example.org", keyAuth, time.Now()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, token), "old")
	write(t, filepath.Join(dir, token+"2"), token+"2.thumbprint")
	for _, c := range []struct {
		options Options
		tokens  map[string]string // "": 404
		names   map[string]bool
	}{
		{Options{Proofs: p}, map[string]string{token: keyAuth, token + "2": ""}, map[string]bool{"example.org": true, "EXAMPLE.org": true, "other.example": false}},
		{Options{Proofs: p, HTTP: dir}, map[string]string{token: keyAuth, token + "2": token + "2.thumbprint"}, map[string]bool{"example.org": true, "other.example": false}},
		{Options{Proofs: p, ALPN: alpnDir(t, "other.example")}, map[string]string{token: keyAuth, token + "2": ""}, map[string]bool{"example.org": true, "other.example": true, "third.example": false}},
	} {
		address, stop := start(t, c.options)
		for name, want := range c.tokens {
			status, body := get(t, "http://"+address+prefix+name)
			if want == "" && status != 404 || want != "" && (status != 200 || body != want) {
				t.Errorf("%q: %d %q", name, status, body)
			}
		}
		for name, want := range c.names {
			conn, err := tls.Dial("tcp", address, as(name, alpn.Protocol))
			if shown := err == nil; shown != want {
				t.Errorf("%q: %v", name, err)
			}
			if err == nil {
				validates(t, conn.ConnectionState(), strings.ToLower(name))
				conn.Close()
			}
		}
		stop()
	}
}
