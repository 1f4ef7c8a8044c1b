package config

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func load(t *testing.T, o Options) (*Settings, error) {
	t.Helper()
	if o.Environ == nil {
		o.Environ = []string{"PATH=/usr/bin:/bin", "HOME=/home/u"}
	}
	o.UID = os.Geteuid()
	return Load(context.Background(), o)
}

func mustLoad(t *testing.T, o Options) *Settings {
	t.Helper()
	s, err := load(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDefaultsWithoutConfig(t *testing.T) {
	closed := filepath.Join(t.TempDir(), "another user's")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	nobody, err := user.LookupId("65534")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		uid     int
		environ []string
		base    string
	}{
		{"root", 0, []string{"HOME=/root"}, "/var/lib/arid"},
		{"user", 1000, []string{"HOME=/home/u"}, "/home/u/.local/state/arid"},
		{"user with the HOME of another, as s6-setuidgid leaves it", 65534, []string{"HOME=" + closed}, nobody.HomeDir + "/.local/state/arid"},
		{"user without HOME", 65534, nil, nobody.HomeDir + "/.local/state/arid"},
		{"user with a state directory", 1000, []string{"HOME=/home/u", "XDG_STATE_HOME=/s"}, "/s/arid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Load(context.Background(), Options{UID: c.uid, Environ: c.environ, root: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]string{
				"BASEDIR": c.base, "CERTDIR": c.base + "/certs", "ACCOUNTDIR": c.base + "/accounts", "ALPNCERTDIR": c.base + "/alpn-certs",
				"DOMAINS_TXT": c.base + "/domains.txt", "LOCKFILE": c.base + "/lock", "WELLKNOWN": "/var/www/dehydrated",
				"CA": "letsencrypt", "KEY_ALGO": "prime256v1", "ACCOUNT_KEY_ALGO": "prime256v1", "CHALLENGETYPE": "http-01", "HOOK": "", "RENEW_DAYS": "",
			} {
				if got := s.Value(name); got != want || s.Set(name) || s.Origin(name).Kind != "default" {
					t.Errorf("%s is %q, set %v, by %v; want %q by default", name, got, s.Set(name), s.Origin(name), want)
				}
			}
			if s.File() != "" || len(s.Warnings()) > 0 || s.Bool("HOOK_CHAIN") || !s.Bool("PRIVATE_KEY_RENEW") || s.HookFunction() {
				t.Error("not the defaults", s.File(), s.Warnings())
			}
			if d := s.Duration("HOOK_TIMEOUT"); d != time.Hour {
				t.Error(d, err)
			}
			if n := s.Int("KEEP_VERSIONS"); n != 3 {
				t.Error(n, err)
			}
		})
	}
	if _, err := Load(context.Background(), Options{UID: 1 << 30, Environ: []string{}, root: t.TempDir()}); err == nil {
		t.Error("no error without HOME, for a user whom nobody knows")
	}
}

func TestSearch(t *testing.T) {
	root := writeFiles(t, map[string]string{
		"home/.config/arid/config": "CONTACT_EMAIL=home@example.org\n",
		"etc/arid/config":          "CONTACT_EMAIL=arid@example.org\n",
		"etc/dehydrated/config":    "CONTACT_EMAIL=dehydrated@example.org\n",
		"own":                      "CONTACT_EMAIL=own@example.org\n",
		"flag":                     "CONTACT_EMAIL=flag@example.org\n",
	})
	uid := os.Geteuid()
	environ := []string{"HOME=" + root + "/home", "PATH=/bin"}
	check := func(o Options, want, base string) {
		t.Helper()
		o.root, o.UID, o.Dir = root, uid, root
		if o.Environ == nil {
			o.Environ = environ
		}
		s, err := Load(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if s.Value("CONTACT_EMAIL") != want+"@example.org" || s.Value("BASEDIR") != base || !filepath.IsAbs(s.File()) {
			t.Errorf("%q with BASEDIR %q from %q, want %q with %q", s.Value("CONTACT_EMAIL"), s.Value("BASEDIR"), s.File(), want, base)
		}
	}
	native := "/var/lib/arid"
	if uid != 0 {
		native = root + "/home/.local/state/arid"
		check(Options{}, "home", native)
		os.Remove(root + "/home/.config/arid/config")
	}
	check(Options{}, "arid", native)
	check(Options{Environ: append(environ, "ARID_CONFIG=own")}, "own", root)
	check(Options{Environ: append(environ, "ARID_CONFIG=own"), File: "flag"}, "flag", root)
	os.Remove(root + "/etc/arid/config")
	check(Options{}, "dehydrated", root+"/etc/dehydrated")

	_, err := Load(context.Background(), Options{File: "missing", Dir: root, UID: uid, Environ: environ})
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, fs.ErrNotExist) {
		t.Error("a --config that is not there:", err)
	}
}

