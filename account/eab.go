package account

import (
	"context"
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
	Mail bool // the CA gives one out for a mail address
}

func (e *EABError) Error() string { return fmt.Sprintf("CA %q: %s", e.CA, e.What) }

// Hint is what the user might do.
func (e *EABError) Hint() string {
	if e.Mail {
		return "with --contact ADDR arid fetches one for that mail address; or: --eab-kid ID --eab-hmac-file FILE"
	}
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
		return &EABError{CA: ca, What: fmt.Sprintf("external account binding: %q is none of HS256, HS384, HS512", e.Alg)}
	}
	if e.KID == "" || len(e.Key) == 0 {
		return &EABError{CA: ca, What: "external account binding: needs both a key id and an HMAC key"}
	}
	return nil
}

// enough tells whether there is what the CA is known to want.
func (s *Store) enough(r acme.AccountRequest) error {
	if r.EAB != nil || !s.NeedsEAB || s.MailEAB != "" && mailAddress(r.Contact) != "" {
		return nil
	}
	return s.wantsEAB()
}

func (s *Store) wantsEAB() error {
	return &EABError{s.CA, "it makes accounts only for its customers (external account binding)", s.MailEAB != ""}
}

// mailAddress is the first of the contacts that is one; "" if there is none.
func mailAddress(contacts []string) string {
	for _, uri := range contacts {
		if address, found := strings.CutPrefix(uri, "mailto:"); found {
			return address
		}
	}
	return ""
}

// fetchEAB gets an external account binding for the mail address, where none is given
// and the CA has such a place. It is for this one request, and is not kept.
func (s *Store) fetchEAB(ctx context.Context, c *acme.Client, r *acme.AccountRequest) error {
	address := mailAddress(r.Contact)
	if r.EAB != nil || s.MailEAB == "" || address == "" {
		return nil
	}
	kid, text, err := c.FetchEAB(ctx, s.MailEAB, address)
	if none, ok := errors.AsType[*acme.NoEABError](err); ok {
		return &EABError{CA: s.CA, What: none.Error()}
	}
	if err != nil {
		return err
	}
	key, err := ReadEABKey(text)
	if err != nil {
		return &acme.ProtocolError{URL: s.MailEAB, What: "what came for the mail address cannot be used", Err: err}
	}
	r.EAB = &acme.EAB{KID: kid, Key: key}
	return nil
}
