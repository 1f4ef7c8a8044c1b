package acme

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLinks(t *testing.T) {
	page, _ := url.Parse("https://ca.example/acme/cert/1")
	for header, want := range map[string][]string{
		`<https://ca.example/a>;rel="alternate"`:                {"https://ca.example/a"},
		`<2>; rel=alternate`:                                    {"https://ca.example/acme/cert/2"},
		`</2> ; title="a, <b>; rel=up" ; rel="up alternate"`:    {"https://ca.example/2"},
		`<a>;rel="up", <b>;rel="alternate",<c>;rel="ALTERNATE"`: {"https://ca.example/acme/cert/b", "https://ca.example/acme/cert/c"},
		`<a>;rel="up";rel="alternate"`:                          nil, // the first rel counts
		`<a>;rel*=alternate;foo;rel="alternate"`:                {"https://ca.example/acme/cert/a"},
		`<a>;title="say \"x\", y";rel="alternate"`:              {"https://ca.example/acme/cert/a"},
		`<a?x=1,2;3>;rel=alternate`:                             {"https://ca.example/acme/cert/a?x=1,2;3"},
		`<a>`:                                                   nil, `a;rel=alternate`: nil, `<a;rel="alternate"`: nil, `<a>;rel="alternate`: {"https://ca.example/acme/cert/a"},
		``: nil, `,,,`: nil, `<>;rel=alternate`: {"https://ca.example/acme/cert/1"}, `<:>;rel=alternate`: nil,
		`<a>;rel=alternate,<a>;rel=alternate`: {"https://ca.example/acme/cert/a"},
		`junk, <a>;rel=alternate`:             {"https://ca.example/acme/cert/a"},
	} {
		if got := links(page, []string{header}, "alternate", 20); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", header, got, want)
		}
	}
}

func FuzzLinks(f *testing.F) {
	for _, s := range []string{`<https://ca.example/a>;rel="alternate"`, `<a>;rel="up", <b>;x="\"`, `<`, `;=,"`, `<a>;=`, `<a>;rel="alternate`, "<\x00>;rel=alternate"} {
		f.Add(s)
	}
	page, _ := url.Parse("https://ca.example/acme/cert/1")
	f.Fuzz(func(t *testing.T, header string) {
		got := links(page, []string{header, header}, "alternate", 20)
		if len(got) > 20 {
			t.Errorf("%d links", len(got))
		}
		for i, u := range got {
			if parsed, err := url.Parse(u); err != nil || !parsed.IsAbs() || slices.Contains(got[:i], u) {
				t.Errorf("%q: %v", u, err)
			}
		}
	})
}

func testCertificate(t testing.TB, names int) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	for i := range names {
		template.DNSNames = append(template.DNSNames, strings.Repeat("a", 50)+string(rune('a'+i%26))+".example.org")
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestChainsHonestAndNot(t *testing.T) {
	one := testCertificate(t, 1)
	for name, c := range map[string]struct {
		data string
		want int // 0: refused
	}{
		"one":                 {string(one), 1},
		"32":                  {strings.Repeat(string(one), 32), 32},
		"33":                  {strings.Repeat(string(one), 33), 0},
		"100 names, 6 blocks": {strings.Repeat(string(testCertificate(t, 100)), 6), 6},
		"1000 names":          {string(testCertificate(t, 1000)), 1},
		"1001 names":          {string(testCertificate(t, 1001)), 0},
		"BOM":                 {"\ufeff" + string(one), 0},
		"no newline between":  {strings.TrimSpace(string(one)) + string(one), 2},
		"block within":        {strings.Replace(string(one), "-----\n", "-----\n-----BEGIN X-----\n", 1), 0},
		"TRUSTED":             {strings.ReplaceAll(string(one), "CERTIFICATE", "TRUSTED CERTIFICATE"), 0},
		"other dashes":        {strings.Replace(string(one), "-----BEGIN", "----BEGIN", 1), 0},
		"only the end":        {"-----END CERTIFICATE-----", 0},
		"only the beginning":  {"-----BEGIN CERTIFICATE-----", 0},
		"begin and end":       {"-----BEGIN CERTIFICATE----------END CERTIFICATE-----", 0},
		"a block that is cut": {"-----BEGIN CERTIFICATE-----\nMIIB\n" + string(one), 0},
		"NUL after":           {string(one) + "\x00", 0},
	} {
		chain, err := parseChain([]byte(c.data))
		if len(chain) != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%s: %d certificates, %v; want %d", name, len(chain), err, c.want)
		}
	}
}