func TestPackagedConfig(t *testing.T) {
	dir, err := filepath.Abs("testdata/packaged")
	if err != nil {
		t.Fatal(err)
	}
	s := mustLoad(t, Options{File: filepath.Join(dir, "config"), Dir: dir, Command: "sign_domains"})
	for name, want := range map[string]string{
		"BASEDIR": "/var/lib/dehydrated", "WELLKNOWN": "/var/lib/dehydrated/acme-challenges", "DOMAINS_TXT": "/etc/dehydrated/domains.txt",
		"CERTDIR": "/var/lib/dehydrated/certs", "CONTACT_EMAIL": "hostmaster@example.org", "HOOK": "/var/lib/dehydrated/hook.sh",
	} {
		if s.Value(name) != want {
			t.Errorf("%s=%q, want %q", name, s.Value(name), want)
		}
	}
	if o := s.Origin("WELLKNOWN"); o != (Origin{Kind: "file", File: dir + "/config", Line: 6}) {
		t.Errorf("WELLKNOWN from %+v", o)
	}
	if o := s.Origin("HOOK"); o != (Origin{Kind: "CONFIG_D", File: dir + "/conf.d/10-local.sh", Line: 4}) {
		t.Errorf("HOOK from %+v", o)
	}
	env := s.HookEnv()
	for _, want := range []string{"DNS_TOKEN=abc", "CONFIG=" + dir + "/config", "COMMAND=sign_domains", "BASEDIR=/var/lib/dehydrated", "CERTDIR=/var/lib/dehydrated/certs",
		"ALPNCERTDIR=/var/lib/dehydrated/alpn-certs", "WELLKNOWN=/var/lib/dehydrated/acme-challenges", "HOME=/home/u"} {
		if !slices.Contains(env, want) {
			t.Errorf("hooks lack %s in %q", want, env)
		}
	}
	if len(s.Warnings()) > 0 {
		t.Error(s.Warnings())
	}
}

func TestDistributionConfig(t *testing.T) {
	const file = "/etc/dehydrated/config"
	if _, err := os.Stat(file); err != nil {
		t.Skip("dehydrated is not installed")
	}
	s := mustLoad(t, Options{File: file})
	if s.Value("CERTDIR") != s.Value("BASEDIR")+"/certs" || len(s.Warnings()) > 0 {
		t.Error(s.Value("BASEDIR"), s.Value("CERTDIR"), s.Warnings())
	}
}

