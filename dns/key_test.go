package dns

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

const (
	testSecret = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=" // 32 bytes
	hexSecret  = "736563726574"                                 // how its first bytes would look in hex
)

func TestReadKey(t *testing.T) {
	for _, c := range []struct{ what, file, want string }{
		{"as tsig-keygen prints it", "key \"arid\" {\n\talgorithm hmac-sha256;\n\tsecret \"" + testSecret + "\";\n};\n", "hmac-sha256:arid"},
		{"comments of all kinds", "// a\n# b\n/* c\nd */ key arid { # e\nalgorithm hmac-sha512; // f\nsecret /* g */ \"" + testSecret + "\"; };", "hmac-sha512:arid"},
		{"no quotes, no last semicolon, CRLF", "key Arid.Example. {\r\nsecret " + testSecret + ";\r\nalgorithm HMAC-SHA1;\r\n}\r\n", "hmac-sha1:arid.example"},
		{"MD5 by its long name", `key "k" { algorithm hmac-md5.sig-alg.reg.int; secret "` + testSecret + `"; };`, "hmac-md5:k"},
		{"a secret in two lines", "key k { algorithm hmac-sha256; secret \"" + testSecret[:20] + "\n  " + testSecret[20:] + "\"; };", "hmac-sha256:k"},
	} {
		k, err := ReadKey([]byte(c.file))
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		if k.String() != c.want {
			t.Errorf("%s: got %s, want %s", c.what, k, c.want)
		}
	}
}

func TestReadKeyRefuses(t *testing.T) {
	const good = `key "k" { algorithm hmac-sha256; secret "` + testSecret + `"; };`
	for _, c := range []struct{ what, file, want string }{
		{"empty", "", "line 1: not key"},
		{"another format", "Private-key-format: v1.3\nAlgorithm: 163\nKey: " + testSecret, "line 1: not key"},
		{"a secret alone", testSecret, "line 1: not key"},
		{"no algorithm", `key k { secret "` + testSecret + `"; };`, "the key has no algorithm"},
		{"no secret", "key k {\nalgorithm hmac-sha256;\n};", "line 3: the key has no secret"},
		{"two secrets", "key k {\nsecret " + testSecret + ";\nsecret " + testSecret + "; };", "line 3: a second secret"},
		{"two keys", good + "\n" + good, "line 2: a second key"},
		{"more of named.conf", good + "\noptions { };", "line 2: something after the key"},
		{"not closed", "key k {\nalgorithm hmac-sha256;\n", "line 3: the key's brace is not closed"},
		{"quote not closed", `key k { algorithm hmac-sha256; secret "` + testSecret, "a quote is not closed"},
		{"comment not closed", "\n/* " + testSecret, "line 2: a comment is not closed"},
		{"no semicolon", "key k {\nsecret \"" + testSecret + "\"\nalgorithm hmac-sha256; };", `line 3: ";" is missing`},
		{"unknown clause", "key k { secrets \"" + testSecret + "\"; };", "neither algorithm nor secret"},
		{"unknown algorithm", `key k { algorithm hmac-sha3; secret "` + testSecret + `"; };`, "the algorithm is none of"},
		{"truncated MAC", `key k { algorithm hmac-sha256-128; secret "` + testSecret + `"; };`, "the algorithm is none of"},
		{"bad base64", `key k { algorithm hmac-sha256; secret "` + testSecret + `="; };`, "the secret is not base64"},
		{"empty secret", `key k { algorithm hmac-sha256; secret ""; };`, "the secret is empty"},
		{"name and secret swapped", `key "` + testSecret + `" { algorithm hmac-sha256; secret k; };`, "no domain name"},
	} {
		k, err := ReadKey([]byte(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, %v; want %q", c.what, k, err, c.want)
			continue
		}
		if strings.Contains(err.Error(), testSecret[:8]) {
			t.Errorf("%s: the error shows the secret: %v", c.what, err)
		}
	}
}

func TestParseKey(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"arid:" + testSecret, "hmac-sha256:arid"},
		{"hmac-sha384:arid.example.:" + testSecret + "\n", "hmac-sha384:arid.example"},
		{"HMAC-MD5:arid:" + testSecret, "hmac-md5:arid"},
	} {
		if k, err := ParseKey(c.text); err != nil || k.String() != c.want {
			t.Errorf("%q: got %v, %v; want %s", c.text, k, err, c.want)
		}
	}
	for _, text := range []string{
		"", ":", testSecret, testSecret + ":arid", "arid:" + testSecret + ":hmac-sha256", ":" + testSecret, "arid:",
		"a:b:c:" + testSecret, "arid:" + testSecret[1:], "sha256:arid:" + testSecret, "a..b:" + testSecret,
		strings.Repeat("a", 64) + ":" + testSecret,
	} {
		k, err := ParseKey(text)
		if err == nil {
			t.Errorf("%q: taken for %s", text, k)
		} else if strings.Contains(err.Error(), testSecret[1:8]) {
			t.Errorf("%q: the error shows the secret: %v", text, err)
		}
	}
}

func TestNoVerbPrintsTheSecret(t *testing.T) {
	k, err := ParseKey("arid:" + testSecret)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.StdEncoding.DecodeString(testSecret)
	type nested struct {
		Key   *Key
		own   Key
		other any
	}
	things := []any{k, *k, []*Key{k}, map[string]Key{"k": *k}, Updater{Key: k}, &Updater{Key: k}, nested{k, *k, *k}, tsigProvider{k}}
	for _, thing := range things {
		for _, verb := range "vsqxXdtbcoOUeEfFgGpTw" {
			for _, flag := range []string{"", "+", "#", " ", "0"} {
				text := fmt.Sprintf("%"+flag+string(verb), thing)
				for _, secret := range []string{testSecret[:10], "secret sec", hexSecret, strings.ToUpper(hexSecret), hex.EncodeToString([]byte(testSecret[:10])), fmt.Sprint(raw[:6])[1:18]} {
					if strings.Contains(text, secret) {
						t.Errorf("%%%s%c of %T shows the secret: %s", flag, verb, thing, text)
					}
				}
			}
		}
	}
}

func FuzzReadKey(f *testing.F) {
	f.Add([]byte("key \"arid\" {\n\talgorithm hmac-sha256;\n\tsecret \"" + testSecret + "\";\n};\n"))
	f.Add([]byte("// a\n# b\n/* c\nd */ key arid { # e\nalgorithm hmac-sha512;"))
	f.Add([]byte("key k { \"\" }"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := ReadKey(data)
		if (k == nil) == (err == nil) {
			t.Fatalf("got %v, %v", k, err)
		}
		if k != nil {
			if _, ok := algorithms[k.Algorithm]; !ok || !keyName(k.Name) || k.mac == nil {
				t.Fatalf("took %s", k)
			}
		}
	})
}
