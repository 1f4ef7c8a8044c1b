package hooks

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The example hook, with programs in PATH that tell how they are called.
func TestExampleHook(t *testing.T) {
	program, err := filepath.Abs("../examples/hooks/hook.sh")
	if err != nil {
		t.Fatal(err)
	}
	one, two := Challenge{"example.org", "-n-token-of-one-", "value1"}, Challenge{"example.org", "--help-token-two", "-value2"}
	const record = "_acme-challenge.example.org. 60 TXT"
	for _, c := range []struct {
		what  string
		event Event
		env   string
		want  []string // calls
	}{
		{"dns-01", DeployChallenge(one), "CHALLENGETYPE=dns-01", []string{"nsupdate -k /etc/arid/dns.key", `update add ` + record + ` "value1"`}},
		{"dns-01, chained", DeployChallenge(one, two), "CHALLENGETYPE=dns-01", []string{`update add ` + record + ` "value1"`, `update add ` + record + ` "-value2"`}},
		{"dns-01, cleaned", CleanChallenge(one, two), "CHALLENGETYPE=dns-01", []string{`update delete ` + record + ` "value1"`, `update delete ` + record + ` "-value2"`}},
		{"http-01 needs nothing", DeployChallenge(one), "CHALLENGETYPE=http-01", nil},
		{"invalid_challenge", InvalidChallenge("example.org", "x"), "", []string{"logger -t arid-hook -- the CA refused example.org"}},
		{"request_failure", RequestFailure(429, "b", "post", "h"), "", []string{"logger -t arid-hook -- the CA answered 429"}},
		{"sync_cert", SyncCert("k", "c", "f", "ch", "csr"), "", nil},
		{"deploy_cert", DeployCert("example.org", "k", "c", "f", "ch", "1"), "HOOK_SERVICES=nginx postfix", []string{"systemctl reload nginx", "systemctl reload postfix"}},
		{"deploy_cert, nothing to reload", DeployCert("example.org", "k", "c", "f", "ch", "1"), "", nil},
		{"startup_hook", StartupHook(), "", nil},
		{"exit_hook", ExitHook("text"), "", nil},
		{"unknown", Event{Name: "no_such_event"}, "", nil},
	} {
		dir := t.TempDir()
		for _, name := range []string{"nsupdate", "logger", "systemctl"} {
			text := "#!/bin/sh\n{ echo " + name + ` "$@"; [ ` + name + " != nsupdate ] || cat; } >>\"$OUT\"\n"
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		out := filepath.Join(dir, "out")
		r := &Runner{Program: program, Env: []string{"PATH=" + dir + ":/usr/bin:/bin", "OUT=" + out, c.env}, Stderr: os.Stderr}
		if err := r.Run(t.Context(), c.event); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		got, _ := os.ReadFile(out)
		if c.want == nil && len(got) > 0 {
			t.Errorf("%s: called %q", c.what, got)
		}
		for _, call := range c.want {
			if !strings.Contains(string(got), call+"\n") {
				t.Errorf("%s: got %q, want %q", c.what, got, call)
			}
		}
	}
}

func TestExampleHookTellsOfAFailure(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"systemctl", "nsupdate"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\nexit 4\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := &Runner{
		Program: "../examples/hooks/hook.sh",
		Env:     []string{"PATH=" + dir + ":/usr/bin:/bin", "HOOK_SERVICES=nginx", "CHALLENGETYPE=dns-01"},
	}
	for _, e := range []Event{DeployCert("example.org", "k", "c", "f", "ch", "1"), DeployChallenge(Challenge{"example.org", "t", "v"})} {
		var exit *ExitError
		if err := r.Run(t.Context(), e); !errors.As(err, &exit) || exit.Status != 4 {
			t.Errorf("%s: %v", e.Name, err)
		}
	}
}
