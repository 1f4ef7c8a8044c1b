package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/user"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind says how a setting's text is checked and read.
type Kind string

// The kinds of settings. A Bool is yes or no. A Duration is Go's (90s, 10m,
// 1h30m) or a plain number of seconds.
const (
	Word     Kind = "word"
	Path     Kind = "path"
	Bool     Kind = "yes|no"
	Integer  Kind = "number"
	Duration Kind = "duration"
)

// Setting is one row of the table of everything that can be set.
type Setting struct {
	Name     string
	Kind     Kind
	Default  string // "$BASEDIR/…" is relative to BASEDIR
	Flag     string // long flag without dashes, "" none
	Opposite bool   // giving the flag means "no"
	Many     bool   // words with blanks between; the flag has one, and may be repeated
	Help     string // one line; what stands in backquotes is what a flag calls its value
	FlagHelp string // of the flag, where it says something else
	Secret   bool   // its value is never shown
	Unused   bool   // without effect: known so that nobody is warned

	check func(value string) error
	show  func(value string) string
}

// Show is a value as messages and tables may have it: without what is secret.
func (s Setting) Show(value string) string {
	switch {
	case s.Secret && value != "":
		return "(secret)"
	case s.show != nil:
		return s.show(value)
	}
	return value
}

// Env is the environment variable that sets it, "" if there is none:
// ARID_HOOK_… is what hooks are told, and never read as a setting.
func (s Setting) Env() string {
	if strings.HasPrefix(s.Name, "HOOK_") {
		return ""
	}
	return "ARID_" + s.Name
}