func FuzzParseChain(f *testing.F) {
	one := testCertificate(f, 1)
	f.Add(one)
	f.Add(slices.Concat(one, []byte("\n \r\n"), one))
	f.Add(append(slices.Clone(one), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nA: b\n\nAAAA\n-----END CERTIFICATE-----"))
	f.Fuzz(func(t *testing.T, data []byte) {
		chain, err := parseChain(data)
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
			return
		}
		if len(chain) == 0 || len(chain) > maxCertificates {
			t.Errorf("%d certificates", len(chain))
		}
		if n := bytes.Count(data, []byte("-----BEGIN")); n != len(chain) {
			t.Errorf("%d blocks, %d certificates", n, len(chain))
		}
	})
}

func TestShallow(t *testing.T) {
	for text, ok := range map[string]bool{
		strings.Repeat("[", 64) + strings.Repeat("]", 64):    true,
		strings.Repeat("[", 65) + strings.Repeat("]", 65):    false,
		strings.Repeat(`{"a":`, 65):                          false,
		`"` + strings.Repeat("[", 1000) + `"`:                true,
		`"\"` + strings.Repeat("[", 1000) + `"`:              true,
		`"\\"` + strings.Repeat("[", 65):                     false,
		strings.Repeat("[]", 100_000):                        true,
		strings.Repeat("]", 1000) + strings.Repeat("[", 100): true, // no JSON; the decoder's to say
		"": true,
	} {
		if err := shallow([]byte(text)); (err == nil) != ok {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func FuzzObjects(f *testing.F) {
	c, err := New("https://ca.example/directory", Options{})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		`{"status":"valid","identifiers":[{"type":"dns","value":"a"}],"authorizations":["https://ca.example/1"],"finalize":"https://ca.example/2","error":{"type":"x"}}`,
		`{"status":"pending","challenges":[{"type":"http-01","url":"https://ca.example/3","token":"aaaaaaaaaaaaaaaa"},7]}`,
		`{"type":"urn:ietf:params:acme:error:badNonce","subproblems":[{"subproblems":[{}]}]}`, `{"a":` + strings.Repeat("[", 70), "\x1b", `{"status":"x","expires":"9999"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := &reply{call: &call{what: "order", method: "POST", url: "https://ca.example/order/1"}, status: 200, body: body}
		var errs []error
		if o, err := c.order(r, "https://ca.example/order/1"); err == nil {
			for _, u := range append(o.Authorizations, o.Finalize, o.Certificate) {
				if u != "" && !strings.HasPrefix(strings.ToLower(u), "https://ca.example") {
					t.Errorf("URL %q", u)
				}
			}
		} else {
			errs = append(errs, err)
		}
		if a, err := c.authorization(r); err == nil {
			for _, ch := range a.Challenges {
				if slices.Contains(tokenTypes, ch.Type) && ch.Token != "" && !isToken(ch.Token) {
					t.Errorf("token %q", ch.Token)
				}
			}
		} else {
			errs = append(errs, err)
		}
		if _, err := r.account("https://ca.example/a"); err != nil {
			errs = append(errs, err)
		}
		r.status = 400
		errs = append(errs, r.refusal())
		for _, err := range errs {
			checkLine(t, err.Error())
		}
	})
}

func FuzzProblem(f *testing.F) {
	for _, s := range []string{`{"type":"urn:ietf:params:acme:error:caa","detail":"a\u0000\u202eb","status":"x","subproblems":[{"identifier":{"type":"dns","value":"\n"}}]}`, `{}`, `null`, `[]`, `{"detail":"\ud800"}`, "{\"detail\":\"\xff\x9b\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if p := readProblem(data); p != nil {
			checkLine(t, p.Error())
			if !json.Valid(data) {
				t.Errorf("read from what is no JSON")
			}
		}
	})
}

// checkLine holds a text against what may go to a terminal.
func checkLine(t *testing.T, line string) {
	t.Helper()
	if len(line) > 5*maxErrorShown || !utf8.ValidString(line) {
		t.Errorf("%d bytes: %q", len(line), line)
	}
	if i := strings.IndexFunc(line, func(r rune) bool {
		return r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}); i >= 0 {
		t.Errorf("control character in %q", line)
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "ünïcode 漢": "ünïcode 漢", "a\nb\tc": `a\nb\tc`, "\x1b[31m": `\x1b[31m`, "\u202ex": `\u202ex`, "\x9b\xff": `\x9b\xff`,
		`it's "quoted" \n`: `it's "quoted" \n`, "\u0085": `\u0085`, "'": "'", "\u00ad": `\u00ad`, "\U000e0001": `\U000e0001`,
	} {
		if got := clean(in, 100); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
		if again := clean(clean(in, 100), 1000); again != clean(in, 100) {
			t.Errorf("%q: not the same the second time: %s", in, again)
		}
	}
	if got := clean(strings.Repeat("é", 10), 5); got != "éé…" {
		t.Errorf("cut: %q", got)
	}
}

// RFC 7638 §3.1 has this key and its thumbprint.
func TestThumbprintOfRFC7638(t *testing.T) {
	n := "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	modulus, err := base64.RawURLEncoding.DecodeString(n)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Thumbprint(&rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 65537})
	if want := "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"; err != nil || got != want {
		t.Errorf("got %s, %v", got, err)
	}
}

// Key authorizations are made of a token and our own key, whatever the server
// says (RFC 8555 §8.1).
func TestKeyAuthorization(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	thumbprint, err := Thumbprint(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := KeyAuthorization("-token-", key); err != nil || got != "-token-."+thumbprint || len(thumbprint) != 43 {
		t.Errorf("%s %v", got, err)
	}
	if _, err := Thumbprint("no key"); err == nil {
		t.Error("a thumbprint of no key")
	}
}

func TestIdentifiers(t *testing.T) {
	for name, want := range map[string]Identifier{
		"example.org": {"dns", "example.org"}, "*.example.org": {"dns", "*.example.org"}, "192.0.2.1": {"ip", "192.0.2.1"}, "2001:db8::1": {"ip", "2001:db8::1"},
	} {
		if got := NewIdentifier(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, c := range []struct {
		a, b Identifier
		want bool
	}{
		{Identifier{"dns", "A.example"}, Identifier{"dns", "a.EXAMPLE"}, true},
		{Identifier{"ip", "2001:DB8:0::1"}, Identifier{"ip", "2001:db8::1"}, true},
		{Identifier{"dns", "192.0.2.1"}, Identifier{"ip", "192.0.2.1"}, false},
		{Identifier{"dns", "a.example"}, Identifier{"dns", "b.example"}, false},
	} {
		if got := c.a.Equal(c.b); got != c.want {
			t.Errorf("%v %v: %v", c.a, c.b, got)
		}
	}
}

// HMAC pads short keys with zeros: the MAC made with a padded key is the same.
func TestShortEABKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := EAB{KID: "k", Key: []byte("short"), Alg: "HS512"}
	raw, err := b.sign(key.Public(), "https://ca.example/new-account")
	if err != nil {
		t.Fatal(err)
	}
	var parts struct{ Protected, Payload, Signature string }
	if err := json.Unmarshal(raw, &parts); err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha512.New, []byte("short"))
	mac.Write([]byte(parts.Protected + "." + parts.Payload))
	if want := base64.RawURLEncoding.EncodeToString(mac.Sum(nil)); parts.Signature != want {
		t.Errorf("MAC %s, want %s", parts.Signature, want)
	}
}

// Nothing from the network goes into go-jose: of it, only the signing half is
// used.
func TestOnlyTheSigningHalfOfGoJose(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range regexp.MustCompile(`jose\.\w+`).FindAllString(string(text), -1) {
			switch word {
			case "jose.NewSigner", "jose.SigningKey", "jose.SignerOptions", "jose.HeaderKey", "jose.SignatureAlgorithm", "jose.JSONWebKey",
				"jose.RS256", "jose.ES256", "jose.ES384", "jose.ES512", "jose.EdDSA":
			default:
				t.Errorf("%s uses %s", file, word)
			}
		}
	}
}
