package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Limits on what is read: the largest key anybody has is a tenth of them.
const (
	maxFile = 64 << 10 // of a file with a key or a CSR
	maxDER  = 16 << 10 // of one private key; RSA of 16384 bits has 9.3 KB
)

// ParseError is a file or text that is not what it should be. Nothing of the
// content stands in it, as that may be secret.
type ParseError struct {
	File string // "" where the text came from elsewhere
	What string
	Err  error // may be nil
}

func (e *ParseError) Error() string {
	text := e.What
	if e.File != "" {
		text = fmt.Sprintf("%q: %s", e.File, text)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *ParseError) Unwrap() error { return e.Err }

func notKey(format string, args ...any) error {
	return &ParseError{What: fmt.Sprintf(format, args...)}
}

// MarshalPEM writes a private key as dehydrated and OpenSSL do: EC in SEC1
// ("EC PRIVATE KEY", without EC PARAMETERS), RSA and Ed25519 in PKCS#8.
func MarshalPEM(key crypto.Signer) ([]byte, error) {
	if k, ok := key.(*ecdsa.PrivateKey); ok {
		der, err := x509.MarshalECPrivateKey(k)
		if err != nil {
			return nil, err
		}
		return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Read is Parse of a file: a regular one, or a pipe that the caller's shell
// made. Errors name the file; of *ParseError those that tell of its content.
func Read(file string) (crypto.Signer, error) {
	// O_NONBLOCK: opening a FIFO that nobody writes to must not wait.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if t := info.Mode().Type(); t != 0 && t != fs.ModeNamedPipe {
		return nil, &ParseError{File: file, What: "is no file"}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	key, err := Parse(data)
	if bad, ok := errors.AsType[*ParseError](err); ok {
		bad.File = file
	}
	return key, err
}

// Parse reads one private key. It may be
//
//   - PEM: PKCS#8 (RSA, EC, Ed25519), PKCS#1, SEC1 with or without EC
//     PARAMETERS. Text around the block is passed over, and so are
//     certificates and requests beside it (a combined file);
//   - one JWK object, as lws-acme-client and certbot keep their account keys.
//
// Anything else is a *ParseError that says what the text is instead: an
// encrypted or public key, a certificate, two keys, a damaged block. Parse does
// not judge the key's strength (see Check).
func Parse(data []byte) (crypto.Signer, error) {
	if len(data) > maxFile {
		return nil, notKey("larger than %d bytes, so no private key", maxFile)
	}
	text := trim(data)
	switch {
	case len(text) == 0:
		return nil, notKey("empty, no private key")
	case text[0] == '{':
		return parseJWK(text)
	case isDER(data):
		return nil, notKey("is in DER or another binary form; a private key is read as PEM or JWK")
	}
	var key crypto.Signer
	var beside string // what else the file holds, for the message
	blocks := 0
	for rest := text; ; blocks++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		next, err := parseBlock(block)
		switch {
		case err != nil:
			return nil, err
		case next == nil:
			if beside == "" {
				beside = block.Type
			}
		case key != nil:
			return nil, notKey("holds more than one private key")
		default:
			key = next
		}
	}
	switch {
	case begins(text) != blocks:
		return nil, notKey("has a damaged PEM block (cut off, or with a bad line)")
	case key != nil:
		return key, nil
	case beside == "CERTIFICATE":
		return nil, notKey("holds a certificate, no private key")
	case beside != "":
		return nil, notKey("holds %q in PEM, no private key", clip(beside))
	}
	return nil, notKey("neither PEM nor JWK, no private key")
}

// parseBlock reads the key in a PEM block: nil without an error when there
// is none in blocks of this type.
func parseBlock(b *pem.Block) (crypto.Signer, error) {
	if len(b.Bytes) > maxDER {
		if !isPrivate(b.Type) {
			return nil, nil
		}
		return nil, notKey("private key of %d bytes is too large", len(b.Bytes))
	}
	// RFC 1421 encryption of the old forms.
	if _, encrypted := b.Headers["DEK-Info"]; encrypted || b.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, notKey("private key is encrypted; arid asks for no passphrase (openssl pkey -in FILE -out NEW takes it off)")
	}
	var key any
	var err error
	switch b.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(b.Bytes)
	case "PUBLIC KEY", "RSA PUBLIC KEY":
		return nil, notKey("holds a public key, the private one is needed")
	case "OPENSSH PRIVATE KEY":
		return nil, notKey("is a key in OpenSSH's own form (ssh-keygen -p -m PEM -f COPY converts one)")
	default:
		if isPrivate(b.Type) {
			return nil, notKey("%q is not supported", clip(b.Type))
		}
		return nil, nil
	}
	if err != nil {
		return nil, &ParseError{What: "private key cannot be read", Err: err}
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, nil
	case *ecdsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, notKey("key cannot sign (%T)", key)
}

// isPrivate tells whether PEM blocks of this type hold private keys.
func isPrivate(pemType string) bool {
	return len(pemType) >= len("PRIVATE KEY") && pemType[len(pemType)-len("PRIVATE KEY"):] == "PRIVATE KEY"
}

// begins counts the lines that open a PEM block, good or damaged.
func begins(text []byte) int {
	n := bytes.Count(text, []byte("\n-----BEGIN "))
	if bytes.HasPrefix(text, []byte("-----BEGIN ")) {
		n++
	}
	return n
}

// trim takes a byte order mark and blanks off the text's ends.
func trim(data []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
}

// isDER tells whether data begins as a DER SEQUENCE of more than 127 bytes;
// no text does.
func isDER(data []byte) bool {
	return len(data) > 2 && data[0] == 0x30 && data[1] > 0x80
}

// clip bounds outside text that goes into a message.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
