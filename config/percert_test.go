package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// certificate is the settings of one certificate.
func certificate(t *testing.T, s *Settings, alias string, words ...string) *Settings {
	t.Helper()
	c, err := s.ForCertificate(context.Background(), alias, words)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCertificateConfigPrecedence(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"config":         "CONFIG_D=conf.d\nKEYSIZE=2048 RENEW_DAYS=10 OCSP_DAYS=1 ORDER_TIMEOUT=1 VALIDATION_TIMEOUT=1 WELLKNOWN=/main\nHOKO=1\n",
		"conf.d/a.sh":    "RENEW_DAYS=20 OCSP_DAYS=2 ORDER_TIMEOUT=2 VALIDATION_TIMEOUT=2\n",
		"acc/config":     "OCSP_DAYS=3 ORDER_TIMEOUT=3 VALIDATION_TIMEOUT=3 PREFERRED_CHAIN=account ACME_PROFILE=account\n",
		"certs/x/config": "\nOCSP_DAYS=4\nORDER_TIMEOUT=4 VALIDATION_TIMEOUT=4\nKEY_ALGO=prime256v1 WELLKNOWN=\nunset ACME_PROFILE\n",
	})
	for _, c := range []struct {
		name       string
		dehydrated bool
		want       map[string][2]string
	}{
		{"native", false, map[string][2]string{
			"KEYSIZE": {"2048", "file"}, "RENEW_DAYS": {"20", "CONFIG_D"}, "OCSP_DAYS": {"4", CertificateKind},
			"ORDER_TIMEOUT": {"5", "environment"}, "VALIDATION_TIMEOUT": {"6", "flag"}, "KEY_ALGO": {"prime256v1", CertificateKind},
			"WELLKNOWN": {"/var/www/dehydrated", "default"}, "CHALLENGETYPE": {"dns-01", "flag"}, "HOOK": {"/env", "environment"},
			"PREFERRED_CHAIN": {"account", "account config"}, "ACME_PROFILE": {"account", "account config"},
		}},
		{"dehydrated's mode", true, map[string][2]string{
			"KEYSIZE": {"2048", "file"}, "RENEW_DAYS": {"20", "CONFIG_D"}, "OCSP_DAYS": {"4", CertificateKind},
			"ORDER_TIMEOUT": {"4", CertificateKind}, "VALIDATION_TIMEOUT": {"4", CertificateKind}, "KEY_ALGO": {"prime256v1", CertificateKind},
			"WELLKNOWN": {"/var/www/dehydrated", "default"}, "CHALLENGETYPE": {"dns-01", "flag"}, "HOOK": {"/env", "environment"},
			"PREFERRED_CHAIN": {"account", "account config"}, "ACME_PROFILE": {"account", "account config"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mustLoad(t, Options{File: "config", Dir: dir, Dehydrated: c.dehydrated,
				Environ: []string{"PATH=/bin", "ARID_ORDER_TIMEOUT=5", "ARID_VALIDATION_TIMEOUT=5", "ARID_HOOK=/env"},
				Flags:   map[string]string{"VALIDATION_TIMEOUT": "6", "CHALLENGETYPE": "dns-01"}})
			if err := s.LoadAccountConfig(context.Background(), "acc"); err != nil {
				t.Fatal(err)
			}
			before := map[string]value{}
			for name, v := range s.values {
				before[name] = v
			}
			own := certificate(t, s, "x", "a.example")
			check := func() {
				t.Helper()
				for name, want := range c.want {
					if own.Value(name) != want[0] || own.Origin(name).Kind != want[1] {
						t.Errorf("%s=%q by %+v, want %q by %s", name, own.Value(name), own.Origin(name), want[0], want[1])
					}
				}
			}
			check()
			if o := own.Origin("OCSP_DAYS"); o.File != dir+"/certs/x/config" || o.Line != 2 {
				t.Errorf("OCSP_DAYS from %+v", o)
			}
			if len(own.Warnings()) > 0 {
				t.Errorf("%q", own.Warnings())
			}
			// What is laid over later keeps the certificate's values.
			if err := own.Override("KEYSIZE", "4096"); err != nil {
				t.Fatal(err)
			}
			if own.Value("KEYSIZE") != "4096" || own.Value("OCSP_DAYS") != "4" {
				t.Error(own.Value("KEYSIZE"), own.Value("OCSP_DAYS"))
			}
			// And the next certificate finds nothing of it.
			for name, v := range before {
				if s.values[name] != v {
					t.Errorf("%s was %+v, is %+v", name, v, s.values[name])
				}
			}
			if err := s.Override("KEYSIZE", "2048"); err != nil {
				t.Fatal(err)
			}
			if s.Value("VALIDATION_TIMEOUT") != "6" || s.Value("ORDER_TIMEOUT") != "5" || s.Value("OCSP_DAYS") != "3" || len(s.Warnings()) != 1 {
				t.Error(s.Value("VALIDATION_TIMEOUT"), s.Value("ORDER_TIMEOUT"), s.Value("OCSP_DAYS"), s.Warnings())
			}
			if certificate(t, s, "y", "a.example") != s {
				t.Error("other settings for a certificate without a config")
			}
		})
	}
}

