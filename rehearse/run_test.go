package rehearse

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"arid/challenge"
	"arid/dns"
	"arid/hooks"
	"arid/issue"
	"arid/keys"
)

// A whole run with a hook that calls nsupdate: the rehearsal tells it where.
func TestRunWithADNSHook(t *testing.T) {
	tool(t, "nsupdate")
	r, transcript := request(t, `
case $1 in deploy_challenge) do=add;; clean_challenge) do=del;; *) exit 0;; esac
record=_acme-challenge.$2
nsupdate -t 10 <<END || exit
server ${ARID_HOOK_DNS_SERVER%:*} ${ARID_HOOK_DNS_SERVER##*:}
$do $record 60 TXT "$4"
send
END
echo $do $record >>"$OUT"
`)
	r.Names = []string{"example.test", "*.example.test"}
	r.Types = types(t, challenge.DNS01)
	result, err := Run(t.Context(), CAOptions{Strict: true}, t.TempDir(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(slices.Values(result.Chain[0].DNSNames)); !slices.Equal(got, []string{"*.example.test", "example.test"}) {
		t.Errorf("a certificate for %q", got)
	}
	const added, gone = "add _acme-challenge.example.test\n", "del _acme-challenge.example.test\n"
	if got, _ := os.ReadFile(transcript); string(got) != added+added+gone+gone {
		t.Errorf("the hook did %q", got)
	}
}

// All three types in one order, without a hook and without a server of the
// user's: his server for updates is not asked, his key is known.
func TestRunDoesItAll(t *testing.T) {
	r, _ := request(t, "")
	r.Hooks = nil
	r.Names = []string{"www.example.test", "*.example.test", "example.test", "127.0.0.1"}
	r.Types = types(t, "http-01 dns-01 example.test:dns-01 127.0.0.1:tls-alpn-01")
	r.WellKnown, r.ALPNDir = t.TempDir(), t.TempDir()
	key, err := dns.ParseKey("key:c2VjcmV0")
	if err != nil {
		t.Fatal(err)
	}
	r.Updater = &dns.Updater{Server: "192.0.2.1", Key: key}
	r.DNSWait = 10 * time.Second
	var logged []string
	o := CAOptions{Strict: true, Key: key, Log: func(line string) { logged = append(logged, line) }}
	if _, err := Run(t.Context(), o, t.TempDir(), r, nil); err != nil {
		t.Fatal(err)
	}
	const update = "DNS: update of 2 records: NOERROR"
	if !slices.Contains(logged, update) {
		t.Errorf("no line %q in %q", update, logged)
	}
	for _, dir := range []string{r.WellKnown, r.ALPNDir} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
}

// The CA goes to an address without asking the DNS.
func TestRunAnswersAtLoopbackAddresses(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip(err)
	}
	l.Close()
	for _, typ := range []string{challenge.HTTP01, challenge.TLSALPN01} {
		r, _ := request(t, "")
		r.Names = []string{"::1", "127.0.0.1", "example.test"}
		r.Types, r.WellKnown, r.ALPNDir = types(t, typ), t.TempDir(), t.TempDir()
		if _, err := Run(t.Context(), CAOptions{Strict: true}, t.TempDir(), r, nil); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

func TestAnswersThatAreNeeded(t *testing.T) {
	for _, tt := range []struct {
		words     string
		names     []string
		http, tls bool
	}{
		{"http-01", []string{"example.test"}, true, false},
		{"tls-alpn-01", []string{"example.test"}, false, true},
		{"dns-01", []string{"example.test"}, false, false},
		{"http-01 dns-01", []string{"*.example.test"}, false, false},
		{"http-01 www.*:tls-alpn-01", []string{"example.test", "www.example.test"}, true, true},
	} {
		var o CAOptions
		stop, err := startAnswers(t.Context(), &o, &issue.Request{Names: tt.names, Types: types(t, tt.words)})
		if err != nil || (o.HTTPPort != 0) != tt.http || (o.TLSPort != 0) != tt.tls {
			t.Errorf("%q for %q: ports %d and %d, %v", tt.words, tt.names, o.HTTPPort, o.TLSPort, err)
		}
		stop()
		for _, port := range []int{o.HTTPPort, o.TLSPort} {
			if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); port != 0 && err == nil {
				c.Close()
				t.Errorf("port %d still answers", port)
			}
		}
	}
}

func TestRunAsksTheUsersOwnWebServer(t *testing.T) {
	r, _ := request(t, "")
	r.Names = []string{"example.test"}
	r.Types, r.WellKnown = types(t, challenge.HTTP01), t.TempDir()
	var failed *issue.ValidationError
	if _, err := Run(t.Context(), CAOptions{Strict: true, HTTPPort: 1}, t.TempDir(), r, nil); !errors.As(err, &failed) {
		t.Errorf("nobody is at port 1, and yet: %v", err)
	}
}

// What arid looks at and changes is what the CA sees; where updates go to the
// user's own server is his to say.
func TestTheRunSeesWhatTheCASees(t *testing.T) {
	for server, updates := range map[string]string{"": "", "127.0.0.1:5300": "ns.example.net"} {
		o := CAOptions{DNS: server, HTTPPort: 8080, TLSPort: 8443}
		ca := start(t, o)
		mine := &dns.Updater{Server: "ns.example.net", Zone: "example.net"}
		r := &issue.Request{Updater: mine}
		useNetwork(r, ca, o)
		if server == "" {
			updates = ca.Resolver()
		}
		if p := r.Prober; r.DNS.Resolvers[0] != ca.Resolver() || p.DNS != r.DNS || p.HTTPPort != 8080 || p.TLSPort != 8443 {
			t.Errorf("%q: looks at %+v, %+v", server, r.DNS, p)
		}
		if u := r.Updater; u.Client != r.DNS || u.Server != updates || u.Zone != "example.net" {
			t.Errorf("%q: updates %+v", server, u)
		}
		if mine.Server != "ns.example.net" || mine.Client != nil {
			t.Errorf("%q: the caller's own became %+v", server, mine)
		}
	}
}

func TestHooksFindTheDNS(t *testing.T) {
	c := &dns.Client{Resolvers: []string{"127.0.0.1:5353"}, Port: "5353"}
	before := []string{"A=1", "ARID_DNS_SERVER=ns.example.net", "ARID_DNS_PORT=53", "ARID_DNS_SERVERS=x",
		"ARID_HOOK_DNS_SERVER=old", "ARID_DNS_RESOLVER=old", "B=2"}
	kept := slices.Clone(before)
	want := []string{"A=1", "ARID_DNS_SERVERS=x", "B=2", "ARID_DNS_PORT=5353", "ARID_DNS_RESOLVER=127.0.0.1:5353",
		"ARID_DNS_SERVER=127.0.0.1:5353", "ARID_HOOK_DNS_SERVER=127.0.0.1:5353"}
	if got := withDNS(before, c); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !slices.Equal(before, kept) {
		t.Errorf("the caller's own became %q", before)
	}
}

// The user's own server needs no telling.
func TestAHookKeepsTheUsersOwnServer(t *testing.T) {
	r, out := request(t, `echo "$ARID_DNS_SERVER|$ARID_DNS_PORT|$ARID_HOOK_REHEARSAL" >>"$OUT"; exit 1`)
	r.Hooks.Env = append(r.Hooks.Env, "ARID_DNS_SERVER=ns.example.net")
	_, server := startNames(t, nil)
	r.Names = []string{"example.test"}
	r.Types = types(t, challenge.DNS01)
	if _, err := Run(t.Context(), CAOptions{Strict: true, DNS: server}, t.TempDir(), r, nil); err == nil {
		t.Error("the hook failed, the run did not")
	}
	if got, _ := os.ReadFile(out); !strings.HasPrefix(string(got), "ns.example.net||yes\n") {
		t.Errorf("the hook saw %q", got)
	}
}

func TestTheCAsDNS(t *testing.T) {
	own := start(t, CAOptions{})
	if c := own.DNS(); !slices.Equal(c.Resolvers, []string{own.Resolver()}) || !strings.HasSuffix(own.Resolver(), ":"+c.Port) {
		t.Errorf("%+v, want %s alone", c, own.Resolver())
	}
	users := start(t, CAOptions{DNS: "127.0.0.1:5300"})
	if c := users.DNS(); !slices.Equal(c.Resolvers, []string{"127.0.0.1:5300"}) || c.Port != "5300" {
		t.Errorf("%+v", c)
	}
}

func types(t *testing.T, words string) challenge.Choice {
	t.Helper()
	choice, err := challenge.ParseChoice(words)
	if err != nil {
		t.Fatal(err)
	}
	return choice
}

// request is one with a hook of the shell text given, which may write to $OUT.
func request(t *testing.T, hook string) (r *issue.Request, out string) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "hook")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+hook), 0o700); err != nil {
		t.Fatal(err)
	}
	out = filepath.Join(dir, "out")
	return &issue.Request{
		Now:     time.Now(),
		Algo:    keys.P256,
		Timeout: time.Minute,
		Force:   true,
		Hooks: &hooks.Runner{Program: program, Env: append(os.Environ(), "OUT="+out),
			Stdout: t.Output(), Stderr: t.Output()},
		Tell: func(e issue.Event) { t.Logf("%s: %s", e.Step, e.Text) },
	}, out
}
