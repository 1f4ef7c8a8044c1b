package account

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"arid/acme"
)

// EABError is an external account binding (RFC 8555 §7.3.4) that is missing or
// cannot be used. Nothing of the key stands in it.
type EABError struct {
	CA   string // directory URL
	What string
}

func (e *EABError) Error() string { return fmt.Sprintf("CA %q: %s", e.CA, e.What) }

// Hint is what the user might do.
func (e *EABError) Hint() string {
	return "the CA's own site gives out the key id and the HMAC key: --eab-kid ID --eab-hmac-file FILE"
}

// ReadEABKey decodes an EAB HMAC key as CAs hand it out: base64url or standard
// base64, with padding or without, blanks and line breaks anywhere.
func ReadEABKey(text string) ([]byte, error) {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return -1
		case r == '+':
			return '-'
		case r == '/':
			return '_'
		}
		return r
	}, text)
	key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	switch {
	case err != nil: // the error would tell a byte of the key
		return nil, errors.New("EAB key is not base64")
	case len(key) == 0:
		return nil, errors.New("EAB key is empty")
	}
	return key, nil
}

func checkEAB(ca string, e *acme.EAB) error {
	if e == nil {
		return nil
	}
	switch e.Alg {
	case "", "HS256", "HS384", "HS512":
	default:
		return &EABError{ca, fmt.Sprintf("external account binding: %q is none of HS256, HS384, HS512", e.Alg)}
	}
	if e.KID == "" || len(e.Key) == 0 {
		return &EABError{ca, "external account binding: needs both a key id and an HMAC key"}
	}
	return nil
}
