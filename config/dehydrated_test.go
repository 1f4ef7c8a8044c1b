package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// place of each config, and what is found when those before it are missing.
func TestDehydratedFindsItsConfig(t *testing.T) {
	root, dir, script := t.TempDir(), t.TempDir(), t.TempDir()
	put := func(file string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("CONTACT_EMAIL=a@example.org\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	places := []string{
		put(root + "/etc/dehydrated/config"), put(root + "/usr/local/etc/dehydrated/config"),
		put(dir + "/config"), put(script + "/config"),
	}
	put(root + "/etc/arid/config") // arid's own is none of dehydrated's
	put(dir + "/.config/arid/config")
	o := Options{Dehydrated: true, Dir: dir, ScriptDir: script, root: root, Environ: []string{"HOME=" + dir, "ARID_CONFIG=" + dir + "/nowhere"}}
	for _, want := range places {
		s := mustLoad(t, o)
		if s.File() != want || s.GivenFile() != want || s.Value("BASEDIR") != filepath.Dir(want) {
			t.Errorf("file %q, given %q, BASEDIR %q, want %q", s.File(), s.GivenFile(), s.Value("BASEDIR"), want)
		}
		if err := os.Remove(want); err != nil {
			t.Fatal(err)
		}
	}
	s := mustLoad(t, o)
	if s.File() != "" || s.GivenFile() != "" || s.Value("BASEDIR") != script {
		t.Errorf("without a config: file %q, BASEDIR %q, want the script's directory", s.File(), s.Value("BASEDIR"))
	}
	o.ScriptDir = "/usr/bin"
	if s, err := Load(context.Background(), Options{Dehydrated: true, Dir: dir, ScriptDir: "/usr/bin", root: root}); err != nil || s.Value("BASEDIR") != "/var/lib/arid" {
		t.Errorf("BASEDIR %v, %v: accounts do not belong beside programs", s, err)
	}
}

func TestDehydratedConfigThatWasNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config", "sub/config"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("WELLKNOWN=$BASEDIR/wk\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		file, env, base string // base: "" where it is an error
	}{
		{"config", "", "."},
		{"sub/config", "", "sub"},
		{"./sub/config", "", "sub"},
		{dir + "/sub/config", "", dir + "/sub"},
		{"", "sub/config", "sub"},
		{"config", "sub/config", "."},
		{"nowhere", "", ""},
		{"", "nowhere", ""},
		{"sub", "", ""},
		{os.DevNull, "", ""},
	} {
		s, err := load(t, Options{Dehydrated: true, File: c.file, Dir: dir, Environ: []string{"CONFIG=" + c.env}})
		if c.base == "" {
			var wrong *Error
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "Specified config file doesn't exist") {
				t.Errorf("%+v: %v, want that it does not exist", c, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if s.Value("BASEDIR") != c.base || s.Value("CERTDIR") != c.base+"/certs" || s.Value("WELLKNOWN") != c.base+"/wk" || !filepath.IsAbs(s.File()) {
			t.Errorf("%+v: BASEDIR %q, CERTDIR %q, WELLKNOWN %q, file %q", c, s.Value("BASEDIR"), s.Value("CERTDIR"), s.Value("WELLKNOWN"), s.File())
		}
	}
}

func TestDehydratedDefaults(t *testing.T) {
	script := t.TempDir()
	for name, want := range map[string]string{
		"RENEW_DAYS": "32", "KEY_ALGO": "secp384r1", "ACCOUNT_KEY_ALGO": "rsa", "ACCOUNT_KEYSIZE": "4096", "KEYSIZE": "4096",
		"KEEP_GOING": "no", "HOOK_TIMEOUT": "0", "CA": "letsencrypt", "CHALLENGETYPE": "http-01", "WELLKNOWN": "/var/www/dehydrated",
		"CERTDIR": script + "/certs", "ACCOUNTDIR": script + "/accounts", "LOCKFILE": script + "/lock", "DOMAINS_TXT": script + "/domains.txt",
		"PRIVATE_KEY_RENEW": "yes", "PRIVATE_KEY_ROLLOVER": "no", "HOOK_CHAIN": "no", "OCSP_DAYS": "5", "API": "auto", "DOMAINS_D": "",
	} {
		s := mustLoad(t, Options{Dehydrated: true, ScriptDir: script, Dir: t.TempDir(), root: t.TempDir(),
			// Settings of the caller's environment are none, nor are its own program's.
			Environ: []string{"PATH=/usr/bin:/bin", "RENEW_DAYS=5", "KEY_ALGO=rsa", "PARAM_FORCE=yes"}})
		if s.Value(name) != want || s.Set(name) {
			t.Errorf("%s is %q, set %v; want %q by default", name, s.Value(name), s.Set(name), want)
		}
	}
	if Known()[0].Default != "" || mustLoad(t, Options{root: t.TempDir()}).Value("KEY_ALGO") != "prime256v1" {
		t.Error("arid's own defaults are not what they were")
	}
}

func TestDehydratedTakesOddWordsForNo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte("HOOK_CHAIN=true\nOCSP_FETCH=\nCHALLENGETYPE=dns-01\nexport KEYSIZE=4096\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := Options{Dehydrated: true, File: file, Environ: []string{"HOOK=x"}}
	s := mustLoad(t, o)
	if s.Value("HOOK_CHAIN") != "no" || s.Bool("OCSP_FETCH") {
		t.Errorf("HOOK_CHAIN %q, OCSP_FETCH %q", s.Value("HOOK_CHAIN"), s.Value("OCSP_FETCH"))
	}
	if err := s.Override("LOCKFILE", "/x"); err != nil {
		t.Fatal(err)
	}
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], `config:1: HOOK_CHAIN="true" is neither yes nor no`) {
		t.Errorf("warnings %q", w)
	}
	if !s.Exported("KEYSIZE") || !s.Exported("HOOK") || s.Exported("HOOK_CHAIN") || s.Exported("CA") {
		t.Error("what is exported is not told")
	}
	o.Dehydrated = false
	if _, err := load(t, o); err == nil {
		t.Error("arid itself takes HOOK_CHAIN=true")
	}
	// A wrong value of what is no switch is wrong here, too, unless nothing but the version is asked for.
	if err := os.WriteFile(file, []byte("CHALLENGETYPE=dns-99\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o.Dehydrated = true
	if _, err := load(t, o); err == nil {
		t.Error("dns-99 is taken")
	}
	o.Command = "version"
	if _, err := load(t, o); err != nil {
		t.Error(err)
	}
}

func TestConfigOfSomebodyElseInTheWorkingDirectory(t *testing.T) {
	dir, root := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte("CONTACT_EMAIL=a@example.org\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := Options{Dehydrated: true, Dir: dir, root: root, UID: 12345, Environ: []string{"HOME=/x"}}
	if os.Getuid() == 0 {
		if err := os.Chown(file, 4711, 4711); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := Load(context.Background(), o); err == nil {
		t.Errorf("%q is run", s.File())
	}
	o.File = "config"
	if s, err := Load(context.Background(), o); err != nil || len(s.Warnings()) != 1 {
		t.Errorf("named by the user: %v", err)
	}
}

func TestBaseThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	for base, want := range map[string]bool{dir: true, ".": true, dir + "/nowhere": false, "nowhere": false} {
		s := mustLoad(t, Options{Dehydrated: true, Dir: dir, Base: base, root: t.TempDir()})
		if err := s.CheckBase(); (err == nil) != want {
			t.Errorf("%s: %v", base, err)
		}
	}
}

func TestPresetWithAnotherAddress(t *testing.T) {
	for _, c := range []struct{ text, url string }{
		{"CA=letsencrypt-test", "https://acme-staging-v02.api.letsencrypt.org/directory"},
		{"CA=letsencrypt-test\nCA_LETSENCRYPT_TEST=https://ca.example/dir", "https://ca.example/dir"},
		{"CA=letsencrypt\nCA_LETSENCRYPT_TEST=https://ca.example/dir", "https://acme-v02.api.letsencrypt.org/directory"},
		{"CA_LETSENCRYPT_TEST=https://ca.example/dir\nCA=$CA_LETSENCRYPT_TEST", "https://ca.example/dir"},
		{"CA=letsencrypt-test\nCA_LETSENCRYPT_TEST=ftp://ca.example", ""},
	} {
		s := mustLoad(t, Options{File: "config", Dir: writeFiles(t, map[string]string{"config": c.text})})
		url, test, err := s.CAURL()
		if url != c.url || (err == nil) != (c.url != "") || test != strings.HasPrefix(c.text, "CA=letsencrypt-test") && err == nil {
			t.Errorf("%q: %q %v %v", c.text, url, test, err)
		}
	}
}

func TestOldCA(t *testing.T) {
	s := mustLoad(t, Options{Dehydrated: true, Dir: t.TempDir(), root: t.TempDir()})
	url, _, err := s.CAURL()
	if old := s.OldCA(url); err != nil || old != "https://acme-v01.api.letsencrypt.org/directory" {
		t.Errorf("of %q: %q, %v", url, old, err)
	}
	if old := s.OldCA("https://ca.example/dir"); old != "" {
		t.Errorf("of another: %q", old)
	}
}
