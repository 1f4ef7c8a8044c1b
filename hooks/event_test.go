package hooks

import (
	"strings"
	"testing"
)

func TestEventsHaveDehydratedsArguments(t *testing.T) {
	one := Challenge{"example.org", "-tok", "-tok.thumb"}
	two := Challenge{"example.org", "tok2", "value2"}
	for _, c := range []struct {
		event Event
		want  string // name and arguments, joined by "|"
	}{
		{StartupHook(), "startup_hook"},
		{GenerateCSR("a.example", "/c/a", []string{"a.example"}), "generate_csr|a.example|/c/a|a.example "},
		{GenerateCSR("a.example", "/c/a", []string{"a.example", "*.a.example"}), "generate_csr|a.example|/c/a|a.example *.a.example"},
		{DeployChallenge(one), "deploy_challenge|example.org|-tok|-tok.thumb"},
		{DeployChallenge(one, two), "deploy_challenge|example.org|-tok|-tok.thumb|example.org|tok2|value2"},
		{CleanChallenge(one, two), "clean_challenge|example.org|-tok|-tok.thumb|example.org|tok2|value2"},
		{InvalidChallenge("a.example", "{}"), "invalid_challenge|a.example|{}"},
		{RequestFailure(429, "slow\x00down", "POST", "h"), "request_failure|429|slowdown|post|h"},
		{SyncCert("k", "c", "f", "ch", "csr"), "sync_cert|k|c|f|ch|csr"},
		{DeployCert("*.a.example", "k", "c", "f", "ch", "1795000000"), "deploy_cert|*.a.example|k|c|f|ch|1795000000"},
		{UnchangedCert("a.example", "k", "c", "f", "ch"), "unchanged_cert|a.example|k|c|f|ch"},
		{DeployOCSP("a.example", "o", "1"), "deploy_ocsp|a.example|o|1"},
		{ExitHook(), "exit_hook"},
		{ExitHook(""), "exit_hook|"},
	} {
		if got := strings.Join(append([]string{c.event.Name}, c.event.Args...), "|"); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

func TestOutsideTextIsCutToWhatExecTakes(t *testing.T) {
	long := strings.Repeat("é", maxText) // the cut would split one of them
	got := InvalidChallenge("a.example", long).Args[1]
	if len(got) > maxText || len(got) < maxText-1 || !strings.HasPrefix(long, got) {
		t.Errorf("%d bytes", len(got))
	}
}
