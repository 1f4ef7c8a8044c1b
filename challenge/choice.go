package challenge

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Choice says by which challenge type each name is to be validated.
type Choice struct {
	rules []rule
}

// rule is one word of a Choice.
type rule struct {
	pattern string // "" with the types for all names
	typ     string
}

// ParseChoice reads words with blanks between: PATTERN:TYPE for the names that
// the shell pattern fits ("*" fits dots too), TYPE for all others. A pattern goes
// before a plain type, and otherwise the first word counts that can validate the
// name at all: "http-01 dns-01" proves wildcards by dns-01 and the rest by http-01.
func ParseChoice(text string) (Choice, error) {
	var patterns, plain []rule
	for word := range strings.FieldsSeq(text) {
		colon := strings.LastIndexByte(word, ':')
		r := rule{typ: word[colon+1:]}
		if _, err := lookup(r.typ); err != nil {
			return Choice{}, err
		}
		if colon < 0 {
			plain = append(plain, r)
			continue
		}
		r.pattern = strings.ToLower(word[:colon])
		if _, err := path.Match(r.pattern, ""); err != nil || r.pattern == "" {
			return Choice{}, fmt.Errorf("%q: %q is no pattern for names", word, r.pattern)
		}
		patterns = append(patterns, r)
	}
	if len(plain) == 0 {
		return Choice{}, fmt.Errorf("%q names no challenge type for all other names", text)
	}
	return Choice{rules: slices.Concat(patterns, plain)}, nil
}

// For is the type for a canonical name; the error tells why none of those that
// are meant for it can validate it.
func (c Choice) For(name string) (string, error) {
	var refused error
	for _, r := range c.rules {
		if r.pattern != "" && !fits(r.pattern, name) {
			continue
		}
		err := checkLocal(r.typ, name)
		if err == nil {
			return r.typ, nil
		}
		if refused == nil {
			refused = err
		}
	}
	return "", refused
}

// Uses tells whether any of the names is proved by this type.
func (c Choice) Uses(typ string, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		by, err := c.For(name)
		return err == nil && by == typ
	})
}

// First is the type of the first word for all names.
func (c Choice) First() string {
	for _, r := range c.rules {
		if r.pattern == "" {
			return r.typ
		}
	}
	return ""
}

// fits matches as a shell does where a name is no path.
func fits(pattern, name string) bool {
	ok, err := path.Match(pattern, name) // no name has a slash, which "*" would not fit
	return err == nil && ok
}
