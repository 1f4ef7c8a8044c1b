package account

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"arid/keys"
)

func TestMain(m *testing.M) {
	syscall.Umask(0o077) // as cmd sets it
	os.Exit(m.Run())
}

const letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

func TestFolderName(t *testing.T) {
	for url, want := range map[string]string{ // as dehydrated names them
		letsEncrypt: "aHR0cHM6Ly9hY21lLXYwMi5hcGkubGV0c2VuY3J5cHQub3JnL2RpcmVjdG9yeQo",
		"https://acme-staging-v02.api.letsencrypt.org/directory": "aHR0cHM6Ly9hY21lLXN0YWdpbmctdjAyLmFwaS5sZXRzZW5jcnlwdC5vcmcvZGlyZWN0b3J5Cg",
		"https://acme.zerossl.com/v2/DV90":                       "aHR0cHM6Ly9hY21lLnplcm9zc2wuY29tL3YyL0RWOTAK",
		"https://dv.acme-v02.test-api.pki.goog/directory":        "aHR0cHM6Ly9kdi5hY21lLXYwMi50ZXN0LWFwaS5wa2kuZ29vZy9kaXJlY3RvcnkK",
		"https://localhost:20000/dir":                            "aHR0cHM6Ly9sb2NhbGhvc3Q6MjAwMDAvZGlyCg",
	} {
		if got := FolderName(url); got != want {
			t.Errorf("%s: %s", url, got)
		}
	}
}

// put writes files below dir, with the folders they need.
func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// read is a file's text, "" if there is none.
func read(t *testing.T, parts ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(data)
}