func TestPrecedence(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"config":          "CONFIG_D=conf.d\nA=1\nKEYSIZE=2048 KEEP_VERSIONS=2 RENEW_DAYS=20 OCSP_DAYS=2 PARALLEL=2\nHELPER=main\nEAB_KID=file",
		"conf.d/a.sh":     "KEEP_VERSIONS=3 RENEW_DAYS=30 OCSP_DAYS=3 PARALLEL=3\n",
		"acc/x/config":    "RENEW_DAYS=40 OCSP_DAYS=4 PARALLEL=4\nexport FROM_ACCOUNT=$HELPER\nCA=other\n",
		"account/x":       "",
		"wrong/x/config":  "PARALLEL=many\n",
		"broken/x/config": "\nfalse\n",
	})
	s := mustLoad(t, Options{File: "config", Dir: dir,
		Environ: []string{"PATH=/bin", "ARID_OCSP_DAYS=5", "ARID_PARALLEL=5", "EAB_KID=plain", "EAB_HMAC_KEY=secret", "KEYSIZE=8192"},
		Flags:   map[string]string{"PARALLEL": "6"}})
	if err := s.LoadAccountConfig(context.Background(), "account/none"); err != nil {
		t.Fatal(err)
	}
	if err := s.LoadAccountConfig(context.Background(), filepath.Join(dir, "acc/x")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]string{
		"KEYSIZE": {"2048", "file"}, "KEEP_VERSIONS": {"3", "CONFIG_D"}, "RENEW_DAYS": {"40", "account config"},
		"OCSP_DAYS": {"5", "environment"}, "PARALLEL": {"6", "flag"}, "KEY_ALGO": {"prime256v1", "default"},
		"EAB_KID": {"file", "file"}, "EAB_HMAC_KEY": {"secret", "environment"}, "CA": {"letsencrypt", "default"},
	} {
		if s.Value(name) != want[0] || s.Origin(name).Kind != want[1] || s.Set(name) != (want[1] != "default") {
			t.Errorf("%s=%q by %+v, want %q by %s", name, s.Value(name), s.Origin(name), want[0], want[1])
		}
	}
	env := s.HookEnv()
	if !slices.Contains(env, "FROM_ACCOUNT=main") {
		t.Errorf("no FROM_ACCOUNT=main in %q", env)
	}
	if !slices.Contains(env, "KEYSIZE=2048") { // was in the environment, so a shell exports it on
		t.Errorf("no KEYSIZE=2048 in %q", env)
	}
	if w := strings.Join(s.Warnings(), "\n"); !strings.Contains(w, "acc/x/config:3: CA has no effect") {
		t.Error("warnings:", w)
	}
	var e *Error
	if err := s.LoadAccountConfig(context.Background(), filepath.Join(dir, "broken/x")); !errors.As(err, &e) || e.Line != 2 {
		t.Error(err)
	}
	s = mustLoad(t, Options{File: "config", Dir: dir})
	if err := s.LoadAccountConfig(context.Background(), filepath.Join(dir, "wrong/x")); !errors.As(err, &e) || e.Line != 1 || e.File != dir+"/wrong/x/config" {
		t.Error(err)
	}
}

func TestBase(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"uses": "CERTDIR=$BASEDIR/c/\n", "sets": "BASEDIR=/from/file/\n",
	})
	for _, c := range []struct {
		name    string
		o       Options
		base    string
		certdir string
	}{
		{"the file's directory", Options{File: "uses"}, dir, dir + "/c/"},
		{"the file sets it", Options{File: "sets"}, "/from/file", "/from/file/certs"},
		{"--base is preset", Options{File: "uses", Base: "/given"}, "/given", "/given/c/"},
		{"--base wins after", Options{File: "sets", Base: "/given/"}, "/given", "/given/certs"},
		{"the environment is preset too", Options{File: "uses", Environ: []string{"PATH=/bin", "ARID_BASEDIR=/env"}}, "/env", "/env/c/"},
		{"root directory", Options{File: "sets", Base: "/"}, "/", "/certs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Dir = dir
			s := mustLoad(t, c.o)
			if s.Value("BASEDIR") != c.base || s.Value("CERTDIR") != c.certdir {
				t.Errorf("BASEDIR %q, CERTDIR %q", s.Value("BASEDIR"), s.Value("CERTDIR"))
			}
		})
	}
}