func TestCertificateConfigFiles(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"config": "", "in-d": "DOMAINS_D=d\n", "other": "CERTDIR=elsewhere\n", "as-file": "CERTDIR=config\n",
		"certs/x/config":              "OCSP_DAYS=7\n",
		"certs/ip:2001:db8::1/config": "OCSP_DAYS=8\n",
		"elsewhere/x/config":          "OCSP_DAYS=9\n",
		"d/x":                         "OCSP_DAYS=10\n",
	})
	for _, c := range []struct{ config, alias, path, want string }{
		{"config", "x", "certs/x/config", "7"},
		{"config", "ip:2001:db8::1", "certs/ip:2001:db8::1/config", "8"},
		{"config", "y", "certs/y/config", "5"},
		{"other", "x", "elsewhere/x/config", "9"},
		{"in-d", "x", "d/x", "10"},
		{"in-d", "ip:2001:db8::1", "d/ip:2001:db8::1", "5"}, // the one beside the certificate is not read then
		{"as-file", "x", "config/x/config", "5"},
	} {
		s := mustLoad(t, Options{File: c.config, Dir: dir})
		if got := s.certificateConfig(c.alias); got != dir+"/"+c.path {
			t.Errorf("%s: %q is looked for at %q", c.config, c.alias, got)
		}
		if got := certificate(t, s, c.alias).Value("OCSP_DAYS"); got != c.want {
			t.Errorf("%s: OCSP_DAYS of %q is %q, want %q", c.config, c.alias, got, c.want)
		}
	}
	s := mustLoad(t, Options{File: "config", Dir: dir})
	for _, alias := range []string{"", ".", "..", "../certs/x", "x/", "/x"} {
		var e *NameError
		if _, err := s.ForCertificate(context.Background(), alias, nil); !errors.As(err, &e) {
			t.Errorf("%q: %v", alias, err)
		}
	}
}

func TestCertificateConfigFindsVariables(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"config":         "HELPER=main\nSECOND=main\nHOOK=/hooks/$HELPER\nexport FROM_MAIN=1\n",
		"acc/config":     "SECOND=account\n",
		"certs/x/config": "WELLKNOWN=$BASEDIR/$alias/$domain/${morenames// /+}/$certdir/$HELPER/$SECOND/$FROM_MAIN\nHOOK=$HOOK.sh\nif [ \"$alias\" = x ]; then KEY_ALGO=$(echo rsa); fi\n",
	})
	s := mustLoad(t, Options{File: "config", Dir: dir})
	if err := s.LoadAccountConfig(context.Background(), "acc"); err != nil {
		t.Fatal(err)
	}
	c := certificate(t, s, "x", "a.example", "ip:192.0.2.1", "b.example")
	want := dir + "/x/a.example/ip:192.0.2.1+b.example/" + dir + "/certs/x/main/account/1"
	if c.Value("WELLKNOWN") != want || c.Value("HOOK") != "/hooks/main.sh" || c.Value("KEY_ALGO") != "rsa" || len(c.Warnings()) > 0 {
		t.Errorf("%q %q %q %q", c.Value("WELLKNOWN"), c.Value("HOOK"), c.Value("KEY_ALGO"), c.Warnings())
	}
	if c := certificate(t, s, "x"); !strings.HasPrefix(c.Value("WELLKNOWN"), dir+"/x///") {
		t.Errorf("%q", c.Value("WELLKNOWN"))
	}
}

