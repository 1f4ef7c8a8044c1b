package cmd

import (
	"fmt"
	"slices"
	"strings"
)

// tinyLine is a command line in acme-tiny's manner.
type tinyLine struct {
	accountKey, csr, acmeDir string
	directoryURL, ca         string
	contact                  []string // nil: none was given; may be empty
	checkPort                string
	quiet, disableCheck      bool
	help                     bool
}

// tinyWord is a parameter of acme-tiny's.
type tinyWord struct {
	name  string
	value string // what help calls its value; "" where it takes none
	many  bool   // any number of values
	help  string
	must  bool
	take  func(l *tinyLine, values []string)
}

// tinyWords are all that there are, in the order that help has.
var tinyWords = []tinyWord{
	{name: "--help", help: "show this and end",
		take: func(l *tinyLine, _ []string) { l.help = true }},
	{name: "--account-key", value: "ACCOUNT_KEY", must: true, help: "private key of the account: RSA, EC or Ed25519, PEM or JWK",
		take: func(l *tinyLine, v []string) { l.accountKey = v[0] }},
	{name: "--csr", value: "CSR", must: true, help: "certificate signing request; - is stdin",
		take: func(l *tinyLine, v []string) { l.csr = v[0] }},
	{name: "--acme-dir", value: "ACME_DIR", must: true, help: "directory that the web server shows as /.well-known/acme-challenge/",
		take: func(l *tinyLine, v []string) { l.acmeDir = v[0] }},
	{name: "--quiet", help: "say errors only",
		take: func(l *tinyLine, _ []string) { l.quiet = true }},
	{name: "--disable-check", help: "do not fetch the challenge file from here before the CA is told",
		take: func(l *tinyLine, _ []string) { l.disableCheck = true }},
	{name: "--directory-url", value: "DIRECTORY_URL", help: "directory of the CA (default: Let's Encrypt)",
		take: func(l *tinyLine, v []string) { l.directoryURL = v[0] }},
	{name: "--ca", value: "CA", help: "deprecated: the CA, to which /directory is added",
		take: func(l *tinyLine, v []string) { l.ca = v[0] }},
	{name: "--contact", value: "CONTACT", many: true, help: "contacts of the account, such as mailto:me@example.org; the CA is told them in every run",
		take: func(l *tinyLine, v []string) { l.contact = append([]string{}, v...) }},
	{name: "--check-port", value: "PORT", help: "port where the challenge file is fetched from here (default: 80)",
		take: func(l *tinyLine, v []string) { l.checkPort = v[0] }},
}

// tinyUsageError is a command line that acme-tiny does not take.
type tinyUsageError struct {
	what string
}

func (e *tinyUsageError) Error() string { return e.what }

func badTiny(format string, args ...any) error {
	return &tinyUsageError{fmt.Sprintf(format, args...)}
}

// parseTiny reads a command line as Python's argparse does: a word may be cut short as
// long as it is one word's beginning, and may have its value behind a "=".
func parseTiny(words []string) (*tinyLine, error) {
	l := &tinyLine{}
	var given, strange []string
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		if word == "--" {
			strange = append(strange, words...)
			break
		}
		if !isTinyWord(word) {
			strange = append(strange, word)
			continue
		}
		name, value, glued := strings.Cut(word, "=")
		w, err := findTiny(name)
		switch {
		case err != nil:
			return nil, err
		case w == nil:
			strange = append(strange, word)
			continue
		case w.value == "" && glued:
			return nil, badTiny("argument %s: takes no value, and got %q", w.name, value)
		}
		var values []string
		switch {
		case glued:
			values = []string{value}
		case w.many:
			n := slices.IndexFunc(words, isTinyWord)
			if n < 0 {
				n = len(words)
			}
			values, words = words[:n], words[n:]
		case w.value != "":
			if len(words) == 0 || isTinyWord(words[0]) {
				return nil, badTiny("argument %s: expected one argument", w.name)
			}
			values, words = words[:1], words[1:]
		}
		w.take(l, values)
		given = append(given, w.name)
		if l.help {
			return l, nil
		}
	}
	var missing []string
	for _, w := range tinyWords {
		if w.must && !slices.Contains(given, w.name) {
			missing = append(missing, w.name)
		}
	}
	switch {
	case len(missing) > 0:
		return nil, badTiny("the following arguments are required: %s", strings.Join(missing, ", "))
	case len(strange) > 0:
		return nil, badTiny("unrecognized arguments: %s", strings.Join(strange, " "))
	}
	return l, nil
}

// isTinyWord tells a parameter from a value: one with a blank in it is none, and
// neither is "-".
func isTinyWord(word string) bool {
	return len(word) > 1 && word[0] == '-' && !strings.Contains(word, " ")
}

// findTiny is the parameter that a word, or its beginning, means; nil where there is
// none.
func findTiny(name string) (*tinyWord, error) {
	if name == "-h" {
		name = "--help"
	}
	var found []string
	at := -1
	for i, w := range tinyWords {
		if w.name == name {
			return &tinyWords[i], nil
		}
		if strings.HasPrefix(name, "--") && strings.HasPrefix(w.name, name) {
			at, found = i, append(found, w.name)
		}
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return &tinyWords[at], nil
	}
	return nil, badTiny("ambiguous option: %s could match %s", name, strings.Join(found, ", "))
}

// shown is the parameter with its value.
func (w tinyWord) shown() string {
	switch {
	case w.many:
		return w.name + " [" + w.value + " ...]"
	case w.value != "":
		return w.name + " " + w.value
	}
	return w.name
}

// tinyUsage is the summary of all words.
func tinyUsage(program string) string {
	line := "usage: " + program
	for _, w := range tinyWords {
		text := w.shown()
		if w.name == "--help" {
			text = "-h"
		}
		if !w.must {
			text = "[" + text + "]"
		}
		line += " " + text
	}
	return line + "\n"
}

func tinyHelp(program string) string {
	var b strings.Builder
	b.WriteString(tinyUsage(program))
	b.WriteString("\nSigns one CSR: proves its names by http-01 and prints the chain on stdout. This is arid,\n" +
		"which keeps no state and reads no config under this name.\n\n" +
		"  " + program + " --account-key account.key --csr domain.csr --acme-dir /var/www/challenges/ > chain.pem\n\noptions:\n")
	for _, w := range tinyWords {
		text := w.shown()
		if w.name == "--help" {
			text = "-h, --help"
		}
		fmt.Fprintf(&b, "  %-29s %s\n", text, w.help)
	}
	return b.String()
}
