package cmd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheAccountsConfigIsWarnedAboutToo(t *testing.T) {
	w := newWorld(t)
	w.must(0, "register", "--accept-terms")
	folders, _ := filepath.Glob(filepath.Join(w.base, "accounts", "*"))
	if err := os.WriteFile(filepath.Join(folders[0], "config"), []byte("CA=zerossl\nRENEW_DAY=3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, talk := w.must(0, "config")
	for _, want := range []string{"config:1: CA has no effect", "config:2: unknown setting RENEW_DAY"} {
		if strings.Count(talk, want) != 1 {
			t.Errorf("%q, want %q once in it", talk, want)
		}
	}
}

func TestAMistakeInTheConfigIsToldWithItsLine(t *testing.T) {
	w := newWorld(t)
	w.env = []string{"HOME=" + w.dir, "PATH=" + os.Getenv("PATH"), "ARID_BASEDIR=" + w.base}
	w.domains("a.test")
	for _, tc := range []struct {
		status int
		line   string
		says   string
	}{
		{78, "HOOK=./no-such-hook", `hook "./no-such-hook": does not exist`},
		{78, "WELLKNOWN=/no-such-dir", `WELLKNOWN "/no-such-dir" does not exist`},
		{78, "CA=https://127.0.0.1:/directory", `CA "https://127.0.0.1:/directory": no good host in the URL`},
		{65, "CA_BUNDLE=/no-such-file", "CA_BUNDLE: open /no-such-file: no such file or directory"},
		{65, "CA_BUNDLE=/dev/null", "CA_BUNDLE: "},
		{78, "EAB_HMAC_KEY=c2VjcmV0", "EAB_HMAC_KEY: there is no EAB_KID beside it"},
		{78, "EAB_KID=kid", `EAB_KID="kid": there is no EAB_HMAC_KEY`},
	} {
		file := w.file("config", "CA="+w.ca.URL()+"\n"+tc.line+"\n", 0o600)
		for _, args := range [][]string{{"sign", "a.test"}, {"renew"}} {
			_, talk := w.must(tc.status, append(args, "-f", file)...)
			if want := file + ":2: " + tc.says; !strings.Contains(talk, want) {
				t.Errorf("%s, %s: %q, want %q", tc.line, args[0], talk, want)
			}
		}
	}
}