// Known returns the table of settings. The names are dehydrated's, and arid's
// own in the same style.
func Known() []Setting {
	return []Setting{
		{Name: "BASEDIR", Kind: Path, Flag: "base", Help: "`DIR` that the other paths are derived from"},
		{Name: "CA", Kind: Word, Default: "letsencrypt", Flag: "ca", Help: "`CA` to ask: a preset's name, or the URL of a directory"},
		{Name: "CA_BUNDLE", Kind: Path, Flag: "ca-bundle", Help: "trust the PEM roots in `FILE` for the CA's own TLS too"},
		{Name: "IP_VERSION", Kind: Word, Help: "connect over IPv4 only (4) or IPv6 only (6)", check: oneOf("4", "6")},
		{Name: "CURL_OPTS", Kind: Word, Help: "options for curl; those with a meaning here are honoured", check: checkCurl, show: showCurl},

		{Name: "ACCOUNTDIR", Kind: Path, Default: "$BASEDIR/accounts", Help: "accounts, one directory for each CA"},
		{Name: "ACCOUNT_KEY", Kind: Path, Flag: "account-key", Help: "account key in `FILE`, outside ACCOUNTDIR"},
		{Name: "ACCOUNT_KEY_ALGO", Kind: Word, Default: "prime256v1", Help: "type of a new account key", check: checkAlgo},
		{Name: "ACCOUNT_KEYSIZE", Kind: Integer, Default: "4096", Help: "bits of a new account key of type rsa", check: between(2048, 8192)},
		{Name: "CONTACT_EMAIL", Kind: Word, Flag: "contact", Help: "`ADDR` that the CA may write to", check: checkContact},
		{Name: "EAB_KID", Kind: Word, Flag: "eab-kid", Help: "external account binding: the key's `ID`"},
		{Name: "EAB_HMAC_KEY", Kind: Word, Secret: true, Help: "external account binding: the key, in base64 (--eab-hmac-file)"},
		{Name: "EAB_ALG", Kind: Word, Default: "HS256", Help: "external account binding: the MAC", check: oneOf("HS256", "HS384", "HS512")},

		{Name: "DOMAINS_TXT", Kind: Path, Default: "$BASEDIR/domains.txt", Flag: "domains-txt", Help: "`FILE` with a line of names for each certificate"},
		{Name: "DOMAINS_D", Kind: Path, Help: "directory of configs, one for each certificate"},
		{Name: "CONFIG_D", Kind: Path, Help: "directory of *.sh files read after the config file"},
		{Name: "CERTDIR", Kind: Path, Default: "$BASEDIR/certs", Flag: "out", Help: "put certificates into `DIR`, a folder each"},
		{Name: "LOCKFILE", Kind: Path, Default: "$BASEDIR/lock", Help: "lock that keeps dehydrated's runs apart; taken in its mode"},
		{Name: "LOCK_WAIT", Kind: Duration, Default: "0", Flag: "lock-wait", Help: "wait `DURATION` for another run to end"},

		{Name: "CHALLENGETYPE", Kind: Word, Default: "http-01", Flag: "challenge", Help: "challenge `TYPE` by which the CA validates names; several, and PATTERN:TYPE for some names",
			check: checkTypes},
		{Name: "WELLKNOWN", Kind: Path, Default: "/var/www/dehydrated", Flag: "wellknown", Help: "write http-01 tokens to `DIR`, served as /.well-known/acme-challenge/"},
		{Name: "ALPNCERTDIR", Kind: Path, Default: "$BASEDIR/alpn-certs", Flag: "alpn", Help: "write tls-alpn-01 certificates to `DIR`"},
		{Name: "ALPN_GROUP", Kind: Word, Flag: "alpn-group", Help: "`GROUP` that may read the tls-alpn-01 certificates, instead of the directory's", check: checkGroup},
		{Name: "LISTEN", Kind: Word, Flag: "listen", Many: true, Help: "answer http-01 and tls-alpn-01 itself on `ADDR`, as :80 or 192.0.2.1:443, while something is ordered; may be several"},
		{Name: "DNS_UPDATE", Kind: Bool, Default: "no", Flag: "dns-update", Help: "write dns-01 records by RFC 2136 updates, without a hook"},
		{Name: "DNS_SERVER", Kind: Word, Flag: "dns-server", Help: "send DNS updates to `HOST[:PORT]` instead of the zone's primary", check: checkHost},
		{Name: "DNS_ZONE", Kind: Word, Flag: "dns-zone", Help: "update the zone `NAME` instead of the one that is found"},
		{Name: "DNS_KEY_FILE", Kind: Path, Flag: "dns-key", Help: "sign DNS updates with the TSIG key in `FILE`, as BIND has it"},
		{Name: "DNS_KEY", Kind: Word, Secret: true, Help: "TSIG key for DNS updates: [ALGORITHM:]NAME:SECRET"},
		{Name: "DNS_TTL", Kind: Integer, Default: "60", Help: "seconds that resolvers may keep a record of arid's", check: between(0, 86400)},
		{Name: "DNS_WAIT", Kind: Duration, Default: "120s", Flag: "dns-wait", Help: "look for dns-01 records at the authoritative servers for at most `DURATION`, 0 not at all"},
		{Name: "DNS_RESOLVER", Kind: Word, Flag: "dns-resolver", Help: "ask `HOST[:PORT]` for names instead of the system's resolvers", check: checkHost},
		{Name: "DNS_PORT", Kind: Integer, Default: "53", Help: "port of authoritative name servers", check: between(1, 65535)},
		{Name: "HOOK", Kind: Word, Flag: "hook", Help: "call `PROGRAM` at each step, or a function of the config file"},
		{Name: "HOOK_CHAIN", Kind: Bool, Default: "no", Flag: "hook-chain", Help: "call the hook once for all challenges"},
		{Name: "HOOK_TIMEOUT", Kind: Duration, Default: "1h", Help: "end a hook after this time, 0 never"},
		{Name: "HOOK_UNCHANGED", Kind: Bool, Default: "no", Help: "call unchanged_cert for certificates that are not due"},

		{Name: "KEY_ALGO", Kind: Word, Default: "prime256v1", Flag: "algo", Help: "`TYPE` of the certificate's key: rsa, rsa2048, rsa3072, rsa4096, prime256v1, secp384r1, secp521r1, ed25519", check: checkAlgo},
		{Name: "KEYSIZE", Kind: Integer, Default: "4096", Help: "bits of a key of type rsa", check: between(2048, 8192)},
		{Name: "PRIVATE_KEY_RENEW", Kind: Bool, Default: "yes", Flag: "reuse-key", Opposite: true, Help: "make a new key for each renewal", FlagHelp: "keep the private key that there is"},
		{Name: "PRIVATE_KEY_ROLLOVER", Kind: Bool, Default: "no", Help: "have the next key lie ready beside the present one"},
		{Name: "KEY_MODE", Kind: Word, Help: "mode of key files, such as 0640", check: checkKeyMode},
		{Name: "KEY_GROUP", Kind: Word, Help: "group of key files", check: checkGroup},
		{Name: "KEEP_VERSIONS", Kind: Integer, Default: "3", Help: "versions of a certificate to keep", check: between(1, 1000)},
		{Name: "CSR_SUBJECT", Kind: Word, Flag: "subject", Help: "subject of the request: `DN`, such as O=Example,C=TW"},
		{Name: "OCSP_MUST_STAPLE", Kind: Bool, Default: "no", Flag: "must-staple", Help: "ask for a certificate that requires OCSP stapling"},
		{Name: "ACME_PROFILE", Kind: Word, Flag: "profile", Help: "certificate profile: `NAME`, as the CA has it"},
		{Name: "PREFERRED_CHAIN", Kind: Word, Flag: "preferred-chain", Help: "choose the chain whose last issuer is `CN`"},

		{Name: "RENEW_DAYS", Kind: Word, Flag: "renew-days", Help: "renew when `N` days (30, 30d) or a share (33%) of the lifetime are left", check: checkRenewDays},
		{Name: "KEEP_GOING", Kind: Bool, Default: "yes", Unused: true, Help: "go on with the next certificate after a failure"},
		{Name: "PARALLEL", Kind: Integer, Default: "", Flag: "parallel", Help: "work on `N` certificates at once (8; 1 where the hook writes TXT records)", check: between(1, 1000)},
		{Name: "TIMEOUT", Kind: Duration, Default: "10m", Flag: "timeout", Help: "wait `DURATION` for the CA, for each certificate, hooks not counted", check: someTime},
		{Name: "ORDER_TIMEOUT", Kind: Integer, Default: "0", Unused: true, Help: "seconds to wait for an order, 0 no limit of its own", check: between(0, 1<<30)},
		{Name: "VALIDATION_TIMEOUT", Kind: Integer, Default: "0", Unused: true, Help: "seconds to wait for a validation, 0 no limit of its own", check: between(0, 1<<30)},
		{Name: "OCSP_FETCH", Kind: Bool, Default: "no", Help: "keep an OCSP response beside the certificate"},
		{Name: "OCSP_DAYS", Kind: Integer, Default: "5", Help: "fetch a new OCSP response after so many days", check: between(0, 3650)},
		{Name: "AUTO_CLEANUP", Kind: Bool, Default: "no", Unused: true, Help: "archive superseded files after each run"},
		{Name: "AUTO_CLEANUP_DELETE", Kind: Bool, Default: "no", Unused: true, Help: "delete superseded files after each run"},

		{Name: "DEHYDRATED_USER", Kind: Word, Help: "user that dehydrated's mode is to run as"},
		{Name: "DEHYDRATED_GROUP", Kind: Word, Help: "group that dehydrated's mode is to run as"},
		{Name: "API", Kind: Word, Default: "auto", Unused: true, Help: "version of the ACME protocol: only 2 is left", check: checkAPI},
		{Name: "OLDCA", Kind: Word, Help: "directory URL whose account dehydrated's mode takes over"},
		{Name: "CHAINCACHE", Kind: Path, Default: "$BASEDIR/chains", Unused: true, Help: "chains of the first protocol version"},
		{Name: "OPENSSL", Kind: Word, Default: "openssl", Unused: true, Help: "the openssl program"},
		{Name: "OPENSSL_CNF", Kind: Path, Unused: true, Help: "openssl's configuration"},
	}
}