func TestWrongValues(t *testing.T) {
	for _, c := range []struct {
		config string
		env    string
		flag   string
		what   string
		line   int
	}{
		{config: "\nHOOK_CHAIN=true\n", what: `HOOK_CHAIN="true": neither yes nor no`, line: 2},
		{config: "KEY_ALGO=ecdsa\n", what: "prime256v1", line: 1},
		{config: "KEY_ALGO=rsa1024\n", what: "2048 to 8192", line: 1},
		{config: "KEYSIZE=12\n", what: "2048 to 8192", line: 1},
		{config: "CHALLENGETYPE=http\n", what: "http-01", line: 1},
		{config: "RENEW_DAYS=soon\n", what: "days", line: 1},
		{config: "RENEW_DAYS=100%\n", what: "between 1% and 99%", line: 1},
		{config: "RENEW_DAYS=0\n", what: "it would be renewed only when it has expired; 1 is a day before that", line: 1},
		{config: "RENEW_DAYS=0%\n", what: "between 1% and 99%", line: 1},
		{config: "RENEW_DAYS=36501\n", what: "not from 1 to 36500 days", line: 1},
		{config: "TIMEOUT=0\n", what: "no time at all", line: 1},
		{config: "\nKEY_GROUP=no-such-group\n", what: "no such group", line: 2},
		{config: "KEY_MODE=0644\n", what: "everybody", line: 1},
		{config: "KEY_MODE=rw\n", what: "file mode", line: 1},
		{config: "HOOK_TIMEOUT=long\n", what: "duration", line: 1},
		{config: "CONTACT_EMAIL=me\n", what: `"me"`, line: 1},
		{config: "API=1\n", what: "gone", line: 1},
		{config: "IP_VERSION=5\n", what: "4, 6", line: 1},
		{config: "\n\nHOOK=(a b)\n", what: "HOOK is an array", line: 3},
		{config: "eval HOOK_CHAIN=maybe\n", what: `HOOK_CHAIN="maybe"`, line: 1},
		{env: "ARID_PARALLEL=0", what: `ARID_PARALLEL="0"`},
		{flag: "soon", what: `--renew-days "soon"`},
	} {
		dir := writeFiles(t, map[string]string{"config": c.config})
		o := Options{File: "config", Dir: dir, Environ: []string{"PATH=/usr/bin:/bin", c.env}}
		if c.flag != "" {
			o.Flags = map[string]string{"RENEW_DAYS": c.flag}
		}
		_, err := load(t, o)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.what) || e.Line != c.line || e.Flag != (c.flag != "") || (c.config != "") != (e.File == dir+"/config") {
			t.Errorf("%q %q: %+v", c.config, c.env, err)
		}
	}
	for _, good := range []string{"HOOK_CHAIN=", "RENEW_DAYS=30d", "RENEW_DAYS=33%", "HOOK_TIMEOUT=0", "TIMEOUT=90", "KEY_GROUP=root", "KEY_GROUP=4711", "KEY_MODE=640", "KEY_ALGO=RSA4096", "KEYSIZE=", "CONTACT_EMAIL='a@b.c, d@e.f'"} {
		dir := writeFiles(t, map[string]string{"config": good})
		if _, err := load(t, Options{File: "config", Dir: dir}); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func TestEmptyIsTheDefault(t *testing.T) {
	dir := writeFiles(t, map[string]string{"config": "HOOK=/from/file\nKEYSIZE=3072\n"})
	s := mustLoad(t, Options{File: "config", Dir: dir, Environ: []string{"PATH=/bin", "ARID_HOOK=", "ARID_KEYSIZE="}})
	if s.Value("HOOK") != "" || s.Value("KEYSIZE") != "4096" || s.Set("HOOK") {
		t.Error(s.Value("HOOK"), s.Value("KEYSIZE"))
	}
}

func TestUnknownSettings(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"config": "HOKO=/x\nRENEW_DAY=3\nRENEW_WITHIN=3\nPDNS_KEY=used-by-a-hook-that-sources-this\nlower=1\nexport WELKNOWN=mine\nHOOKS=/h\nHOOK=$HOOKS/run\n" +
			"f() { ( echo $CERTDIRS ) & }\nCERTDIRS=x\nWELLKNOWN_DIR=y\n",
		"viabash": "eval :\nHOKO=/x\nHOOKS=/h\nHOOK=$HOOKS/run\nexport WELKNOWN=mine\n",
	})
	environ := []string{"PATH=/usr/bin:/bin", "ARID_CONFIG=x", "ARID_CERTDIRR=/c", "ARID_HOOK_NAME=x", "ARID_HOOK_TIMEOUT=3"}
	s := mustLoad(t, Options{File: "config", Dir: dir, Environ: environ})
	want := []string{
		dir + "/config:1: unknown setting HOKO; the nearest is HOOK",
		dir + "/config:2: unknown setting RENEW_DAY; the nearest is RENEW_DAYS",
		dir + "/config:3: unknown setting RENEW_WITHIN; the nearest is RENEW_DAYS",
		dir + "/config:11: unknown setting WELLKNOWN_DIR; the nearest is WELLKNOWN",
		"ARID_CERTDIRR: unknown setting; the nearest is ARID_CERTDIR",
		"ARID_HOOK_TIMEOUT: not read: ARID_HOOK_… is what hooks are told; set HOOK_TIMEOUT in the config file",
	}
	if got := s.Warnings(); !slices.Equal(got, want) {
		t.Errorf("warnings\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if d := s.Duration("HOOK_TIMEOUT"); d != time.Hour {
		t.Error("ARID_HOOK_TIMEOUT was read")
	}
	s = mustLoad(t, Options{File: "viabash", Dir: dir})
	if got := s.Warnings(); !slices.Equal(got, []string{dir + "/viabash:2: unknown setting HOKO; the nearest is HOOK"}) {
		t.Errorf("by bash: %q", got)
	}
}