func TestCertificateConfigIgnores(t *testing.T) {
	text := "CA=other\nCONTACT_EMAIL=a@b.example\nHOKO=/x\nused=rsa\nKEY_ALGO=$used\nunused=1\nexport DNS_TOKEN=secret\nexport KEYSIZE=3072\nunset RENEW_DAYS\nunset GONE\necho words >&2\n"
	file := map[string]string{"config": "RENEW_DAYS=20\nCONTACT_EMAIL=main@b.example\nexport GONE=1\n", "certs/x/config": text}
	for _, c := range []struct {
		name       string
		dehydrated bool
		warnings   []string
		env, none  string
	}{
		{"native", false, []string{
			`: wrote to standard error: "words"`,
			":1: CA has no effect in a certificate's config",
			":2: CONTACT_EMAIL has no effect in a certificate's config",
			":3: HOKO has no effect in a certificate's config; the nearest setting is HOOK",
			":6: unused has no effect in a certificate's config",
		}, "DNS_TOKEN=secret", "GONE=1"},
		{"dehydrated's mode", true, []string{
			`: wrote to standard error: "words"`,
			":1: CA has no effect in a certificate's config",
			":2: CONTACT_EMAIL has no effect in a certificate's config",
			":7: DNS_TOKEN has no effect in a certificate's config",
			":10: GONE has no effect in a certificate's config",
			":3: HOKO has no effect in a certificate's config; the nearest setting is HOOK",
			":6: unused has no effect in a certificate's config",
		}, "GONE=1", "DNS_TOKEN=secret"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := writeFiles(t, file)
			s := mustLoad(t, Options{File: "config", Dir: dir, Dehydrated: c.dehydrated})
			own := certificate(t, s, "x")
			var want []string
			for _, w := range c.warnings {
				want = append(want, dir+"/certs/x/config"+w)
			}
			if got := own.Warnings(); !slices.Equal(got, want) {
				t.Errorf("warnings\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if own.Value("CA") != "letsencrypt" || own.Value("CONTACT_EMAIL") != "main@b.example" || own.Value("KEY_ALGO") != "rsa" || own.Value("KEYSIZE") != "3072" || own.Value("RENEW_DAYS") != "20" {
				t.Error(own.values)
			}
			env := own.HookEnv()
			if !slices.Contains(env, c.env) || slices.Contains(env, c.none) {
				t.Errorf("hooks find %q, want %s and not %s", env, c.env, c.none)
			}
			if env := s.HookEnv(); slices.Contains(env, "DNS_TOKEN=secret") || !slices.Contains(env, "GONE=1") {
				t.Errorf("other hooks find %q", env)
			}
			if len(s.Warnings()) > 0 {
				t.Error(s.Warnings())
			}
		})
	}
}

func TestCertificateConfigIsEvaluatedByBashToo(t *testing.T) {
	dir := writeFiles(t, map[string]string{"config": "", "certs/x/config": "eval KEYSIZE=3072\nprintf -v KEY_ALGO rsa\numask 027\n"})
	c := certificate(t, mustLoad(t, Options{File: "config", Dir: dir}), "x")
	if c.Value("KEYSIZE") != "3072" || c.Value("KEY_ALGO") != "rsa" || c.Origin("KEYSIZE").Kind != CertificateKind || c.Origin("KEY_ALGO").File != dir+"/certs/x/config" {
		t.Errorf("%+v %+v", c.at("KEYSIZE"), c.at("KEY_ALGO"))
	}
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "umask has no effect") {
		t.Errorf("%q", w)
	}
	if _, ok := c.Umask(); ok {
		t.Error("a umask for one certificate")
	}
}

func TestCertificateConfigWrong(t *testing.T) {
	for _, c := range []struct {
		text, what string
		line       int
	}{
		{"\nKEY_ALGO=ecdsa\n", `KEY_ALGO="ecdsa": not one of`, 2},
		{"eval KEY_ALGO=ecdsa\n", `KEY_ALGO="ecdsa": not one of`, 1},
		{"HOOK=(a b)\n", "HOOK is an array", 1},
		{"\n\nif\n", "syntax error", 3},
		{"\nexit 3\n", "exit 3: a certificate's config cannot end the program", 2},
		{"eval :\nexit 0\n", "exit 0: a certificate's config cannot end the program", 2},
		{"KEY_ALGO=$missing\n", "missing", 1},
		{"KEYSIZE=2048\r\n", "CR LF", 1},
		{"run() { :; }\nHOOK=run\n", "a function of a certificate's config cannot be the hook", 2},
	} {
		dir := writeFiles(t, map[string]string{"config": "", "certs/x/config": c.text})
		s := mustLoad(t, Options{File: "config", Dir: dir})
		_, err := s.ForCertificate(context.Background(), "x", nil)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.what) || e.File != dir+"/certs/x/config" || e.Line != c.line || e.Exited {
			t.Errorf("%q: %v", c.text, err)
		}
	}
}

// dehydrated reads it where errexit does nothing.
func TestCertificateConfigCommandsMayFail(t *testing.T) {
	for _, how := range []string{"", "eval :\n"} { // in the process, and by bash
		dir := writeFiles(t, map[string]string{
			"config":         "",
			"certs/x/config": how + "false\nKEYSIZE=$(echo 3072; false)\n. ./nothing-there\n[ -e /nowhere ] && KEYSIZE=1\n[[ $alias == y ]] && KEY_ALGO=rsa\n",
			"certs/y/config": how + "if false; then KEYSIZE=1; fi\nfalse && KEYSIZE=2\n",
			"certs/z/config": how + "set -e\nfalse\nKEYSIZE=2\n",
		})
		s := mustLoad(t, Options{File: "config", Dir: dir})
		if c := certificate(t, s, "x"); c.Value("KEYSIZE") != "3072" || c.Set("KEY_ALGO") || len(c.Warnings()) != 1 || !strings.Contains(c.Warnings()[0], "nothing-there") {
			t.Errorf("%q: %q, %q", how, c.Value("KEYSIZE"), c.Warnings())
		}
		if c := certificate(t, s, "y"); c.Set("KEYSIZE") {
			t.Errorf("%q: %q", how, c.Value("KEYSIZE"))
		}
		if _, err := s.ForCertificate(context.Background(), "z", nil); err == nil {
			t.Errorf("%q: errexit of its own does nothing", how)
		}
	}
}