func (s Setting) valid(v string) error {
	if strings.ContainsAny(v, "\x00") {
		return fmt.Errorf("a NUL byte")
	}
	if v == "" {
		return nil
	}
	switch s.Kind {
	case Bool:
		if v != "yes" && v != "no" {
			return fmt.Errorf("neither yes nor no")
		}
	case Integer:
		if _, err := strconv.Atoi(v); err != nil {
			return fmt.Errorf("not a number")
		}
	case Duration:
		if _, err := parseDuration(v); err != nil {
			return err
		}
	case Path:
		if strings.ContainsAny(v, "\n") {
			return fmt.Errorf("a line break in a path")
		}
	}
	if s.check != nil {
		return s.check(v)
	}
	return nil
}

func parseDuration(v string) (time.Duration, error) {
	if digits(v) {
		v += "s"
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("not a duration such as 90s, 10m or 1h30m")
	}
	return d, nil
}

func oneOf(words ...string) func(string) error {
	return func(v string) error {
		if !slices.Contains(words, v) {
			return fmt.Errorf("not one of %s", strings.Join(words, ", "))
		}
		return nil
	}
}

func between(low, high int) func(string) error {
	return func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < low || n > high {
			return fmt.Errorf("not a number from %d to %d", low, high)
		}
		return nil
	}
}