func TestHookEnvironment(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"config": "export EAB_HMAC_KEY=c2VjcmV0 TOKEN=t HOOK_CHAIN=no\nPRIVATE=1\nunset GONE\nCHANGED=new\nHOOK=act\nact() { coproc x; }\n",
	})
	s := mustLoad(t, Options{File: "config", Dir: dir, Command: "sign_domains", Flags: map[string]string{"CERTDIR": "/given", "HOOK_CHAIN": "yes"},
		Environ: []string{"PATH=/bin", "KEEP=1", "GONE=1", "CHANGED=old", "ARID_EAB_HMAC_KEY=b3RoZXI", "ARID_CERTDIR=/env", "CONFIG=elsewhere", "odd%name=x"}})
	if s.Value("EAB_HMAC_KEY") != "b3RoZXI" || !s.HookFunction() {
		t.Error(s.Value("EAB_HMAC_KEY"), s.HookFunction())
	}
	got := s.HookEnv()
	slices.Sort(got)
	want := []string{"ALPNCERTDIR=" + dir + "/alpn-certs", "ARID_CERTDIR=/env", "BASEDIR=" + dir, "CERTDIR=/given", "CHANGED=new", "COMMAND=sign_domains",
		"CONFIG=" + dir + "/config", "HOOK_CHAIN=yes", "KEEP=1", "PATH=/bin", "TOKEN=t", "WELLKNOWN=/var/www/dehydrated", "odd%name=x"}
	if !slices.Equal(got, want) {
		t.Errorf("environment\n%q\nwant\n%q", got, want)
	}
	if s, err := Load(context.Background(), Options{UID: 0, Environ: []string{"CONFIG=stray", "EAB_HMAC_KEY=x"}, root: t.TempDir()}); err != nil || slices.ContainsFunc(s.HookEnv(), func(kv string) bool {
		return strings.HasPrefix(kv, "CONFIG=") || strings.Contains(kv, "HMAC")
	}) {
		t.Error(err, s.HookEnv())
	}
}

