package cmd

import (
	"bytes"
	"maps"
	"strings"
	"testing"
)

// TestDehydratedWords has a row for each word, and for each way they go together.
func TestDehydratedWords(t *testing.T) {
	cron := func(l dehydratedLine) dehydratedLine { l.command = "sign_domains"; return l }
	set := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	tests := []struct {
		words string // separated by blanks; "_" is the empty word, "~" a blank in a word
		want  dehydratedLine
	}{
		{"", dehydratedLine{command: "help"}},
		{"_", dehydratedLine{command: "help"}},
		{"--help", dehydratedLine{command: "help"}},
		{"-h", dehydratedLine{command: "help"}},
		{"-4 --help --nonsense", dehydratedLine{command: "help", settings: set("IP_VERSION", "4")}},
		{"-c -h", dehydratedLine{command: "help"}},
		{"--version", dehydratedLine{command: "version"}},
		{"-v", dehydratedLine{command: "version"}},
		{"--env", dehydratedLine{command: "env"}},
		{"-e", dehydratedLine{command: "env"}},
		{"--register", dehydratedLine{command: "register"}},
		{"--account", dehydratedLine{command: "account"}},
		{"--display-terms", dehydratedLine{command: "terms"}},
		{"--cron", cron(dehydratedLine{})},
		{"-c", cron(dehydratedLine{})},
		{"--signcsr x.csr", dehydratedLine{command: "sign_csr", file: "x.csr"}},
		{"-s x.csr", dehydratedLine{command: "sign_csr", file: "x.csr"}},
		{"--revoke cert.pem", dehydratedLine{command: "revoke", file: "cert.pem"}},
		{"-r cert.pem", dehydratedLine{command: "revoke", file: "cert.pem"}},
		{"--deactivate", dehydratedLine{command: "deactivate"}},
		{"--cleanup", dehydratedLine{command: "cleanup"}},
		{"-gc", dehydratedLine{command: "cleanup"}},
		{"--cleanup-delete", dehydratedLine{command: "cleanupdelete"}},
		{"-gcd", dehydratedLine{command: "cleanupdelete"}},

		{"-c --accept-terms", cron(dehydratedLine{acceptTerms: true})},
		{"-s x --full-chain", dehydratedLine{command: "sign_csr", file: "x", fullChain: true}},
		{"-fc -s x", dehydratedLine{command: "sign_csr", file: "x", fullChain: true}},
		{"-c --ipv4", cron(dehydratedLine{settings: set("IP_VERSION", "4")})},
		{"-c -4", cron(dehydratedLine{settings: set("IP_VERSION", "4")})},
		{"-c --ipv6", cron(dehydratedLine{settings: set("IP_VERSION", "6")})},
		{"-c -4 -6", cron(dehydratedLine{settings: set("IP_VERSION", "6")})},
		{"-c --domain a", cron(dehydratedLine{domains: "a"})},
		{"-d a -c -d b", cron(dehydratedLine{domains: "a b"})},
		{"-c -d a~b~*.c -d d~>~e", cron(dehydratedLine{domains: "a b *.c d > e"})},
		{"-c --ca letsencrypt-test", cron(dehydratedLine{settings: set("CA", "letsencrypt-test")})},
		{"-c --alias x", cron(dehydratedLine{alias: "x"})},
		{"-c --keep-going", cron(dehydratedLine{settings: set("KEEP_GOING", "yes")})},
		{"-g -c", cron(dehydratedLine{settings: set("KEEP_GOING", "yes")})},
		{"-c --force", cron(dehydratedLine{force: true})},
		{"-c -x", cron(dehydratedLine{force: true})},
		{"-c -x --force-validation", cron(dehydratedLine{force: true, forceValidation: true})},
		{"-c --no-lock", cron(dehydratedLine{noLock: true})},
		{"-c -n", cron(dehydratedLine{noLock: true})},
		{"-c --lock-suffix x", cron(dehydratedLine{lockSuffix: "x"})},
		{"-c --ocsp", cron(dehydratedLine{settings: set("OCSP_MUST_STAPLE", "yes")})},
		{"-c --privkey k", cron(dehydratedLine{settings: set("ACCOUNT_KEY", "k")})},
		{"-c -p k", cron(dehydratedLine{settings: set("ACCOUNT_KEY", "k")})},
		{"-c --domains-txt f", cron(dehydratedLine{settings: set("DOMAINS_TXT", "f")})},
		{"-c --config f", cron(dehydratedLine{config: "f"})},
		{"-c -f f -f g", cron(dehydratedLine{config: "g"})},
		{"-c --hook h", cron(dehydratedLine{settings: set("HOOK", "h")})},
		{"-c -k h -k i", cron(dehydratedLine{settings: set("HOOK", "i")})},
		{"-c --preferred-chain X~Y", cron(dehydratedLine{settings: set("PREFERRED_CHAIN", "X Y")})},
		{"-c --out d", cron(dehydratedLine{settings: set("CERTDIR", "d")})},
		{"-c -o d", cron(dehydratedLine{settings: set("CERTDIR", "d")})},
		{"-c --alpn d", cron(dehydratedLine{settings: set("ALPNCERTDIR", "d")})},
		{"-c --challenge dns-01", cron(dehydratedLine{settings: set("CHALLENGETYPE", "dns-01")})},
		{"-c -t dns-persist-01", cron(dehydratedLine{settings: set("CHALLENGETYPE", "dns-persist-01")})},
		{"-c --algo rsa", cron(dehydratedLine{settings: set("KEY_ALGO", "rsa")})},
		{"-c -a secp521r1", cron(dehydratedLine{settings: set("KEY_ALGO", "secp521r1")})},
		{"-c --acme-profile p", cron(dehydratedLine{settings: set("ACME_PROFILE", "p")})},
		{"-c --order-timeout 9", cron(dehydratedLine{settings: set("ORDER_TIMEOUT", "9")})},
		{"-c --validation-timeout 9", cron(dehydratedLine{settings: set("VALIDATION_TIMEOUT", "9")})},

		// Seen in the wild: packages, cron lines, other people's runners.
		{"--accept-terms --cron --keep-going", cron(dehydratedLine{acceptTerms: true, settings: set("KEEP_GOING", "yes")})},
		{"--cron --algo A --hook H --challenge dns-01 -d a -d b --out DIR --config F", cron(dehydratedLine{domains: "a b", config: "F",
			settings: set("KEY_ALGO", "A", "HOOK", "H", "CHALLENGETYPE", "dns-01", "CERTDIR", "DIR")})},
		{"-t tls-alpn-01 --alpn DIR -c --out DIR -d D", cron(dehydratedLine{domains: "D", settings: set("CHALLENGETYPE", "tls-alpn-01", "ALPNCERTDIR", "DIR", "CERTDIR", "DIR")})},
		{"-e --config F", dehydratedLine{command: "env", config: "F"}},
	}
	for _, test := range tests {
		got, err := parseDehydrated(splitWords(test.words))
		if err != nil {
			t.Errorf("%s: %v", test.words, err)
			continue
		}
		settings, want := got.settings, test.want.settings
		got.settings, test.want.settings = nil, nil
		if !maps.Equal(settings, want) || !sameLine(got, &test.want) {
			t.Errorf("%s: %+v with %v, want %+v with %v", test.words, *got, settings, test.want, want)
		}
	}
}

