package keys

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// file is a file of testdata; they were written by OpenSSL 3.0 and ssh-keygen.
func file(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestParse(t *testing.T) {
	rsa, cert, ed := file(t, "rsa-pkcs1.pem"), file(t, "cert.pem"), file(t, "ed25519.pem")
	der, _ := pem.Decode(rsa)
	for _, c := range []struct {
		name string
		data []byte
		want string // kind of key, or the message
	}{
		{"PKCS#1", rsa, "rsa2048"},
		{"PKCS#8 RSA", file(t, "rsa-pkcs8.pem"), "rsa2048"},
		{"PKCS#8 EC", file(t, "ec-pkcs8.pem"), "secp384r1"},
		{"PKCS#8 Ed25519", ed, "ed25519"},
		{"SEC1", file(t, "ec-521.pem"), "secp521r1"},
		{"SEC1 after EC PARAMETERS", file(t, "ec-params.pem"), "prime256v1"},
		{"CRLF, BOM, blanks and text around", join([]byte("\xef\xbb\xbf  hello\r\n"), bytes.ReplaceAll(ed, []byte("\n"), []byte("\r\n")), []byte("bye")), "ed25519"},
		{"no newline at the end", bytes.TrimSpace(ed), "ed25519"},
		{"key and certificate in one file", join(ed, cert), "ed25519"},
		{"certificate and key in one file", join(cert, ed), "ed25519"},

		{"two keys", join(ed, rsa), "holds more than one private key"},
		{"the same key twice", join(ed, ed), "holds more than one private key"},
		{"encrypted PKCS#8", file(t, "rsa-encrypted.pem"), "private key is encrypted; arid asks for no passphrase (openssl pkey -in FILE -out NEW takes it off)"},
		{"encrypted PKCS#1", file(t, "rsa-encrypted-old.pem"), "private key is encrypted; arid asks for no passphrase (openssl pkey -in FILE -out NEW takes it off)"},
		{"key and an encrypted one", join(ed, file(t, "rsa-encrypted.pem")), "private key is encrypted; arid asks for no passphrase (openssl pkey -in FILE -out NEW takes it off)"},
		{"public key", file(t, "rsa-public.pem"), "holds a public key, the private one is needed"},
		{"certificate", cert, "holds a certificate, no private key"},
		{"request", file(t, "minimal.csr"), `holds "CERTIFICATE REQUEST" in PEM, no private key`},
		{"DH parameters", file(t, "dh.pem"), `holds "X9.42 DH PARAMETERS" in PEM, no private key`},
		{"OpenSSH", file(t, "openssh.pem"), "is a key in OpenSSH's own form (ssh-keygen -p -m PEM -f COPY converts one)"},
		{"Ed448", file(t, "ed448.pem"), "private key cannot be read: x509: PKCS#8 wrapping contained private key with unknown algorithm: 1.3.101.113"},
		{"X25519", file(t, "x25519.pem"), "key cannot sign (*ecdh.PrivateKey)"},
		{"secp256k1", file(t, "ec-k1.pem"), "private key cannot be read: x509: unknown elliptic curve"},
		{"explicit parameters", file(t, "ec-explicit.pem"), "private key cannot be read: x509: unknown elliptic curve"},
		{"DER", der.Bytes, "is in DER or another binary form; a private key is read as PEM or JWK"},
		{"cut off", rsa[:len(rsa)-20], "has a damaged PEM block (cut off, or with a bad line)"},
		{"good key, then one cut off", join(ed, rsa[:len(rsa)/2]), "has a damaged PEM block (cut off, or with a bad line)"},
		{"empty", nil, "empty, no private key"},
		{"blank", []byte(" \r\n"), "empty, no private key"},
		{"text", []byte("hello"), "neither PEM nor JWK, no private key"},
		{"too large", make([]byte, maxFile+1), "larger than 65536 bytes, so no private key"},
		{"one huge key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: make([]byte, maxDER+1)}), "private key of 16385 bytes is too large"},
		{"unknown private type", pem.EncodeToMemory(&pem.Block{Type: "DSA PRIVATE KEY"}), `"DSA PRIVATE KEY" is not supported`},
	} {
		key, err := Parse(c.data)
		got := ""
		if err != nil {
			got = err.Error()
			var bad *ParseError
			if !errors.As(err, &bad) {
				t.Errorf("%s: error of type %T", c.name, err)
			}
		} else {
			a, _ := AlgoOf(key.Public())
			got = string(a)
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestMarshalPEM(t *testing.T) {
	for a, want := range map[Algo]string{RSA2048: "PRIVATE KEY", P256: "EC PRIVATE KEY", P384: "EC PRIVATE KEY", P521: "EC PRIVATE KEY", Ed25519: "PRIVATE KEY"} {
		key := sample(t, a)
		text, err := MarshalPEM(key)
		if err != nil {
			t.Fatal(err)
		}
		if begin := "-----BEGIN " + want + "-----\n"; !strings.HasPrefix(string(text), begin) || strings.Count(string(text), "BEGIN") != 1 {
			t.Errorf("%s: begins with %.30q", a, text)
		}
		again, err := Parse(text)
		if err != nil || !Fits(key.Public(), again) {
			t.Errorf("%s: read back: %v", a, err)
		}
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	good, bad, fifo := filepath.Join(dir, "good"), filepath.Join(dir, "bad"), filepath.Join(dir, "fifo")
	for name, data := range map[string][]byte{good: file(t, "ed25519.pem"), bad: file(t, "cert.pem")} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(good); err != nil {
		t.Error(err)
	}
	if _, err := Read(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	for name, want := range map[string]string{
		bad:         `"` + bad + `": holds a certificate, no private key`,
		fifo:        `"` + fifo + `": empty, no private key`,
		dir:         `"` + dir + `": is no file`,
		"/dev/zero": `"/dev/zero": is no file`,
	} {
		if _, err := Read(name); err == nil || err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.Write(file(t, "ed25519.pem")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := Read("/dev/fd/" + itoa(r.Fd())); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			f.Add(file(f, e.Name()))
		}
	}
	for _, text := range jwks(f) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := Parse(data)
		if err != nil {
			if key != nil {
				t.Error("a key and an error")
			}
			return
		}
		if Check(key.Public()) != nil {
			return // weak: read, but nobody works with it
		}
		text, err := MarshalPEM(key)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse(text); err != nil || !Fits(key.Public(), again) {
			t.Errorf("does not read back: %v", err)
		}
		// What was read can be worked with.
		if _, err := MakeCSR(key, CSROptions{Names: []string{"example.org"}}); err != nil {
			t.Errorf("does not sign: %v", err)
		}
	})
}
