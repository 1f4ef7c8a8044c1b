package cmd_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arid/internal/fakeca"
	"arid/keys"
)

// accountFolder is the only account's.
func (w *world) accountFolder() string {
	w.t.Helper()
	found, _ := filepath.Glob(filepath.Join(w.base, "accounts", "*"))
	if len(found) != 1 {
		w.t.Fatalf("accounts %q", found)
	}
	return found[0]
}

func TestAccountShow(t *testing.T) {
	w := newWorld(t)
	if _, talk := w.must(78, "account", "show"); !strings.Contains(talk, "there is no account") || !strings.Contains(talk, "arid register") || len(w.ca.Requests()) > 0 {
		t.Errorf("no account: %q", talk)
	}
	url, _ := w.must(0, "register", "--accept-terms", "--contact", "a@example.org")
	out, talk := w.must(0, "account", "show")
	want := "account   " + url +
		"status    valid\n" +
		"contacts  mailto:a@example.org\n" +
		"key       " + w.accountFolder() + "/account_key.pem (prime256v1)\n" +
		"CA        " + w.ca.URL() + "\n" +
		"terms     " + w.ca.Base() + "/terms\n"
	if out != want || talk != "" {
		t.Errorf("stdout\n%s\nwant\n%s\nstderr %q", out, want, talk)
	}
}

// What the CA says is shown on a terminal.
func TestAccountShowEscapesWhatTheCASays(t *testing.T) {
	w := newWorld(t)
	w.must(0, "register", "--accept-terms")
	w.ca.Member(fakeca.Account, "contact", []string{"mailto:\x1b[2Jx\nstatus    gone"})
	out, _ := w.must(0, "account", "show")
	if strings.Contains(out, "\x1b") || strings.Count(out, "\n") != 6 {
		t.Errorf("stdout %q", out)
	}
}

func TestAccountUpdate(t *testing.T) {
	w := newWorld(t)
	w.must(0, "register", "--accept-terms", "--contact", "a@example.org")
	for _, c := range []struct {
		status   int
		words    string
		contacts string // after it
		talk     string
	}{
		{64, "", "mailto:a@example.org", "nothing to change"},
		{64, "--contact b@example.org --no-contact", "mailto:a@example.org", "exclude"},
		{65, "--contact b.example.org", "mailto:a@example.org", "b.example.org"},
		{65, "--contact=", "mailto:a@example.org", "no mail address"},
		{64, "word", "mailto:a@example.org", "no arguments"},
		{0, "--accept-terms", "mailto:a@example.org", ""},
		{0, "--contact b@example.org --contact c@example.org", "mailto:b@example.org mailto:c@example.org", ""},
		{0, "--no-contact", "-", ""},
	} {
		out, talk := w.must(c.status, append([]string{"account", "update"}, strings.Fields(c.words)...)...)
		if out != "" || !strings.Contains(talk, c.talk) || c.talk == "" && talk != "" {
			t.Errorf("%q: stdout %q, stderr %q", c.words, out, talk)
		}
		if out, _ := w.must(0, "account", "show"); !strings.Contains(out, "contacts  "+c.contacts+"\n") {
			t.Errorf("%q: %s", c.words, out)
		}
	}
}

func TestAccountRollover(t *testing.T) {
	w := newWorld(t)
	w.must(78, "account", "rollover")
	url, _ := w.must(0, "register", "--accept-terms")
	file := filepath.Join(w.accountFolder(), "account_key.pem")
	old := readFile(t, file)
	w.env = append(w.env, "ARID_ACCOUNT_KEY_ALGO=secp384r1")
	if out, talk := w.must(0, "account", "rollover"); out+talk != "" {
		t.Errorf("stdout %q, stderr %q", out, talk)
	}
	kept, _ := filepath.Glob(filepath.Join(w.accountFolder(), "account_key-*.pem"))
	if len(kept) != 1 || readFile(t, kept[0]) != old {
		t.Errorf("kept %q", kept)
	}
	out, _ := w.must(0, "account", "show")
	if !strings.Contains(out, url) || !strings.Contains(out, "(secp384r1)") {
		t.Errorf("show:\n%s", out)
	}
	w.must(0, "sign", "a.test")

	// The answer is lost; the next run that orders finds out, and finishes.
	w.ca.DropAfter(fakeca.KeyChange, 1)
	w.must(75, "account", "rollover")
	middle := readFile(t, file)
	w.must(0, "sign", "-x", "a.test")
	if readFile(t, file) == middle {
		t.Error("the old key is still there")
	}
	if w.ca.Accounts() != 1 {
		t.Errorf("%d accounts", w.ca.Accounts())
	}

	w.ca.Problem(fakeca.KeyChange, 400, "badPublicKey", "not this", 1)
	if _, talk := w.must(1, "account", "rollover"); !strings.Contains(talk, "the account keeps its key") {
		t.Errorf("refused: %q", talk)
	}
	w.must(0, "account", "show")
}