func newKey(t *testing.T, a keys.Algo) string {
	t.Helper()
	key, err := keys.Generate(a)
	if err != nil {
		t.Fatal(err)
	}
	text, err := keys.MarshalPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// weakKey is of a size that no CA takes any more.
func weakKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

const (
	jwkKey    = `{"crv":"P-256","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE","kty":"EC","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`
	jwkPublic = `{"crv":"P-256","kty":"EC","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`
	account7  = "https://acme-v02.api.letsencrypt.org/acme/acct/7"
)

func TestOpenTree(t *testing.T) {
	key := newKey(t, keys.P384)
	for _, c := range []struct {
		name  string
		files map[string]string
		key   bool
		url   string
		err   string // ending of the error
	}{
		{"nothing there", nil, false, "", ""},
		{"only the user's config", map[string]string{"config": "KEY_ALGO=rsa"}, false, "", ""},
		{"as dehydrated writes it", map[string]string{"account_key.pem": key, "account_id.json": `{"url":"` + account7 + `"}` + "\n", "registration_info.json": "{}"}, true, account7, ""},
		{"no URL file (dehydrated up to 0.6.3)", map[string]string{"account_key.pem": key}, true, "", ""},
		{"id without URL (dehydrated 0.6.4)", map[string]string{"account_key.pem": key, "account_id.json": `{"id": "7"}`}, true, "", ""},
		{"URL file cut off", map[string]string{"account_key.pem": key, "account_id.json": `{"url":"https://ac`}, true, "", ""},
		{"URL file empty", map[string]string{"account_key.pem": key, "account_id.json": ""}, true, "", ""},
		{"URL is none", map[string]string{"account_key.pem": key, "account_id.json": `{"url":"null"}`}, true, "", ""},
		{"URL file too large", map[string]string{"account_key.pem": key, "account_id.json": strings.Repeat(" ", maxJSON) + `{"url":"` + account7 + `"}`}, true, "", ""},
		{"URL without host", map[string]string{"account_key.pem": key, "account_id.json": `{"url":"https:///acct/7"}`}, true, "", ""},
		{"URL with a newline", map[string]string{"account_key.pem": key, "account_id.json": `{"url":"` + account7 + `\n"}`}, true, "", ""},
		{"URL is a number", map[string]string{"account_key.pem": key, "account_id.json": `{"url":7}`}, true, "", ""},
		{"JWK", map[string]string{"account_key.pem": jwkKey}, true, "", ""},
		{"deactivated", map[string]string{"account_key.pem": key, "deactivated": ""}, false, "", "has been deactivated"},
		{"damaged key", map[string]string{"account_key.pem": key[:40]}, false, "", `account_key.pem": has a damaged PEM block (cut off, or with a bad line)`},
		{"empty key", map[string]string{"account_key.pem": ""}, false, "", `account_key.pem": empty, no private key`},
		{"weak key", map[string]string{"account_key.pem": weakKey(t)}, false, "", `account_key.pem": RSA key of 1024 bits; it must have 2048 to 8192`},
		{"key is a directory", map[string]string{"account_key.pem/x": ""}, false, "", `account_key.pem": is no file`},
	} {
		s := &Store{Dir: t.TempDir(), CA: letsEncrypt}
		put(t, s.Path(), c.files)
		a, err := s.Open()
		if c.err != "" {
			if err == nil || !strings.HasSuffix(err.Error(), c.err) || strings.Count(err.Error(), s.Path()) != 1 {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil || (a.Key != nil) != c.key || a.URL != c.url {
			t.Errorf("%s: %+v, %v", c.name, a, err)
		}
	}
}

func TestOpenErrorTypes(t *testing.T) {
	s := &Store{Dir: t.TempDir(), CA: letsEncrypt}
	put(t, s.Path(), map[string]string{"account_key.pem": "x"})
	var parse *keys.ParseError
	var bad *KeyError
	if _, err := s.Open(); !errors.As(err, &parse) || !errors.As(err, &bad) {
		t.Errorf("damaged: %v", err)
	}
	put(t, s.Path(), map[string]string{"deactivated": ""})
	var deactivated *DeactivatedError
	if _, err := s.Open(); !errors.As(err, &deactivated) || deactivated.Hint() == "" {
		t.Errorf("deactivated: %v", err)
	}

	// A key that leads nowhere is not a missing key: it is not to be replaced.
	s = &Store{Dir: t.TempDir(), CA: letsEncrypt}
	put(t, s.Path(), nil)
	if err := os.MkdirAll(s.Path(), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nonexistent/key", s.inFolder("account_key.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(); !errors.As(err, &bad) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dangling link: %v", err)
	}

	s = &Store{Dir: t.TempDir(), CA: letsEncrypt, KeyFile: filepath.Join(t.TempDir(), "key.pem")}
	if _, err := s.Open(); !errors.As(err, &bad) || !errors.Is(err, fs.ErrNotExist) || strings.Count(err.Error(), "key.pem") != 1 {
		t.Errorf("-p without a file: %v", err)
	}
}

// The folder of dehydrated's v01 account under the v02 name.
func TestOpenThroughSymlink(t *testing.T) {
	s := &Store{Dir: t.TempDir(), CA: letsEncrypt}
	put(t, s.Dir, map[string]string{"old/account_key.pem": newKey(t, keys.P256), "old/account_id.json": `{"url":"` + account7 + `"}`})
	if err := os.Symlink("old", s.Path()); err != nil {
		t.Fatal(err)
	}
	if a, err := s.Open(); err != nil || a.URL != account7 {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestOpenLegacy(t *testing.T) {
	base := t.TempDir()
	old, now := newKey(t, keys.P256), newKey(t, keys.P384)
	put(t, base, map[string]string{"private_key.pem": old, "private_key.json": `{"id":123}`})
	s := &Store{Dir: filepath.Join(base, "accounts"), CA: letsEncrypt, Base: base}
	algo := func() keys.Algo {
		t.Helper()
		a, err := s.Open()
		if err != nil || a.Key == nil {
			t.Fatalf("%+v, %v", a, err)
		}
		algo, err := keys.AlgoOf(a.Key.Public())
		if err != nil {
			t.Fatal(err)
		}
		return algo
	}
	if got := algo(); got != keys.P256 {
		t.Errorf("got %s", got)
	}
	put(t, s.Path(), map[string]string{"account_key.pem": now})
	if got := algo(); got != keys.P384 {
		t.Errorf("the tree's own key comes first; got %s", got)
	}
}

func TestOpenKeyFile(t *testing.T) {
	acmems := func(uri, key string) string {
		return `{"body":{"contact":[],"key":` + key + `,"status":"valid"},"uri":"` + uri + `"}`
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"bare key", nil, ""},
		{"by dehydrated", map[string]string{"k.pem_id.json": `{"url":"` + account7 + `"}`}, account7},
		{"by dehydrated for another CA", map[string]string{"k.pem_id.json": `{"url":"https://ca.example/acct/1"}`}, ""},
		{"by arid", map[string]string{"k.pem_id.json": `{"ca":"` + letsEncrypt + `","url":"https://accounts.example/7"}`}, "https://accounts.example/7"},
		{"by arid for another CA", map[string]string{"k.pem_id.json": `{"ca":"https://ca.example/","url":"` + account7 + `"}`}, ""},
		{"acmems", map[string]string{"registration.json": acmems(account7, jwkPublic)}, account7},
		{"acmems, key of another kind", map[string]string{"registration.json": acmems(account7, `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`)}, ""},
		{"acmems at another CA", map[string]string{"registration.json": acmems("https://ca.example/acct/1", jwkPublic)}, ""},
		{"acmems, damaged", map[string]string{"registration.json": "{"}, ""},
		{"certbot", map[string]string{"regr.json": `{"body": {}, "uri": "` + account7 + `"}`}, account7},
		{"the tree's marker is not this key's", map[string]string{"accounts/" + FolderName(letsEncrypt) + "/deactivated": ""}, ""},
	} {
		dir := t.TempDir()
		put(t, dir, map[string]string{"k.pem": jwkKey})
		put(t, dir, c.files)
		s := &Store{Dir: filepath.Join(dir, "accounts"), CA: letsEncrypt, KeyFile: filepath.Join(dir, "k.pem")}
		a, err := s.Open()
		if err != nil || a.Key == nil || a.URL != c.want {
			t.Errorf("%s: %+v, %v", c.name, a, err)
		}
	}
}

func TestContacts(t *testing.T) {
	for _, c := range []struct{ address, want, why string }{
		{"a@example.org", "mailto:a@example.org", ""},
		{"mailto:a@example.org", "mailto:a@example.org", ""},
		{"MailTo:a+b@example.org", "MailTo:a+b@example.org", ""},
		{"tel:+12125551212", "tel:+12125551212", ""},
		{"", "", "is no mail address"},
		{"mailto:", "", "is no mail address"},
		{"example.org", "", "is no mail address"},
		{"@example.org", "", "is no mail address"},
		{"a@", "", "is no mail address"},
		{":x", "", "is no URI"},
		{"0:0", "", "is no URI"},
		{"a@example.org,b@example.org", "", "is more than one address"},
		{"a@b@example.org", "", "is more than one address"},
		{"a@example.org b@example.org", "", "has a blank or a control character"},
		{" a@example.org", "", "has a blank or a control character"},
		{"a@example.org\n", "", "has a blank or a control character"},
		{"a\x00@example.org", "", "has a blank or a control character"},
		{"a@example.org?subject=x", "", "has header fields (RFC 8555 §7.3 forbids them)"},
		{"<a@example.org>", "", "has '<'; only the bare address is wanted"},
		{"ä@example.org", "", "has a character outside ASCII"},
		{strings.Repeat("a", 400) + "@example.org", "", "is too long"},
	} {
		got, err := Contacts([]string{c.address})
		var bad *ContactError
		switch {
		case c.why == "" && (err != nil || len(got) != 1 || got[0] != c.want):
			t.Errorf("%q: %q, %v", c.address, got, err)
		case c.why != "" && (!errors.As(err, &bad) || bad.Why != c.why || got != nil):
			t.Errorf("%q: %q, %v", c.address, got, err)
		}
	}
	if got, err := Contacts(nil); got != nil || err != nil {
		t.Errorf("none: %q, %v", got, err)
	}
	if got, err := Contacts([]string{"a@b.org", "mailto:a@b.org", "c@b.org"}); len(got) != 2 || err != nil {
		t.Errorf("twice: %q, %v", got, err)
	}
}

func TestReadEABKey(t *testing.T) {
	const want = "\xfb\xff\xfe\x00key"
	for _, text := range []string{"-__-AGtleQ", "-__-AGtleQ==", "+//+AGtleQ==", "+//+AGtleQ", " -__-\n AGtl\teQ= =\r\n"} {
		if got, err := ReadEABKey(text); string(got) != want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", " \n", "==", "secret!secret", "AAAAA"} {
		if got, err := ReadEABKey(text); err == nil || got != nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func FuzzReadEABKey(f *testing.F) {
	f.Add("-__-AGtleQ==")
	f.Add(" +//+ AGt\nleQ")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ReadEABKey(text)
		if err != nil {
			return
		}
		if again, err := ReadEABKey(base64.StdEncoding.EncodeToString(key)); err != nil || string(again) != string(key) {
			t.Errorf("%q: %v", key, err)
		}
	})
}

func FuzzContacts(f *testing.F) {
	f.Add("a@example.org")
	f.Add("mailto:a@b?c,d@e")
	f.Fuzz(func(t *testing.T, address string) {
		all, err := Contacts([]string{address})
		if err != nil {
			return
		}
		u, err := url.Parse(all[0])
		if err != nil || u.Scheme == "" || strings.ContainsAny(all[0], " \r\n\t\x00<>") {
			t.Errorf("%q became %q: %v", address, all[0], err)
		}
	})
}

// What lies in the side files is never an error, and never an URL that is none.
func FuzzReadURL(f *testing.F) {
	f.Add([]byte(`{"url":"` + account7 + `","ca":""}`))
	f.Add([]byte(`{"uri":"` + account7 + `","body":{"key":` + jwkPublic + `}}`))
	key, err := keys.Parse([]byte(jwkKey))
	if err != nil {
		f.Fatal(err)
	}
	dir := f.TempDir()
	s := &Store{Dir: dir, CA: letsEncrypt, KeyFile: filepath.Join(dir, "k.pem")}
	f.Fuzz(func(t *testing.T, data []byte) {
		put(t, dir, map[string]string{"k.pem_id.json": string(data), "registration.json": string(data)})
		text := s.readURL(key)
		if text == "" {
			return
		}
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || strings.ContainsAny(text, " \r\n\x00") {
			t.Errorf("%q got through: %v", text, err)
		}
	})
}