// sameLine compares all but the settings.
func sameLine(a, b *dehydratedLine) bool {
	return a.command == b.command && a.file == b.file && a.config == b.config && a.domains == b.domains && a.alias == b.alias &&
		a.acceptTerms == b.acceptTerms && a.fullChain == b.fullChain && a.force == b.force &&
		a.forceValidation == b.forceValidation && a.noLock == b.noLock && a.lockSuffix == b.lockSuffix
}

func splitWords(line string) []string {
	words := strings.Fields(line)
	for i, w := range words {
		words[i] = strings.NewReplacer("_", "", "~", " ").Replace(w)
	}
	return words
}

func TestDehydratedLinesThatCannotBeRun(t *testing.T) {
	help := dehydratedHelp("dehydrated")
	tests := []struct {
		words          string
		stdout, stderr string
	}{
		{"-4", help, ""},
		{"--accept-terms -d a", help, ""},
		{"--foo", "", "Unknown parameter detected: --foo\n\n" + help},
		{"renew -c", "", "Unknown parameter detected: renew\n\n" + help},
		{"-c _", "", "Unknown parameter detected: \n\n" + help},
		{"_ -c", "", "Unknown parameter detected: \n\n" + help},
		{"-c --config=f", "", "Unknown parameter detected: --config=f\n\n" + help},
		{"-cx", "", "Unknown parameter detected: -cx\n\n" + help},
		{"-c -gc", "", "ERROR: Only one command can be executed at a time. See help (-h) for more information.\n"},
		{"-c -c", "", "ERROR: Only one command can be executed at a time. See help (-h) for more information.\n"},
		{"-c -s", "", "ERROR: Only one command can be executed at a time. See help (-h) for more information.\n"},
		{"-s", "", "-s needs a value: FILE. See help:\n\n" + help},
		{"--revoke _", "", "--revoke needs a value: FILE. See help:\n\n" + help},
		{"-c -d", "", "-d needs a value: NAME. See help:\n\n" + help},
		{"-c -f _", "", "-f needs a value: FILE. See help:\n\n" + help},
		{"-c -d -x", "", "ERROR: Invalid argument: -x\n"},
		{"-s - -c", "", "ERROR: Invalid argument: -\n"},
		{"-r -x", "", "ERROR: Invalid argument: -x\n"},
		{"-c --ca a --ca b", "", "ERROR: CA can only be specified once!\n"},
		{"-c --alias a --alias a", "", "ERROR: Alias can only be specified once!\n"},
		{"--foo -h", "", "Unknown parameter detected: --foo\n\n" + help},
		{"-c --force-validation", "", "ERROR: Argument --force-validation can only be used in combination with --force (-x)\n"},
		{"-e --force-validation", "", "ERROR: Argument --force-validation can only be used in combination with --force (-x)\n"},
	}
	for _, test := range tests {
		l, err := parseDehydrated(splitWords(test.words))
		if err == nil {
			err = l.check()
		}
		wrong, ok := err.(*lineError)
		if !ok {
			t.Errorf("%s: %v, want a *lineError", test.words, err)
			continue
		}
		var stdout, stderr bytes.Buffer
		wrong.say(&stdout, &stderr, "dehydrated")
		if stdout.String() != test.stdout || stderr.String() != test.stderr {
			t.Errorf("%s: stdout %q, stderr %q, want %q, %q", test.words, &stdout, &stderr, test.stdout, test.stderr)
		}
	}
}

