package cmd_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"arid/dns"
	"arid/rehearse"
)

const (
	tsigSecret  = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I="
	wrongSecret = "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3I="
	txt         = "_acme-challenge.example.test"
)

func keyFile(name, secret string) string {
	return fmt.Sprintf("key %q {\n\talgorithm hmac-sha256;\n\tsecret %q;\n};\n", name, secret)
}

// nameWorld is a home and the name server of a rehearsal, which serves every
// zone and takes updates signed with one key.
type nameWorld struct {
	*world
	ca *rehearse.CA
}

func newNameWorld(t *testing.T) *nameWorld {
	t.Helper()
	key, err := dns.ReadKey([]byte(keyFile("arid", tsigSecret)))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := rehearse.StartCA(t.Context(), rehearse.CAOptions{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ca.Close)
	w := &nameWorld{&world{t: t, dir: t.TempDir()}, ca}
	_, port, err := net.SplitHostPort(ca.Resolver())
	if err != nil {
		t.Fatal(err)
	}
	w.env = []string{"HOME=" + w.dir, "PATH=" + os.Getenv("PATH"), "ARID_CONFIG=/dev/null",
		"ARID_DNS_RESOLVER=" + ca.Resolver(), "ARID_DNS_PORT=" + port}
	return w
}

// texts is what the server shows.
func (w *nameWorld) texts(name string) []string {
	w.t.Helper()
	client := w.ca.DNS()
	place, err := client.Place(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return client.Look(w.t.Context(), place)[0].Values
}

func TestDNSAddDelWait(t *testing.T) {
	w := newNameWorld(t)
	key := w.file("dns.key", keyFile("arid", tsigSecret), 0o600)
	quiet := func(out, talk string) {
		t.Helper()
		if out != "" || talk != "" {
			t.Errorf("said %q, %q", out, talk)
		}
	}
	const two = "-value-that-begins-with-a-hyphen"
	quiet(w.must(0, "dns", "add", "--dns-key", key, txt, "one", strings.ToUpper(txt)+".", two))
	if got := w.texts(txt); !slices.Equal(got, []string{two, "one"}) {
		t.Errorf("the server shows %q", got)
	}
	quiet(w.must(0, "dns", "wait", "--dns-wait", "0", txt, two, txt, "one"))
	quiet(w.must(0, "dns", "wait", txt, "one"))
	quiet(w.must(0, "dns", "del", "--dns-key", key, txt, "one", txt, "never there"))
	if got := w.texts(txt); !slices.Equal(got, []string{two}) {
		t.Errorf("the server shows %q", got)
	}
	_, talk := w.must(75, "dns", "wait", "--dns-wait", "0", txt, "one", txt, two)
	if want := fmt.Sprintf("arid: %q has only 1 of 2 values at ", txt); !strings.HasPrefix(talk, want) || strings.Count(talk, "\n") != 1 {
		t.Errorf("said %q, want %q…", talk, want)
	}
	_, talk = w.must(0, "dns", "del", "-v", "--dns-key", key, "--dns-server", w.ca.Resolver(), txt, two)
	if want := `arid: zone "example.test" at ` + w.ca.Resolver() + ": 1 deleted\n"; talk != want {
		t.Errorf("said %q, want %q", talk, want)
	}
	w.must(0, "dns", "add", "--dns-key", key, "_acme-challenge.Bücher.test", "v")
	if got := w.texts("_acme-challenge.xn--bcher-kva.test"); !slices.Equal(got, []string{"v"}) {
		t.Errorf("the server shows %q", got)
	}
	if left, _ := os.ReadDir(w.dir); len(left) != 1 {
		t.Errorf("in the home: %v", left)
	}
}

func TestDNSKeys(t *testing.T) {
	good, wrong := keyFile("arid", tsigSecret), keyFile("arid", wrongSecret)
	for _, c := range []struct {
		what   string
		file   string // of the key, and its mode
		mode   os.FileMode
		env    []string
		config string
		status int
		talk   string // DIR is the home
	}{
		{"file", good, 0o600, []string{"ARID_DNS_KEY_FILE=dns.key"}, "", 0, ""},
		{"file by config", good, 0o640, nil, "DNS_KEY_FILE=dns.key", 0, ""},
		{"open file", good, 0o604, []string{"ARID_DNS_KEY_FILE=DIR/dns.key"}, "", 0, `arid: warning: ARID_DNS_KEY_FILE "DIR/dns.key": every user of this host can read the key` + "\n"},
		{"environment", "", 0, []string{"ARID_DNS_KEY=arid:" + tsigSecret}, "", 0, ""},
		{"config", "", 0, nil, "DNS_KEY=hmac-sha256:arid:" + tsigSecret, 0, ""},
		{"none", "", 0, nil, "", 0, ""}, // the server of a rehearsal asks for none
		{"both", good, 0o600, []string{"ARID_DNS_KEY=arid:" + tsigSecret}, "DNS_KEY_FILE=dns.key", 78,
			"arid: ARID_DNS_KEY: there is a DNS_KEY_FILE too (DIR/config:1), and only one of them can count\n"},
		{"both, from the config", good, 0o600, nil, "DNS_KEY_FILE=dns.key\nDNS_KEY=arid:" + tsigSecret, 78,
			"arid: DIR/config:2: DNS_KEY: there is a DNS_KEY_FILE too (DIR/config:1), and only one of them can count\n"},
		{"wrong", wrong, 0o600, []string{"ARID_DNS_KEY_FILE=dns.key"}, "", 78, `the secret of the key "arid" is not the server's (BADSIG)` + "\narid: hint: copy the secret"},
		{"unknown", keyFile("other", tsigSecret), 0o600, []string{"ARID_DNS_KEY_FILE=dns.key"}, "", 78, `does not know the key "other"`},
		{"no such file", "", 0, nil, "\nDNS_KEY_FILE=dns.key", 65, "arid: DIR/config:2: DNS_KEY_FILE: open DIR/dns.key: no such file or directory\n"},
		{"no key file", "secret " + tsigSecret, 0o600, nil, "DNS_KEY_FILE=dns.key", 65, `arid: DIR/config:1: DNS_KEY_FILE "DIR/dns.key": line 1: not key`},
		{"a key file for ever", strings.Repeat("#", 70<<10), 0o600, []string{"ARID_DNS_KEY_FILE=dns.key"}, "", 65, "more than 65536 bytes"},
		{"bad secret", "", 0, []string{"ARID_DNS_KEY=arid:" + tsigSecret[1:]}, "", 65, "arid: ARID_DNS_KEY: the secret is not base64\n"},
		{"bad shape", "", 0, nil, "DNS_KEY=" + tsigSecret, 65, "arid: DIR/config:1: DNS_KEY: not [ALGORITHM:]NAME:SECRET\n"},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newNameWorld(t)
			here := func(s string) string { return strings.ReplaceAll(s, "DIR", w.dir) }
			if c.file != "" {
				w.file("dns.key", c.file, c.mode)
			}
			for _, e := range c.env {
				w.env = append(w.env, here(e))
			}
			args := []string{"dns", "add", txt, "one"}
			if c.config != "" {
				args = slices.Insert(args, 2, "-f", w.file("config", c.config+"\n", 0o600))
			}
			_, talk := w.must(c.status, args...)
			if !strings.Contains(talk, here(c.talk)) || c.talk == "" && talk != "" || strings.HasSuffix(c.talk, "\n") && talk != here(c.talk) {
				t.Errorf("said %q, want %q", talk, here(c.talk))
			}
			for _, secret := range []string{tsigSecret[:12], tsigSecret[1:12], wrongSecret[:12]} {
				if strings.Contains(talk, secret) {
					t.Errorf("the secret shows: %s", talk)
				}
			}
			if got := w.texts(txt); (len(got) == 1) != (c.status == 0) {
				t.Errorf("the server shows %q", got)
			}
		})
	}
}