func TestRefusedFiles(t *testing.T) {
	others := func(mode fs.FileMode) func(*testing.T, string) {
		return func(t *testing.T, f string) {
			if err := os.Chmod(f, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	owner := func(uid, gid int, mode fs.FileMode) func(*testing.T, string) {
		return func(t *testing.T, f string) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give files away")
			}
			os.Chmod(f, mode)
			if err := os.Chown(f, uid, gid); err != nil {
				t.Fatal(err)
			}
		}
	}
	cases := []struct {
		name       string
		spoil      func(*testing.T, string)
		what       string
		dehydrated bool // refused there too
	}{
		{"world-writable", others(0o666), "can be written by everybody", true},
		{"of another user", owner(65534, 0, 0o644), "another user (uid 65534)", false},
		{"writable by a group", owner(0, 65534, 0o664), "a group (gid 65534)", false},
		{"readable by a group", owner(0, 65534, 0o644), "", false},
		{"writable by root's group", owner(0, 0, 0o664), "", false},
		{"directory", func(t *testing.T, f string) { os.Remove(f); os.Mkdir(f, 0o755) }, "is a directory", true},
		{"fifo", func(t *testing.T, f string) {
			os.Remove(f)
			if err := syscall.Mkfifo(f, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file", true},
		{"too large", func(t *testing.T, f string) { os.WriteFile(f, make([]byte, maxFile+1), 0o644) }, "larger than", true},
		{"binary", func(t *testing.T, f string) { os.WriteFile(f, []byte("A=1\n\x00"), 0o644) }, "NUL", true},
		{"line ends of another system", func(t *testing.T, f string) { os.WriteFile(f, []byte("# x\nCA=letsencrypt\r\n"), 0o644) }, "CR LF", true},
	}
	for _, c := range cases {
		for _, which := range []string{"config", "conf.d/x.sh", "sourced", "acc/config"} {
			for _, shell := range []string{"", "eval :\n"} {
				t.Run(c.name+"/"+which+"/"+strings.Fields(shell + " -")[0], func(t *testing.T) {
					dir := writeFiles(t, map[string]string{"config": shell + "CONFIG_D=conf.d\n. ./sourced\n", "conf.d/x.sh": ":\n", "sourced": "RAN=1\n", "acc/config": ":\n"})
					c.spoil(t, filepath.Join(dir, which))
					run := func(dehydrated bool) (*Settings, error) {
						s, err := load(t, Options{File: "config", Dir: dir, Dehydrated: dehydrated})
						if err == nil {
							err = s.LoadAccountConfig(context.Background(), filepath.Join(dir, "acc"))
						}
						return s, err
					}
					_, err := run(false)
					var e *Error
					switch {
					case c.what == "" && err != nil:
						t.Error(err)
					case c.what != "" && (!errors.As(err, &e) || !strings.Contains(e.What, c.what) || e.File != filepath.Join(dir, which)):
						t.Errorf("error %v, want %q of %s", err, c.what, which)
					}
					s, err := run(true)
					if (err != nil) != c.dehydrated {
						t.Errorf("in dehydrated's mode: %v", err)
					}
					if err == nil && c.what != "" && !slices.ContainsFunc(s.Warnings(), func(w string) bool { return strings.Contains(w, c.what) }) {
						t.Error("no warning in dehydrated's mode")
					}
				})
			}
		}
	}
}

func TestRefusedSourceDoesNotRun(t *testing.T) {
	for _, text := range []string{". ./sourced\n", "eval :\n. ./sourced\n", "eval :\n. \"$PWD/sourced\"\n", "eval :\nA=$(. \"$PWD/sourced\")\n"} {
		dir := writeFiles(t, map[string]string{"config": text, "sourced": "mkdir made\n"})
		os.Chmod(filepath.Join(dir, "sourced"), 0o666)
		if _, err := load(t, Options{File: "config", Dir: dir}); err == nil {
			t.Error("no error")
		}
		if _, err := os.Stat(filepath.Join(dir, "made")); err == nil {
			t.Errorf("%q: a world-writable file was run", text)
		}
	}
}

func TestUnreadableIsPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	dir := writeFiles(t, map[string]string{"config": ":\n"})
	os.Chmod(filepath.Join(dir, "config"), 0)
	if _, err := load(t, Options{File: "config", Dir: dir}); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
}

func TestSyntaxError(t *testing.T) {
	dir := writeFiles(t, map[string]string{"config": "A=1\nif true; then\nB=2\n", "outer": "\n. ./inner\n", "inner": "A=1\n\nfor x in; (\n"})
	for file, want := range map[string]place{"config": {File: dir + "/config", Line: 2}, "outer": {File: dir + "/inner", Line: 3}} {
		for _, bash := range []string{"", "/nonexistent"} {
			_, err := load(t, Options{File: file, Dir: dir, Bash: bash})
			var e *Error
			if !errors.As(err, &e) || e.File != want.File || e.Line != want.Line || !strings.Contains(e.What, "syntax error") {
				t.Errorf("%s: %v, want %v", file, err, want)
			}
		}
	}
}

func TestWithoutBash(t *testing.T) {
	dir := writeFiles(t, map[string]string{"config": "A=1\n\numask 022\n", "sourcing": ". ./config\n"})
	for _, file := range []string{"config", "sourcing"} {
		_, err := load(t, Options{File: file, Dir: dir, Bash: "/nonexistent"})
		var e *Error
		if !errors.As(err, &e) || e.File != dir+"/config" || e.Line != 3 || !strings.Contains(e.What, `without bash, which is not installed: "umask"`) {
			t.Error(err)
		}
	}
}

// What dehydrated does to itself by its config: arid is not the shell that reads it.
func TestConfigDoesToTheShell(t *testing.T) {
	dir := writeFiles(t, map[string]string{"config": "cd /\nexec 2>/dev/null\nA=$(cd /usr; pwd)\n[ -z \"\" ] && ulimit -n 64\nrun() { cd /; }\nHOOK=run\n"})
	s := mustLoad(t, Options{File: "config", Dir: dir})
	want := []string{":1: cd", ":2: exec", ":4: ulimit"}
	for i := range want {
		want[i] = dir + "/config" + want[i] + " has no effect outside the config"
	}
	if !slices.Equal(s.Warnings(), want) {
		t.Errorf("%q", s.Warnings())
	}
}

func TestUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077)) // as Main does it
	for text, want := range map[string]int{"umask 027": 0o027, "umask 0077": 0o077, "umask u=rwx,g=rx,o=": 0o027, "umask 007": 0o007, "umask 022": 0o027, "umask 0137": 0o037, "umask 0": 0o007} {
		dir := writeFiles(t, map[string]string{"config": text + "\n"})
		s := mustLoad(t, Options{File: "config", Dir: dir})
		if mask, ok := s.Umask(); mask != want || !ok && want != 0o077 {
			t.Errorf("%s: %03o %v", text, mask, ok)
		}
		told := strings.HasPrefix(strings.Join(s.Warnings(), ""), dir+"/config: umask ")
		if told != slices.Contains([]string{"umask 022", "umask 0137", "umask 0"}, text) {
			t.Errorf("%s: %q", text, s.Warnings())
		}
	}
	dir := writeFiles(t, map[string]string{"config": "A=1\n"})
	if _, ok := mustLoad(t, Options{File: "config", Dir: dir}).Umask(); ok {
		t.Error("a umask that nobody set")
	}
}