var rsaAlgo = regexp.MustCompile(`^rsa([0-9]{4})?$`)

func checkAlgo(v string) error {
	w := strings.ToLower(v)
	if m := rsaAlgo.FindStringSubmatch(w); m != nil {
		if n, _ := strconv.Atoi(m[1]); m[1] != "" && (n < 2048 || n > 8192) {
			return fmt.Errorf("RSA keys have 2048 to 8192 bits")
		}
		return nil
	}
	if !slices.Contains([]string{"prime256v1", "secp384r1", "secp521r1", "ed25519"}, w) {
		return fmt.Errorf("not one of rsa, rsa2048, rsa3072, rsa4096, prime256v1, secp384r1, secp521r1, ed25519")
	}
	return nil
}

// checkTypes takes challenge types, and patterns with one; challenge.ParseChoice
// knows what they mean together.
func checkTypes(v string) error {
	for word := range strings.FieldsSeq(v) {
		typ := word[strings.LastIndexByte(word, ':')+1:]
		if typ == "tls-sni-01" || typ == "tls-sni-02" { // of lws-acme-client, and others of its time
			return errors.New("no CA has it any more: tls-alpn-01 is what uses the same port")
		}
		if err := oneOf("http-01", "dns-01", "tls-alpn-01")(typ); err != nil {
			return err
		}
	}
	return nil
}

// checkHost takes HOST, HOST:PORT, an address, and [ADDRESS]:PORT.
func checkHost(v string) error {
	host, port, err := net.SplitHostPort(v)
	if err != nil {
		host, port = strings.Trim(v, "[]"), "53"
		if _, err := netip.ParseAddr(host); err != nil && strings.Contains(host, ":") {
			return fmt.Errorf("neither HOST nor HOST:PORT")
		}
	}
	if n, err := strconv.Atoi(port); host == "" || strings.ContainsAny(host, " /") || err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("neither HOST nor HOST:PORT")
	}
	return nil
}

func checkContact(v string) error {
	for a := range strings.FieldsFuncSeq(v, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' }) {
		if at := strings.LastIndexByte(a, '@'); at < 1 || at == len(a)-1 {
			return fmt.Errorf("not an e-mail address: %q", a)
		}
	}
	return nil
}

func checkKeyMode(v string) error {
	n, err := strconv.ParseUint(v, 8, 32)
	switch {
	case err != nil || n > 0o777:
		return fmt.Errorf("not a file mode such as 0640")
	case n&0o007 != 0:
		return fmt.Errorf("would open keys to everybody")
	case n&0o400 == 0:
		return fmt.Errorf("would close keys to their owner")
	}
	return nil
}

// checkGroup looks a group up as certs does when it gives files to it.
func checkGroup(v string) error {
	if _, err := user.LookupGroup(v); err != nil && !digits(v) {
		return fmt.Errorf("no such group")
	}
	return nil
}

func someTime(v string) error {
	if d, err := parseDuration(v); err == nil && d == 0 {
		return fmt.Errorf("no time at all")
	}
	return nil
}

var renewDays = regexp.MustCompile(`^([0-9]{1,5})([d%]?)$`)

func checkRenewDays(v string) error {
	m := renewDays.FindStringSubmatch(v)
	if m == nil {
		return fmt.Errorf("neither days (30 or 30d) nor a share of the lifetime (33%%)")
	}
	switch n, _ := strconv.Atoi(m[1]); {
	case m[2] == "%" && (n < 1 || n > 99):
		return fmt.Errorf("a share of the lifetime is between 1%% and 99%%")
	case n == 0:
		return fmt.Errorf("it would be renewed only when it has expired; 1 is a day before that")
	case n > 36500:
		return fmt.Errorf("not from 1 to 36500 days")
	}
	return nil
}

func checkAPI(v string) error {
	if v == "1" {
		return fmt.Errorf("the first version of ACME is gone from all CAs")
	}
	return oneOf("auto", "2")(v)
}

// nearest returns the word that is most like the given one, and how many
// letters differ.
func nearest(word string, among []string) (string, int) {
	best, least := "", len(word)+1
	for _, w := range among {
		if d := distance(word, w); d < least {
			best, least = w, d
		}
	}
	return best, least
}

// distance counts letters added, left out, replaced or swapped with their neighbour.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return len(a) + len(b)
	}
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