func TestDNSUsage(t *testing.T) {
	w := newNameWorld(t)
	for _, c := range []struct {
		args []string
		talk string
	}{
		{nil, "dns: no command given"},
		{[]string{"ad"}, `dns: unknown command "ad"`},
		{[]string{"add"}, "no record given"},
		{[]string{"add", txt}, `no VALUE for "` + txt},
		{[]string{"del", txt, "one", txt}, `no VALUE for "` + txt},
		{[]string{"del", txt, "one", "-v"}, `no VALUE for "-v"`},
		{[]string{"add", txt, "one", "--dns-key", "file"}, "flags stand before the first NAME"},
		{[]string{"add", txt, ""}, "the VALUE for"},
		{[]string{"add", "", "one"}, `"" cannot be the name of a record`},
		{[]string{"add", "*.example.test", "one"}, `the name without its "*."`},
		{[]string{"add", "a..test", "one"}, "a part of it is empty"},
		{[]string{"add", strings.Repeat("a", 64) + ".test", "one"}, "more than 63 letters"},
		{[]string{"add", strings.Repeat("a.", 127) + "test", "one"}, "more than 253 letters"},
		{[]string{"add", "a b.test", "one"}, "only letters"},
		{[]string{"add", "_acme-challenge.bü cher.test", "one"}, "cannot be the name of a record"},
		{[]string{"add", "--dns-zone", "a..b", txt, "one"}, "--dns-zone"},
		{[]string{"add", "--dns-wait", "1s", txt, "one"}, "--dns-wait"},
		{[]string{"wait", "--dns-key", "file", txt, "one"}, "--dns-key"},
	} {
		_, talk := w.must(64, append([]string{"dns"}, c.args...)...)
		if !strings.Contains(talk, c.talk) {
			t.Errorf("arid dns %q: said %q, want %q", c.args, talk, c.talk)
		}
	}
	if got := w.texts(txt); len(got) > 0 {
		t.Errorf("the server shows %q", got)
	}
}