func TestExitInConfig(t *testing.T) {
	dir := writeFiles(t, map[string]string{"config": "exit 3\n"})
	_, err := load(t, Options{File: "config", Dir: dir})
	var e *Error
	if !errors.As(err, &e) || !e.Exited || e.Status != 3 {
		t.Error(err)
	}
}

func TestSaidOnStandardError(t *testing.T) {
	dir := writeFiles(t, map[string]string{"config": "echo careful >&2\n", "bash": "eval 'echo careful >&2'\n"})
	for _, file := range []string{"config", "bash"} {
		if w := mustLoad(t, Options{File: file, Dir: dir}).Warnings(); len(w) != 1 || !strings.Contains(w[0], `"careful"`) {
			t.Errorf("%s: %q", file, w)
		}
	}
}

func TestEndlessConfig(t *testing.T) {
	dir := writeFiles(t, map[string]string{"loop": "while true; do :; done\n", "sleep": "A=1\nB=$(sleep 1000)\n", "circle": "\n. ./circle\n"})
	for _, bash := range []bool{false, true} {
		for _, file := range []string{"loop", "sleep"} {
			sh := testShell(t, dir)
			sh.Timeout = 300 * time.Millisecond
			ctx, cancel := context.WithTimeout(context.Background(), sh.Timeout)
			defer cancel()
			var err error
			if bash {
				path := sh.findBash()
				if path == "" {
					continue
				}
				_, err = sh.inBash(ctx, path, filepath.Join(dir, file))
			} else {
				_, err = sh.inProcess(ctx, filepath.Join(dir, file))
			}
			var e *Error
			// Not a deadline of the CA's: trying later would not help.
			if !errors.As(err, &e) || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(e.What, "in time") {
				t.Errorf("%s, by bash %v: %v", file, bash, err)
			}
		}
	}
	_, err := testShell(t, dir).inProcess(context.Background(), filepath.Join(dir, "circle"))
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.What, "100 files") {
		t.Error(err)
	}
}

