package hooks

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// function runs the hook function "hook" of a config.
func function(t *testing.T, config string, sources ...string) (r *Runner, out string) {
	t.Helper()
	out = t.TempDir()
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	r = &Runner{
		Function: "hook",
		Config:   write("my config", config),
		Env:      []string{"PATH=" + os.Getenv("PATH"), "OUT=" + out},
		Stderr:   os.Stderr,
	}
	for i, text := range sources {
		r.Sources = append(r.Sources, write(string(rune('a'+i))+".sh", text))
	}
	return r, out
}

func TestFunctionGetsItsArgumentsAsTheyAre(t *testing.T) {
	r, out := function(t, `hook() { printf '%s\0' "$@" >"$OUT/args"; }`)
	args := []string{"-n", "--", "it's \"quoted\"", "two\nlines\n", "", "*", "$(touch /tmp/x)`id`", " a  b ", "\\"}
	if err := r.Run(t.Context(), Event{Name: "deploy_challenge", Args: args}); err != nil {
		t.Fatal(err)
	}
	want := strings.Join(append([]string{"deploy_challenge"}, args...), "\x00") + "\x00"
	if got := read(t, out+"/args"); got != want {
		t.Errorf("got %q", got)
	}
}

func TestFunctionBehavesAsWithinDehydrated(t *testing.T) {
	for _, c := range []struct {
		what, config, want string
	}{
		{"errexit does nothing in it", `hook() { false; echo "went on"; }`, "went on\n"},
		{"noglob", `hook() { echo /*; }`, "/*\n"},
		{"nullglob where it globs", `hook() { set +f; echo /no/such*; }`, "\n"},
		{"pipefail", `hook() { false | true || echo failed; }`, "failed\n"},
		{"unset names are empty", `hook() { echo "[$RENEW_DAYS]"; }`, "[]\n"},
		{"settings of the config", "DOMAINS_TXT=/x/domains.txt\nhook() { echo $DOMAINS_TXT; }", "/x/domains.txt\n"},
		{"the config's own output is not repeated", "echo INFO\nhook() { echo $1; }", "startup_hook\n"},
		{"a config that changes its arguments", "set -- a b c\nshift 2\nhook() { echo $# $1; }", "1 startup_hook\n"},
		{"a config that returns", "hook() { echo $1; }\nreturn 0\nhook() { echo no; }", "startup_hook\n"},
		{"values in force win", "export CERTDIR=/config PATH=/nowhere:$PATH\nhook() { echo $CERTDIR ${PATH%%:*}; }", "/flag /usr/bin\n"},
		{"a name that the config made readonly", "readonly CERTDIR=/config\nhook() { echo $CERTDIR; }", "/config\n"},
		{"nothing of ours is left", `hook() { echo ${arid_env-none} ${arid_name-none} $(declare -F); }`, "none none declare -f hook\n"},
	} {
		r, _ := function(t, c.config)
		r.Env = append(r.Env, "CERTDIR=/flag", "PATH=/usr/bin:/bin", "SHELLOPTS=braceexpand")
		got, err := r.Output(t.Context(), StartupHook(), 1<<20)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.what, got, err, c.want)
		}
	}
}

func TestFunctionOfAnAdditionalConfig(t *testing.T) {
	r, _ := function(t, "CERTDIR=/one", "list=$(echo /bin/s[h])", "hook() { echo $list $CERTDIR; }")
	got, err := r.Output(t.Context(), StartupHook(), 1<<20)
	if err != nil || string(got) != "/bin/sh /one\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFunctionThatFails(t *testing.T) {
	for _, c := range []struct {
		what, config, stderr string
		status               int
	}{
		{"returns", "hook() { return 7; }", "", 7},
		{"last command", "hook() { (exit 5); }", "", 5},
		{"exits", "hook() { exit 6; }", "", 6},
		{"config fails", "false\nhook() { :; }", "my config", 1},
		{"config exits", "exit 4\nhook() { :; }", "", 4},
		{"not a function after all", "hook=1", "no function named hook", 127},
		{"nor a program of that name", "PATH=$OUT:$PATH\nprintf '#!/bin/sh\n' >$OUT/hook; chmod +x $OUT/hook", "no function named hook", 127},
		{"syntax error", "hook() {", "my config", 2},
	} {
		r, _ := function(t, c.config)
		stderr := new(bytes.Buffer)
		r.Stderr = stderr
		err := r.Run(t.Context(), StartupHook())
		var e *ExitError
		if !errors.As(err, &e) || e.Status != c.status || e.Program != "hook" {
			t.Errorf("%s: %v", c.what, err)
		}
		if !strings.Contains(stderr.String(), c.stderr) || c.stderr == "" && stderr.Len() > 0 {
			t.Errorf("%s: stderr %q", c.what, stderr)
		}
	}
}

func TestAConfigWithoutSlashIsNotLookedForInPATH(t *testing.T) {
	r, _ := function(t, "hook() { echo $1; }")
	decoy, _ := function(t, "hook() { echo decoy; }")
	r.Env = []string{"PATH=" + filepath.Dir(decoy.Config) + ":" + os.Getenv("PATH")}
	t.Chdir(filepath.Dir(r.Config))
	r.Config = filepath.Base(r.Config)
	if got, err := r.Output(t.Context(), StartupHook(), 1<<20); err != nil || string(got) != "startup_hook\n" {
		t.Errorf("got %q, %v", got, err)
	}
}
