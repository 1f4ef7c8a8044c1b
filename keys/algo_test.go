package keys

import (
	"crypto"
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"
)

// sample is one key of a kind, made once: RSA is slow.
func sample(t testing.TB, a Algo) crypto.Signer {
	t.Helper()
	key, err := Generate(a)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestParseAlgo(t *testing.T) {
	for _, c := range []struct {
		word string
		bits int
		want Algo // "": an error
	}{
		{"rsa", 4096, RSA4096},
		{"RSA", 3072, RSA3072},
		{"rsa", 1024, ""},
		{"rsa", 0, ""},
		{"rsa2048", 4096, RSA2048},
		{"rsa8192", 0, "rsa8192"},
		{"rsa8193", 0, ""},
		{"rsa1024", 0, ""},
		{"rsa02048", 0, ""},
		{"rsa+2048", 0, ""},
		{"rsa-2048", 0, ""},
		{"prime256v1", 0, P256},
		{"Secp384R1", 0, P384},
		{"secp521r1", 0, P521},
		{"ED25519", 0, Ed25519},
		{"p256", 0, ""},
		{"ec-256", 0, ""},
		{"", 2048, ""},
	} {
		got, err := ParseAlgo(c.word, c.bits)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q %d: got %q, %v", c.word, c.bits, got, err)
		}
	}
}

func TestGenerate(t *testing.T) {
	for _, a := range []Algo{RSA2048, P256, P384, P521, Ed25519} {
		key := sample(t, a)
		if got, err := AlgoOf(key.Public()); got != a || err != nil {
			t.Errorf("%s: is a %q, %v", a, got, err)
		}
		if err := Check(key.Public()); err != nil {
			t.Errorf("%s: %v", a, err)
		}
		if !Fits(key.Public(), key) || Fits(sample(t, P256).Public(), key) || Fits(key.Public(), nil) || Equal(nil, key.Public()) {
			t.Errorf("%s: Fits is wrong", a)
		}
	}
	for _, a := range []Algo{"", "rsa", "rsa1024", "rsa16384", "secp256k1"} {
		if _, err := Generate(a); err == nil {
			t.Errorf("%q was made", a)
		}
	}
}

func TestCheck(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	modulus := func(bits uint) *big.Int { return new(big.Int).SetBit(big.NewInt(1), int(bits)-1, 1) }
	for _, c := range []struct {
		name string
		pub  crypto.PublicKey
		want string // "": taken
	}{
		{"RSA 1024", &rsa.PublicKey{N: modulus(1024), E: 65537}, "RSA key of 1024 bits; it must have 2048 to 8192"},
		{"RSA 2047", &rsa.PublicKey{N: modulus(2047), E: 65537}, "RSA key of 2047 bits; it must have 2048 to 8192"},
		{"RSA 2048", &rsa.PublicKey{N: modulus(2048), E: 65537}, ""},
		{"RSA 8192", &rsa.PublicKey{N: modulus(8192), E: 3}, ""},
		{"RSA 8193", &rsa.PublicKey{N: modulus(8193), E: 65537}, "RSA key of 8193 bits; it must have 2048 to 8192"},
		{"exponent 1", &rsa.PublicKey{N: modulus(2048), E: 1}, "rsa2048 key with the public exponent 1"},
		{"exponent even", &rsa.PublicKey{N: modulus(2048), E: 65536}, "rsa2048 key with the public exponent 65536"},
		{"P-224", &p224.PublicKey, "elliptic curve P-224 is not supported"},
		{"DSA", &dsa.PublicKey{}, "unknown kind of key (*dsa.PublicKey)"},
		{"nothing", nil, "unknown kind of key"},
	} {
		got := ""
		if err := Check(c.pub); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
