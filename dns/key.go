package dns

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"

	mdns "github.com/miekg/dns"
)

// Key is a TSIG key (RFC 8945). It never prints its secret.
type Key struct {
	Name      string // lower case, no final dot
	Algorithm string // as BIND writes it, such as hmac-sha256

	// The secret is in here alone, where no verb of fmt finds it.
	mac func() hash.Hash
}

// String is what may be told of a key: ALGORITHM:NAME.
func (k *Key) String() string { return k.Algorithm + ":" + k.Name }

// algorithms are those of RFC 8945 §6, with their names on the wire. The two old
// ones are used only where somebody names them.
var algorithms = map[string]struct {
	wire string
	hash func() hash.Hash
}{
	"hmac-md5":    {mdns.HmacMD5, md5.New},
	"hmac-sha1":   {mdns.HmacSHA1, sha1.New},
	"hmac-sha224": {mdns.HmacSHA224, sha256.New224},
	"hmac-sha256": {mdns.HmacSHA256, sha256.New},
	"hmac-sha384": {mdns.HmacSHA384, sha512.New384},
	"hmac-sha512": {mdns.HmacSHA512, sha512.New},
}

const defaultAlgorithm = "hmac-sha256"

// ParseKey reads [ALGORITHM:]NAME:SECRET, as nsupdate -y takes it; the algorithm
// is hmac-sha256 where none is named. No error repeats a part of the text: each
// might be the secret in a wrong place.
func ParseKey(text string) (*Key, error) {
	parts := strings.Split(strings.TrimSpace(text), ":")
	if len(parts) == 2 {
		parts = append([]string{defaultAlgorithm}, parts...)
	}
	if len(parts) != 3 {
		return nil, errors.New("not [ALGORITHM:]NAME:SECRET")
	}
	return newKey(parts[1], parts[0], parts[2])
}

func newKey(name, algorithm, secret string) (*Key, error) {
	k := &Key{
		Name:      strings.ToLower(strings.TrimSuffix(name, ".")),
		Algorithm: strings.ToLower(strings.TrimSuffix(algorithm, ".")),
	}
	if k.Algorithm+"." == mdns.HmacMD5 { // BIND takes the long name too
		k.Algorithm = "hmac-md5"
	}
	a, known := algorithms[k.Algorithm]
	if !known {
		return nil, errors.New("the algorithm is none of hmac-sha256, hmac-sha224, hmac-sha384, hmac-sha512, hmac-sha1, hmac-md5")
	}
	if !keyName(k.Name) {
		return nil, errors.New("the key's name is no domain name")
	}
	// base64 in a file may be broken into lines and groups.
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(secret), ""))
	if err != nil {
		return nil, errors.New("the secret is not base64")
	}
	if len(raw) == 0 {
		return nil, errors.New("the secret is empty")
	}
	k.mac = func() hash.Hash { return hmac.New(a.hash, raw) }
	return k, nil
}

// keyName takes what key names are made of, and not the rest of base64: a secret
// where the name should be must not go over the wire.
func keyName(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_."
	_, valid := mdns.IsDomainName(name)
	return valid && name != "" && strings.Trim(name, letters) == ""
}

// ReadKey reads a key file of BIND's, as tsig-keygen prints it:
//
//	key "name" { algorithm hmac-sha256; secret "…"; };
//
// Errors of form have the line, and nothing of what stands in it.
func ReadKey(data []byte) (*Key, error) {
	s := keyScanner{rest: string(data), line: 1}
	name, clauses, err := s.key()
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", s.line, err)
	}
	return newKey(name, clauses["algorithm"], clauses["secret"])
}

// keyScanner takes a key file apart.
type keyScanner struct {
	rest string
	line int
}

func (s *keyScanner) key() (name string, clauses map[string]string, err error) {
	if word, err := s.next(); err != nil {
		return "", nil, err
	} else if word != "key" {
		return "", nil, errors.New(`not key "NAME" { algorithm …; secret "…"; }; as tsig-keygen prints it`)
	}
	if name, err = s.next(); err != nil {
		return "", nil, err
	}
	if err := s.expect("{"); err != nil {
		return "", nil, err
	}
	if clauses, err = s.clauses(); err != nil {
		return "", nil, err
	}
	for _, word := range []string{"algorithm", "secret"} {
		if _, ok := clauses[word]; !ok {
			return "", nil, fmt.Errorf("the key has no %s", word)
		}
	}
	return name, clauses, s.end()
}

// clauses reads up to the closing brace.
func (s *keyScanner) clauses() (map[string]string, error) {
	clauses := map[string]string{}
	for {
		word, err := s.next()
		if err != nil {
			return nil, err
		}
		switch word {
		case "}":
			return clauses, nil
		case "":
			return nil, errors.New("the key's brace is not closed")
		case "algorithm", "secret":
		default:
			return nil, errors.New("neither algorithm nor secret")
		}
		if _, again := clauses[word]; again {
			return nil, fmt.Errorf("a second %s", word)
		}
		if clauses[word], err = s.next(); err != nil {
			return nil, err
		}
		if err := s.expect(";"); err != nil {
			return nil, err
		}
	}
}

// end is what may follow a key: a semicolon and nothing else.
func (s *keyScanner) end() error {
	for {
		switch word, err := s.next(); {
		case err != nil:
			return err
		case word == "" && s.rest == "":
			return nil
		case word == "key":
			return errors.New("a second key: the file must hold one")
		case word != ";":
			return errors.New("something after the key")
		}
	}
}

func (s *keyScanner) expect(want string) error {
	if word, err := s.next(); err != nil {
		return err
	} else if word != want {
		return fmt.Errorf("%q is missing", want)
	}
	return nil
}

// next is the next word, text in quotes (without them) or one of { } ; and ""
// at the end.
func (s *keyScanner) next() (string, error) {
	if err := s.skip(); err != nil || s.rest == "" {
		return "", err
	}
	switch s.rest[0] {
	case '{', '}', ';':
		return s.take(1), nil
	case '"':
		n := strings.IndexByte(s.rest[1:], '"')
		if n < 0 {
			return "", errors.New("a quote is not closed")
		}
		return strings.Trim(s.take(n+2), `"`), nil
	}
	n := strings.IndexAny(s.rest, " \t\r\n{};\"")
	if n < 0 {
		n = len(s.rest)
	}
	return s.take(n), nil
}

// skip leaves out blanks and comments of the three kinds that BIND knows.
func (s *keyScanner) skip() error {
	for {
		s.take(len(s.rest) - len(strings.TrimLeft(s.rest, " \t\r\n")))
		switch {
		case strings.HasPrefix(s.rest, "//"), strings.HasPrefix(s.rest, "#"):
			n := strings.IndexByte(s.rest, '\n')
			if n < 0 {
				n = len(s.rest)
			}
			s.take(n)
		case strings.HasPrefix(s.rest, "/*"):
			n := strings.Index(s.rest[2:], "*/")
			if n < 0 {
				return errors.New("a comment is not closed")
			}
			s.take(n + 4)
		default:
			return nil
		}
	}
}

func (s *keyScanner) take(n int) (text string) {
	text, s.rest = s.rest[:n], s.rest[n:]
	s.line += strings.Count(text, "\n")
	return text
}