func TestDNSStatuses(t *testing.T) {
	w := newNameWorld(t)
	const nobody = "127.0.0.1:9"
	nowhere := startNowhere(t)
	for _, c := range []struct {
		what   string
		args   []string
		status int
		talk   string
	}{
		{"nobody at the named server", []string{"add", "--dns-server", nobody, txt, "v"}, 75, "connection refused"},
		{"nobody at the resolver", []string{"add", "--dns-resolver", nobody, txt, "v"}, 75, "no resolver answers"},
		{"nobody at the resolver, waiting", []string{"wait", "--dns-resolver", nobody, "--dns-wait", "0", txt, "v"}, 75, "no resolver answers"},
		{"no zone", []string{"add", "--dns-resolver", nowhere, txt, "v"}, 78, "nobody serves a zone for"},
		{"no zone, waiting", []string{"wait", "--dns-resolver", nowhere, "--dns-wait", "0", txt, "v"}, 78, "nobody serves a zone for"},
		{"named server unknown", []string{"add", "--dns-resolver", nowhere, "--dns-server", "ns.example.test", txt, "v"}, 78, `"ns.example.test" does not exist`},
		{"name not in the zone", []string{"add", "--dns-zone", "example.org", txt, "v"}, 78, "in the zone"},
	} {
		_, talk := w.must(c.status, append([]string{"dns"}, c.args...)...)
		if !strings.Contains(talk, c.talk) {
			t.Errorf("%s: said %q, want %q", c.what, talk, c.talk)
		}
	}
}

// A hook must not be held up by the lock of the run that called it, nor by
// settings that are about CAs.
func TestDNSNeedsNoCA(t *testing.T) {
	w := newNameWorld(t)
	w.env = append(w.env, "ARID_CA=no-such-preset", "ARID_BASEDIR="+filepath.Join(w.dir, "no", "such"))
	w.must(0, "dns", "add", txt, "one")
	if left, _ := os.ReadDir(w.dir); len(left) > 0 {
		t.Errorf("in the home: %v", left)
	}
}

// startNowhere starts a resolver for which no name exists.
func startNowhere(t *testing.T) string {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	s := &mdns.Server{PacketConn: packets, NotifyStartedFunc: func() { close(started) }}
	s.Handler = mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg).SetRcode(q, mdns.RcodeNameError)
		soa, _ := mdns.NewRR(". 60 IN SOA a. b. 1 60 60 60 60")
		m.Ns = []mdns.RR{soa}
		w.WriteMsg(m)
	})
	go s.ActivateAndServe()
	<-started
	t.Cleanup(func() { s.Shutdown() })
	return packets.LocalAddr().String()
}
