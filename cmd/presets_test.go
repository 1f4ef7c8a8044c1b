package cmd_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"arid/internal/fakeca"
)

// presetNet stands in for the hosts of a preset: the directory is the fake CA's,
// and the place for mail addresses answers so.
type presetNet struct {
	*fakeca.CA
	directory string // the preset's URL
	answer    string
	mails     []string // forms that came
}

func (n *presetNet) RoundTrip(r *http.Request) (*http.Response, error) {
	switch {
	case r.URL.String() == n.directory:
		there := r.Clone(r.Context())
		there.URL, _ = url.Parse(n.URL())
		there.Host = ""
		return n.HTTPClient().Transport.RoundTrip(there)
	case r.URL.String() == "https://api.zerossl.com/acme/eab-credentials-email":
		body, _ := io.ReadAll(r.Body)
		n.mails = append(n.mails, string(body))
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(n.answer)), Request: r}, nil
	}
	return n.HTTPClient().Transport.RoundTrip(r)
}

// presetWorld is one whose CA is this preset.
func presetWorld(t *testing.T, preset, directory string) (*world, *presetNet) {
	w := newWorld(t)
	w.ca.ExternalAccountRequired().EAB("kid-1", []byte("0123456789abcdef0123456789abcdef"))
	n := &presetNet{CA: w.ca, directory: directory,
		answer: `{"success":true,"eab_kid":"kid-1","eab_hmac_key":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}`}
	w.http, w.env = n, append(w.env, "ARID_CA="+preset)
	return w, n
}

const zerossl = "https://acme.zerossl.com/v2/DV90"

func TestZeroSSLForAMailAddress(t *testing.T) {
	for _, ca := range []string{"zerossl", zerossl} {
		w, n := presetWorld(t, ca, zerossl)
		out, talk := w.must(0, "register", "--accept-terms", "--contact", "a@example.org", "-v")
		if !strings.HasPrefix(out, w.ca.Base()) || strings.Join(n.mails, " ") != "email=a%40example.org" {
			t.Errorf("stdout %q, mails %q", out, n.mails)
		}
		if strings.Contains(talk+tree(t, w.base), "MDEyMzQ1") {
			t.Errorf("the key is told or kept: %q", talk)
		}
		w.must(0, "register", "--accept-terms")
		w.must(0, "sign", "a.test")
		if len(n.mails) != 1 {
			t.Errorf("mails %q", n.mails)
		}
	}
}

func TestPresetsThatWantAnExternalAccount(t *testing.T) {
	for _, c := range []struct{ preset, words, hint string }{
		{"zerossl", "register --accept-terms", "--contact ADDR"},
		{"zerossl", "sign a.test --accept-terms", "--contact ADDR"},
		{"google", "register --accept-terms --contact a@example.org", "--eab-kid ID"},
	} {
		w, _ := presetWorld(t, c.preset, "")
		w.http = noNetwork{t}
		_, talk := w.must(78, strings.Fields(c.words)...)
		if !strings.Contains(talk, "external account binding") || !strings.Contains(talk, c.hint) {
			t.Errorf("%s, %s: %q", c.preset, c.words, talk)
		}
	}
}

func TestZeroSSLThatGivesNone(t *testing.T) {
	w, n := presetWorld(t, "zerossl", zerossl)
	n.answer = `{"success":false,"error":{"code":2900,"type":"invalid_email"}}`
	if _, talk := w.must(78, "register", "--accept-terms", "--contact", "a@example.org"); !strings.Contains(talk, "invalid_email") {
		t.Errorf("stderr %q", talk)
	}
	n.answer = "<html>"
	w.must(76, "register", "--accept-terms", "--contact", "a@example.org")
	if w.posts() > 0 {
		t.Errorf("%d posts", w.posts())
	}
}

// The CA has ended, whoever names it: that is no mistake of the command line.
func TestPresetsThatAreDead(t *testing.T) {
	w := newWorld(t)
	w.http = noNetwork{t}
	w.env = append(w.env, "ARID_DOMAINS_TXT="+w.file("domains.txt", "a.test\n", 0o600))
	for _, ca := range []string{"buypass", "buypass-test", "https://api.buypass.com/acme/directory"} {
		for _, words := range []string{"register --accept-terms", "sign a.test", "renew a.test", "account show"} {
			_, talk := w.must(78, append(strings.Fields(words), "--ca", ca)...)
			if !strings.Contains(talk, "no longer issues certificates") || !strings.Contains(talk, "--ca") {
				t.Errorf("%s --ca %s: %q", words, ca, talk)
			}
		}
	}
	w.must(64, "register", "--ca", "letsencript")
	w.env = append(w.env, "ARID_CA=buypass")
	w.must(78, "register", "--accept-terms")
	w.env = append(w.env, "ARID_CA=letsencript")
	w.must(78, "register", "--accept-terms")
}

func TestZeroSSLInDehydratedsMode(t *testing.T) {
	w := dehydratedWorld(t, "CA=zerossl")
	w.ca.ExternalAccountRequired().EAB("kid-1", []byte("0123456789abcdef0123456789abcdef"))
	w.http = noNetwork{t}
	stdout, stderr := w.as(1, "--register", "--accept-terms")
	if stdout != "This CA requires an external account but no EAB_KID/EAB_HMAC_KEY has been configured\n" ||
		!strings.HasSuffix(stderr, "\nError registering account key. See message above for more information.\n") {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
	w.http = &presetNet{CA: w.ca, directory: zerossl,
		answer: `{"eab_kid":"kid-1","eab_hmac_key":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}`}
	w.file("base/config", readFile(t, w.base+"/config")+"CONTACT_EMAIL=a@example.org\n", 0o644)
	w.as(0, "--register", "--accept-terms")
}