func TestLocationsAgree(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"config": "CA=letsencrypt-test\nif true; then\n  HOOK=/a\nelse\n  HOOK=/b\nfi\nset_size() {\n  KEYSIZE=$1\n}\nset_size 3072\nsource ./other\nexport WELLKNOWN=/w KEY_ALGO=prime256v1\n",
		"other":  "\n\nPARALLEL=2\n",
	})
	want := map[string]Origin{
		"CA": {Line: 1}, "HOOK": {Line: 3}, "KEYSIZE": {Line: 8}, "WELLKNOWN": {Line: 12}, "KEY_ALGO": {Line: 12}, "PARALLEL": {Line: 3, File: dir + "/other"},
	}
	for _, file := range []string{"config", "bash"} {
		if file == "bash" {
			text, _ := os.ReadFile(filepath.Join(dir, "config"))
			os.WriteFile(filepath.Join(dir, "bash"), append(text, "eval :\n"...), 0o644)
		}
		s := mustLoad(t, Options{File: file, Dir: dir})
		for name, o := range want {
			o.Kind = "file"
			if o.File == "" {
				o.File = filepath.Join(dir, file)
			}
			if got := s.Origin(name); got != o {
				t.Errorf("%s: %s from %+v, want %+v", file, name, got, o)
			}
		}
	}
}

func TestKnown(t *testing.T) {
	seen := map[string]bool{}
	flags := map[string]bool{}
	for _, s := range Known() {
		if seen[s.Name] || s.Flag != "" && flags[s.Flag] {
			t.Errorf("%s or --%s stands there twice", s.Name, s.Flag)
		}
		seen[s.Name], flags[s.Flag] = true, true
		if s.Help == "" || !settingName.MatchString(s.Name) && s.Name != "CA" {
			t.Errorf("%+v", s)
		}
		if err := s.valid(s.Default); err != nil {
			t.Errorf("%s: its default is wrong: %v", s.Name, err)
		}
	}
	if Known()[0].Name != "BASEDIR" {
		t.Error("BASEDIR must come first: others are derived from it")
	}
}

func TestDeepNesting(t *testing.T) {
	for name, text := range map[string]string{
		"brackets":      strings.Repeat("(", maxFile-1),
		"arithmetic":    "A=$((" + strings.Repeat("(", 24_000) + "1" + strings.Repeat(")", 24_000) + "))\n",
		"substitutions": "A=" + strings.Repeat("$(echo ", 2_000) + strings.Repeat(")", 2_000) + "\n",
		"conditions":    strings.Repeat("if :; then ", 50_000) + strings.Repeat(":; fi; ", 50_000),
		"list":          strings.Repeat(":&&", 40_000) + ":\n",
		"long list":     strings.Repeat(":&&", 300_000) + ":\n",
	} {
		dir := writeFiles(t, map[string]string{"config": text})
		if _, err := load(t, Options{File: "config", Dir: dir, Bash: "/nonexistent"}); err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("%s: %v", name, err)
			}
			t.Logf("%s: %v", name, cut(err.Error()))
		}
	}
}

// Who was made another user in somebody's closed folder cannot look at it.
func TestAWorkingDirectoryThatIsOutOfReach(t *testing.T) {
	root := writeFiles(t, map[string]string{"config": "CONTACT_EMAIL=a@example.org\n"})
	s, err := Load(context.Background(), Options{File: root + "/config", UID: os.Geteuid(), Dir: root + "/gone", Environ: []string{"HOME=" + root, "PATH=/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Value("CONTACT_EMAIL"); got != "a@example.org" {
		t.Errorf("%q", got)
	}
}
