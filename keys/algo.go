// Package keys makes and reads private keys and certificate signing requests.
// It knows their formats (PEM, JWK, PKCS#10) and what a CA takes, and nothing
// of where they lie or what they are for.
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Algo names a kind of key as KEY_ALGO does; for RSA the size is part of it
// ("rsa3072").
type Algo string

// The kinds with a name of their own. "rsaN" for any other N from minRSA to
// maxRSA is an Algo too: a live key may have such a size.
const (
	RSA2048 Algo = "rsa2048"
	RSA3072 Algo = "rsa3072"
	RSA4096 Algo = "rsa4096"
	P256    Algo = "prime256v1"
	P384    Algo = "secp384r1"
	P521    Algo = "secp521r1"
	Ed25519 Algo = "ed25519"
)

// RSA moduli that are taken, in bits: below, no CA signs for them; above, a
// handshake takes seconds.
const (
	minRSA = 2048
	maxRSA = 8192
)

// ParseAlgo reads KEY_ALGO in any case. The bare word "rsa" gets the size
// rsaBits (KEYSIZE); for the other words rsaBits is not looked at.
func ParseAlgo(word string, rsaBits int) (Algo, error) {
	a := Algo(strings.ToLower(word))
	switch a {
	case P256, P384, P521, Ed25519:
		return a, nil
	case "rsa":
		a = rsaAlgo(rsaBits)
	}
	bits, isRSA := a.rsaBits()
	switch {
	case !isRSA:
		return "", fmt.Errorf("key type %q is none of rsa, rsa2048, rsa3072, rsa4096, prime256v1, secp384r1, secp521r1, ed25519", word)
	case bits < minRSA || bits > maxRSA:
		return "", fmt.Errorf("RSA keys have %d to %d bits, not %d", minRSA, maxRSA, bits)
	}
	return a, nil
}

func rsaAlgo(bits int) Algo { return Algo("rsa" + strconv.Itoa(bits)) }

// rsaBits is the N of "rsaN".
func (a Algo) rsaBits() (bits int, isRSA bool) {
	digits, found := strings.CutPrefix(string(a), "rsa")
	bits, err := strconv.Atoi(digits)
	return bits, found && err == nil && a == rsaAlgo(bits)
}

// curve is the elliptic curve of a, nil if it has none.
func (a Algo) curve() elliptic.Curve {
	switch a {
	case P256:
		return elliptic.P256()
	case P384:
		return elliptic.P384()
	case P521:
		return elliptic.P521()
	}
	return nil
}

// Generate makes a key. RSA takes a while: some tenths of a second for 2048
// bits, several seconds for 4096 on a small machine.
func Generate(a Algo) (crypto.Signer, error) {
	if c := a.curve(); c != nil {
		return ecdsa.GenerateKey(c, rand.Reader)
	}
	if a == Ed25519 {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	if bits, isRSA := a.rsaBits(); isRSA && bits >= minRSA && bits <= maxRSA {
		return rsa.GenerateKey(rand.Reader, bits)
	}
	return nil, fmt.Errorf("cannot make a key of type %q", string(a))
}

// AlgoOf is the kind of a public key. Kinds that arid does not know are an
// error; weak RSA keys are not (see Check).
func AlgoOf(pub crypto.PublicKey) (Algo, error) {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return rsaAlgo(k.N.BitLen()), nil
	case ed25519.PublicKey:
		return Ed25519, nil
	case *ecdsa.PublicKey:
		for _, a := range []Algo{P256, P384, P521} {
			if k.Curve == a.curve() {
				return a, nil
			}
		}
		return "", fmt.Errorf("elliptic curve %s is not supported", k.Params().Name)
	case nil:
		return "", errors.New("unknown kind of key")
	}
	return "", fmt.Errorf("unknown kind of key (%T)", pub)
}

// Check refuses public keys that no CA would certify: RSA outside 2048 to 8192
// bits or with an exponent that is none, unknown curves and types.
func Check(pub crypto.PublicKey) error {
	a, err := AlgoOf(pub)
	if err != nil {
		return err
	}
	k, isRSA := pub.(*rsa.PublicKey)
	if !isRSA {
		return nil
	}
	if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA {
		return fmt.Errorf("RSA key of %d bits; it must have %d to %d", bits, minRSA, maxRSA)
	}
	if k.E < 3 || k.E%2 == 0 {
		return fmt.Errorf("%s key with the public exponent %d", a, k.E)
	}
	return nil
}

// Equal tells whether two public keys are the same key.
func Equal(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// Fits tells whether key is the private half of pub; a nil key fits nothing.
func Fits(pub crypto.PublicKey, key crypto.Signer) bool {
	return key != nil && Equal(pub, key.Public())
}