func TestAccountRolloverToANamedKey(t *testing.T) {
	w := newWorld(t)
	w.must(0, "register", "--accept-terms")
	pem := func(name string) (string, []byte) {
		key, err := keys.Generate(keys.P256)
		if err != nil {
			t.Fatal(err)
		}
		text, err := keys.MarshalPEM(key)
		if err != nil {
			t.Fatal(err)
		}
		return w.file(name, string(text), 0o600), text
	}
	file, text := pem("new.pem")
	w.must(65, "account", "rollover", "--new-key", "nowhere.pem")
	w.must(65, "account", "rollover", "--new-key", w.file("x.pem", "x", 0o600))
	w.must(0, "account", "rollover", "--new-key", "new.pem")
	if readFile(t, filepath.Join(w.accountFolder(), "account_key.pem")) != string(text) {
		t.Error("it is another key")
	}

	// Outside the tree.
	second, _ := pem("second.pem")
	if _, talk := w.must(64, "account", "rollover", "-p", file); !strings.Contains(talk, "--new-key") {
		t.Errorf("stderr %q", talk)
	}
	if _, talk := w.must(0, "account", "rollover", "-p", file, "--new-key", second); !strings.Contains(talk, "--account-key") {
		t.Errorf("stderr %q", talk)
	}
	w.must(78, "account", "show", "-p", file)
	w.must(0, "account", "show", "-p", second)
}

func TestAccountDeactivate(t *testing.T) {
	w := newWorld(t)
	w.must(78, "account", "deactivate")
	url, _ := w.must(0, "register", "--accept-terms")
	posts := w.posts()
	_, talk := w.must(64, "account", "deactivate")
	if !strings.Contains(talk, strings.TrimSpace(url)) || !strings.Contains(talk, "--yes") || w.posts() != posts {
		t.Errorf("stderr %q", talk)
	}
	w.must(0, "account", "show")
	if out, talk := w.must(0, "account", "deactivate", "--yes"); out+talk != "" {
		t.Errorf("stdout %q, stderr %q", out, talk)
	}
	if info, err := os.Stat(filepath.Join(w.accountFolder(), "deactivated")); err != nil || info.Size() != 0 {
		t.Errorf("the marker: %v, %v", info, err)
	}
	posts = w.posts()
	for _, words := range []string{"account show", "account update --no-contact", "account rollover", "account deactivate --yes", "register --accept-terms", "sign a.test"} {
		_, talk := w.must(78, strings.Fields(words)...)
		if !strings.Contains(talk, "deactivated") || !strings.Contains(talk, "hint: move ") {
			t.Errorf("%s: %q", words, talk)
		}
	}
	if w.posts() != posts {
		t.Error("the CA was asked")
	}
}

// LOCKFILE is dehydrated's: it may be about to use the old key.
func TestAccountRolloverMindsLOCKFILE(t *testing.T) {
	w := newWorld(t)
	w.must(0, "register", "--accept-terms")
	w.env = append(w.env, "ARID_LOCKFILE="+w.file("lock", "some day\n", 0o600))
	for _, words := range []string{"account rollover", "account update --no-contact", "account deactivate --yes", "cleanup", "cleanup --forget x"} {
		if _, talk := w.must(75, strings.Fields(words)...); !strings.Contains(talk, "LOCKFILE") {
			t.Errorf("%s: %q", words, talk)
		}
	}
	w.must(0, "account", "rollover", "-n")
}

func TestAccountCommandLine(t *testing.T) {
	w := newWorld(t)
	w.http = noNetwork{t}
	w.must(64, "account")
	w.must(64, "account", "shoe")
	w.must(64, "account", "show", "x")
	w.must(0, "account", "rollover", "--help")
}

// noNetwork is for what must send nothing.
type noNetwork struct{ t *testing.T }

func (n noNetwork) RoundTrip(r *http.Request) (*http.Response, error) {
	n.t.Errorf("%s %s", r.Method, r.URL)
	return nil, http.ErrNotSupported
}
