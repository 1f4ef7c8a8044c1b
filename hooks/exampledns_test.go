package hooks

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The example hooks for dns-01, with programs in PATH that tell how they are called.
func TestExampleDNSHooks(t *testing.T) {
	one, two := Challenge{"example.org", "-token-of-one", "-value1"}, Challenge{"www.example.org", "token two", "value2"}
	const (
		dns01 = "CHALLENGETYPE=dns-01"
		r1    = "_acme-challenge.example.org"
		r2    = "_acme-challenge.www.example.org"
	)
	for _, c := range []struct {
		what, hook string
		event      Event
		env        []string
		want       string // what the program was called with, and got on stdin
	}{
		{"one", "dns-arid", DeployChallenge(one), []string{dns01}, "dns add " + r1 + " -value1\n"},
		{"chained", "dns-arid", DeployChallenge(one, two), []string{dns01}, "dns add " + r1 + " -value1 " + r2 + " value2\n"},
		{"cleaned, with a config", "dns-arid", CleanChallenge(two, one), []string{dns01, "CONFIG=/etc/my config"},
			"dns del --config /etc/my config " + r2 + " value2 " + r1 + " -value1\n"},
		{"dehydrated has no type", "dns-arid", DeployChallenge(one), nil, "dns add " + r1 + " -value1\n"},
		{"another type", "dns-arid", DeployChallenge(one), []string{"CHALLENGETYPE=http-01"}, ""},
		{"another event", "dns-arid", DeployCert("example.org", "k", "c", "f", "ch", "1"), []string{dns01}, ""},

		{"one", "dns-nsupdate", DeployChallenge(one), []string{dns01, "NSUPDATE_KEY=/etc/my key"},
			"-k /etc/my key\nupdate add " + r1 + `. 60 TXT "-value1"` + "\nsend\n"},
		{"chained, server named", "dns-nsupdate", CleanChallenge(one, two), []string{dns01, "ARID_DNS_SERVER=127.0.0.1:5353"},
			"\nserver 127.0.0.1 5353\nupdate delete " + r1 + `. 60 TXT "-value1"` + "\nsend\nupdate delete " + r2 + `. 60 TXT "value2"` + "\nsend\n"},
		{"server without port", "dns-nsupdate", DeployChallenge(one), []string{"ARID_DNS_SERVER=ns1.example.org"},
			"\nserver ns1.example.org 53\nupdate add " + r1 + `. 60 TXT "-value1"` + "\nsend\n"},
		{"server by IPv6", "dns-nsupdate", DeployChallenge(one), []string{"ARID_DNS_SERVER=[2001:db8::1]:5353"},
			"\nserver 2001:db8::1 5353\nupdate add " + r1 + `. 60 TXT "-value1"` + "\nsend\n"},
		{"server by IPv6, no port", "dns-nsupdate", DeployChallenge(one), []string{"ARID_DNS_SERVER=2001:db8::1"},
			"\nserver 2001:db8::1 53\nupdate add " + r1 + `. 60 TXT "-value1"` + "\nsend\n"},
		{"records where CNAMEs lead", "dns-nsupdate", DeployChallenge(one, two), []string{"ARID_HOOK_RECORD=a.example.net " + r2},
			"\nupdate add a.example.net. 60 TXT \"-value1\"\nsend\nupdate add " + r2 + `. 60 TXT "value2"` + "\nsend\n"},
		{"another type", "dns-nsupdate", DeployChallenge(one), []string{"CHALLENGETYPE=tls-alpn-01"}, ""},
		{"another event", "dns-nsupdate", StartupHook(), []string{dns01}, ""},
	} {
		dir, r := exampleDNS(t, c.hook, `{ echo "$@"; [ "$0" = "${0%nsupdate}" ] || cat; } >"$OUT"`)
		r.Env = append(r.Env, c.env...)
		if err := r.Run(t.Context(), c.event); err != nil {
			t.Errorf("%s, %s: %v", c.hook, c.what, err)
		}
		if got, _ := os.ReadFile(filepath.Join(dir, "out")); string(got) != c.want {
			t.Errorf("%s, %s: got %q, want %q", c.hook, c.what, got, c.want)
		}
	}
	for _, hook := range []string{"dns-arid", "dns-nsupdate"} {
		_, r := exampleDNS(t, hook, "exit 2")
		for _, e := range []Event{DeployChallenge(one), CleanChallenge(one)} {
			var exit *ExitError
			if err := r.Run(t.Context(), e); !errors.As(err, &exit) || exit.Status != 2 {
				t.Errorf("%s %s: a failed update is told as %v", hook, e.Name, err)
			}
		}
	}
}

// exampleDNS is an example hook, and arid and nsupdate that do what the script says.
func exampleDNS(t *testing.T, hook, script string) (dir string, r *Runner) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"arid", "nsupdate"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := filepath.Abs("../examples/hooks/" + hook + ".sh")
	if err != nil {
		t.Fatal(err)
	}
	env := strings.Join([]string{dir, "/usr/bin", "/bin"}, ":")
	return dir, &Runner{Program: program, Env: []string{"PATH=" + env, "OUT=" + filepath.Join(dir, "out")}, Stderr: os.Stderr}
}