// Each value that a parameter takes is refused where it is missing, empty or
// looks like a parameter.
func TestDehydratedValues(t *testing.T) {
	for _, w := range dehydratedWords {
		for _, word := range []string{w.long, w.short} {
			if w.value == "" || word == "" {
				continue
			}
			for _, rest := range [][]string{nil, {""}, {"-y"}, {"--config"}} {
				if _, err := parseDehydrated(append([]string{word}, rest...)); err == nil {
					t.Errorf("%s %q is taken", word, rest)
				}
			}
		}
	}
}

func TestDehydratedHelpHasEachWord(t *testing.T) {
	help := dehydratedHelp("/usr/bin/dehydrated")
	for _, w := range dehydratedWords {
		for _, word := range []string{w.long, w.short} {
			if !strings.Contains(help, word) {
				t.Errorf("%s is not in it:\n%s", word, help)
			}
		}
	}
}

func FuzzParseDehydrated(f *testing.F) {
	for _, line := range []string{"-c\n-d\na b", "--ca\nx\n-e", "-gcd", "-s\n\n", "-h"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		l, err := parseDehydrated(strings.Split(line, "\n"))
		if (l == nil) == (err == nil) {
			t.Fatalf("%q: %v, %v", line, l, err)
		}
		if err == nil && l.command == "" {
			t.Fatalf("%q: no command", line)
		}
	})
}