func TestCertificateConfigOfOthers(t *testing.T) {
	dir := writeFiles(t, map[string]string{"config": "run() { :; }\n", "certs/x/config": "HOOK=run\n"})
	file := dir + "/certs/x/config"
	s := mustLoad(t, Options{File: "config", Dir: dir})
	lax := mustLoad(t, Options{File: "config", Dir: dir, Dehydrated: true})
	if !certificate(t, s, "x").HookFunction() {
		t.Error("a function of the config file is no hook")
	}
	check := func(s *Settings, what string) {
		t.Helper()
		_, err := s.ForCertificate(context.Background(), "x", nil)
		var e *Error
		if !errors.As(err, &e) || e.File != file || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %q", err, what)
		}
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	check(s, "can be written by everybody")
	check(lax, "can be written by everybody")
	if os.Geteuid() == 0 {
		os.Chmod(file, 0o664)
		os.Chown(file, -1, 4711)
		check(s, "can be written by a group (gid 4711)")
		if w := certificate(t, lax, "x").Warnings(); len(w) != 1 || !strings.HasPrefix(w[0], file+": can be written by a group") || len(lax.Warnings()) > 0 {
			t.Errorf("%q", w)
		}
	}
	os.Remove(file)
	if err := os.Mkdir(file, 0o755); err != nil {
		t.Fatal(err)
	}
	check(s, "is a directory")
	os.Remove(file)
	if err := os.Symlink("nowhere", file); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ForCertificate(context.Background(), "x", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a link that leads nowhere:", err)
	}
}

func TestCertificateConfigsSideBySide(t *testing.T) {
	files := map[string]string{"config": "OCSP_DAYS=1\nexport A=1\n"}
	for i := range 20 {
		files[fmt.Sprintf("certs/%d/config", i)] = fmt.Sprintf("KEYSIZE=%d\nexport B=%d\nCA=x\n", 3000+i, i)
	}
	s := mustLoad(t, Options{File: "config", Dir: writeFiles(t, files)})
	t.Run("all", func(t *testing.T) {
		for i := range 20 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				c := certificate(t, s, fmt.Sprint(i), "a.example")
				if c.Value("KEYSIZE") != fmt.Sprint(3000+i) || !slices.Contains(c.HookEnv(), fmt.Sprintf("B=%d", i)) || len(c.Warnings()) != 1 {
					t.Error(c.Value("KEYSIZE"), c.HookEnv(), c.Warnings())
				}
			})
		}
	})
	if s.Value("KEYSIZE") != "4096" || len(s.Warnings()) > 0 {
		t.Error(s.Value("KEYSIZE"), s.Warnings())
	}
}

func TestPerCertificateSettingsAreKnown(t *testing.T) {
	list := PerCertificate()
	if !slices.IsSorted(list) || len(list) != 18 {
		t.Errorf("%d: %q", len(list), list)
	}
	for _, name := range list {
		if !slices.ContainsFunc(Known(), func(s Setting) bool { return s.Name == name }) {
			t.Errorf("%s is no setting", name)
		}
	}
}

func TestNoCertificateConfigCostsLittle(t *testing.T) {
	dir := writeFiles(t, map[string]string{"config": ""})
	s := mustLoad(t, Options{File: "config", Dir: dir})
	if n := testing.AllocsPerRun(100, func() { certificate(t, s, "x") }); n > 12 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkForCertificate(b *testing.B) {
	dir := b.TempDir()
	text := "KEY_ALGO=rsa\nHOOK=$BASEDIR/hook\n"
	if err := errors.Join(os.MkdirAll(dir+"/certs/with", 0o755), os.WriteFile(dir+"/certs/with/config", []byte(text), 0o644), os.WriteFile(dir+"/config", nil, 0o644)); err != nil {
		b.Fatal(err)
	}
	s, err := Load(context.Background(), Options{File: filepath.Join(dir, "config"), Environ: os.Environ(), UID: os.Geteuid()})
	if err != nil {
		b.Fatal(err)
	}
	for _, alias := range []string{"without", "with"} {
		b.Run(alias, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.ForCertificate(context.Background(), alias, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
