package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// curl loads one line of a config file.
func curl(t *testing.T, line string) (*Curl, []string, error) {
	t.Helper()
	dir := writeFiles(t, map[string]string{"config": "\n" + line + "\n"})
	s, err := load(t, Options{File: dir + "/config"})
	if err != nil {
		return nil, nil, fmt.Errorf("%s", strings.ReplaceAll(err.Error(), dir+"/", ""))
	}
	c, warnings := s.Curl()
	for i := range warnings {
		warnings[i] = strings.ReplaceAll(warnings[i], dir+"/", "")
	}
	return c, warnings, nil
}

func TestCurlOptionsWithAMeaningAreHonoured(t *testing.T) {
	for text, want := range map[string]Curl{
		"":                                      {},
		"--cacert /a.pem --capath /dir":         {CAFile: "/a.pem", CADir: "/dir"},
		"-k":                                    {Insecure: true},
		"-k --no-insecure":                      {},
		"-sSk4m10":                              {Insecure: true, IPVersion: "4", MaxTime: 10 * time.Second},
		"-sSk4m 10":                             {Insecure: true, IPVersion: "4", MaxTime: 10 * time.Second},
		"-4 -6":                                 {IPVersion: "6"},
		"--connect-timeout 2.5\t--max-time\t30": {ConnectTimeout: 2500 * time.Millisecond, MaxTime: 30 * time.Second},
		"--noproxy localhost,.example.org":      {NoProxy: "localhost,.example.org"},
		"--interface eth0":                      {Interface: "eth0"},
		"--interface host!192.0.2.1":            {Interface: "192.0.2.1"},
		"--dns-servers 192.0.2.1,[2001:db8::1]:5353":   {DNSServers: []string{"192.0.2.1:53", "[2001:db8::1]:5353"}},
		"--dns-servers 2001:db8::1":                    {DNSServers: []string{"[2001:db8::1]:53"}},
		`-E /c\:1.pem --key /k.pem`:                    {Cert: "/c:1.pem", Key: "/k.pem"},
		"--cert /c.pem --cert-type pem":                {Cert: "/c.pem"},
		"--http1.1 --tlsv1.3":                          {HTTP1: true, TLS13: true},
		"--tlsv1.2 --tls-max 1.2":                      {TLS12: true},
		"--resolve +CA.example:443:192.0.2.1,[::1]":    {Hosts: map[string][]netip.AddrPort{"ca.example:443": {netip.MustParseAddrPort("192.0.2.1:443"), netip.MustParseAddrPort("[::1]:443")}}},
		"--resolve -ca.example:443":                    {},
		"--resolve *:443:::1":                          {Hosts: map[string][]netip.AddrPort{"*:443": {netip.MustParseAddrPort("[::1]:443")}}},
		"-v -s -S -A name --retry 3 --retry-delay 1":   {},
		"--no-verbose --no-progress-meter -L --ssl -#": {},
	} {
		c, warnings, err := curl(t, "CURL_OPTS='"+text+"'")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		want.quotes = strings.Contains(text, `\`)
		if !reflect.DeepEqual(*c, want) {
			t.Errorf("%s: %+v, want %+v", text, *c, want)
		}
		if len(warnings) > 0 && !c.Insecure && !want.quotes {
			t.Errorf("%s: %q", text, warnings)
		}
	}
}

func TestCurlProxies(t *testing.T) {
	for text, want := range map[string]string{
		"-x proxy":                                   "http://proxy:1080",
		"-xproxy:3128":                               "http://proxy:3128",
		"--proxy http://user:pass@proxy:3128/":       "http://user:pass@proxy:3128",
		"--proxy https://proxy":                      "https://proxy:443",
		"-U user:pass:word -x proxy:1":               "http://user:pass%3Aword@proxy:1",
		"--socks5 127.0.0.1":                         "socks5://127.0.0.1:1080",
		"--socks5-hostname [::1]:9050":               "socks5h://[::1]:9050",
		"-x http://one:1 --proxy socks5h://two:9050": "socks5h://two:9050",
	} {
		c, _, err := curl(t, "CURL_OPTS='"+text+"'")
		if err != nil || c.Proxy == nil || c.Proxy.String() != want {
			t.Errorf("%s: %v, %v; want %s", text, c, err, want)
		}
	}
}

func TestCurlOptionsWithoutAMeaningAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"--limit-rate 10k --cacert /a.pem":          "config:2: CURL_OPTS: --limit-rate has no meaning here and is ignored",
		"--cacret /a.pem":                           "config:2: CURL_OPTS: --cacret has no meaning here and is ignored\nconfig:2: CURL_OPTS: words that are no option are ignored (1); curl takes them for URLs",
		"-Zk":                                       "config:2: CURL_OPTS: --insecure: nobody checks",
		"-u name:secret -u name:secret":             "config:2: CURL_OPTS: --user has no meaning",
		"--proxy-user=name:secret":                  "config:2: CURL_OPTS: --proxy-user has no meaning",
		`-H "Authorization: Bearer secret"`:         "config:2: CURL_OPTS: quotes and backslashes are taken literally",
		`--cacert "/a b.pem"`:                       "config:2: CURL_OPTS: words that are no option are ignored (1)",
		"--insecure":                                "config:2: CURL_OPTS: --insecure: nobody checks",
		"--config /f -- http://example.org/?secret": "config:2: CURL_OPTS: --config has no meaning",
	} {
		_, warnings, err := curl(t, "CURL_OPTS='"+text+"'")
		said := strings.Join(warnings, "\n")
		if err != nil || !strings.Contains(said, want) || strings.Contains(said, "secret") {
			t.Errorf("%s: %v, said\n%s\nwant\n%s", text, err, said, want)
		}
	}
	c, _, err := curl(t, "CURL_OPTS='--limit-rate 10k --cacert /a.pem'")
	if err != nil || c.CAFile != "/a.pem" {
		t.Errorf("%v, %v: what follows an unknown option is lost", c, err)
	}
}

func TestMistakesInCurlOptionsAreToldWithoutPasswords(t *testing.T) {
	for text, want := range map[string]string{
		"--max-time soon":                     `config:2: CURL_OPTS="--max-time soon": --max-time: not a number of seconds`,
		"--cacert":                            `config:2: CURL_OPTS="--cacert": --cacert: its value is missing`,
		"-m -1 -U name:secret":                `config:2: CURL_OPTS="(secret)": --max-time: not a number of seconds`,
		"-m NaN":                              "--max-time: not a number of seconds",
		"-m 1e300":                            "--max-time: not a number of seconds",
		"-x ftp://name:secret@proxy":          `--proxy: a proxy of the kind "ftp" cannot be used`,
		"-x http://name:secret@":              "--proxy: neither HOST:PORT nor the URL of a proxy",
		"--socks4 proxy":                      `--socks4: a proxy of the kind "socks4" cannot be used`,
		"--cert /c.pem:secret":                "--cert: a key that needs a passphrase cannot be used",
		"--cert pkcs11:pin-value=secret":      "--cert: only files in PEM can be used",
		"--pass secret":                       "--pass: a key that needs a passphrase cannot be used",
		"--cert /c.p12 --cert-type P12":       "--cert-type: only files in PEM can be used",
		"--key /k.pem":                        "--key: there is no --cert beside it",
		"--resolve ca.example:443":            "--resolve: not HOST:PORT:ADDRESS",
		"--resolve ca.example:0:192.0.2.1":    "--resolve: not HOST:PORT:ADDRESS",
		"--resolve ca.example:443:elsewhere":  "--resolve: not HOST:PORT:ADDRESS",
		"--dns-servers ns.example.org":        "--dns-servers: not ADDRESS[:PORT],…",
		"--tls-max 1.0":                       "--tls-max: neither 1.2 nor 1.3",
		"--tls-max 1.2 --tlsv1.3":             "--tlsv1.3 and --tls-max 1.2 exclude each other",
		"--interface if!":                     "--interface: neither a device nor an address",
		"-x http://u:secret@h --max-time now": `CURL_OPTS="(secret)": --max-time`,
	} {
		_, _, err := curl(t, "CURL_OPTS='"+text+"'")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), ":secret") || strings.Contains(err.Error(), "=secret") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func FuzzCurl(f *testing.F) {
	for _, text := range []string{"-sSk4m10 --cacert /a", "-x http://u:p@h --resolve +a:1:[::1]", "-E a\\:b", "--", "-", "-é", "--x=y"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCurl(text)
		if err == nil && (c.MaxTime < 0 || c.ConnectTimeout < 0) {
			t.Errorf("%q: time runs backwards", text)
		}
		if c.Proxy != nil && c.Proxy.User != nil && showCurl(text) != "(secret)" {
			t.Errorf("%q is shown", text)
		}
		c.warnings()
	})
}
