package cmd

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"arid/report"
)

// dehydratedLine is what a command line in dehydrated's manner asks for.
type dehydratedLine struct {
	command string // as COMMAND has it for hooks: "sign_domains", "sign_csr", …; or "help"
	file    string // of --signcsr and --revoke

	settings map[string]string // given by parameters that stand for a setting
	config   string            // --config
	domains  string            // every --domain, joined by blanks; "" where none was given
	alias    string            // --alias; counts only beside --domain

	acceptTerms     bool
	fullChain       bool // --signcsr
	force           bool
	forceValidation bool
	noLock          bool
	lockSuffix      string

	keepGoing bool     // as the settings of the present certificate have it
	env       []string // of the present certificate, for hooks of the run

	program    string // as the user called it
	registered bool   // found out: the account was there
}

// lineError is a command line that cannot be run; the status is 1. Help, where it
// belongs to the answer, follows the text on the same stream.
type lineError struct {
	text   string
	help   bool
	stdout bool // not stderr
}

func (e *lineError) Error() string { return e.text }

// dehydratedWord is a command or a parameter of dehydrated's.
type dehydratedWord struct {
	long, short string
	value       string // what help calls its value; "" where it takes none
	help        string
	command     string // COMMAND for hooks; "" for a parameter
	setting     string // that the parameter stands for, and with it …
	is          string // … what it says, where it takes no value
	take        func(l *dehydratedLine, value string) error
}

// dehydratedWords are all that there are, in the order that help has. There is no
// --word=value and no bundling: each is one argument, written just so.
var dehydratedWords = []dehydratedWord{
	{long: "--version", short: "-v", command: "version", help: "say which program this is, and of which version"},
	{long: "--display-terms", command: "terms", help: "print the address of the CA's terms of service"},
	{long: "--register", command: "register", help: "make an account at the CA"},
	{long: "--account", command: "account", help: "tell the CA the contact address of the config"},
	{long: "--cron", short: "-c", command: "sign_domains", help: "get each certificate of domains.txt that is missing, changed or runs out"},
	{long: "--signcsr", short: "-s", value: "FILE", command: "sign_csr", help: "sign the request in FILE, and print the certificate", take: takeFile},
	{long: "--revoke", short: "-r", value: "FILE", command: "revoke", help: "revoke the certificate in FILE", take: takeFile},
	{long: "--deactivate", command: "deactivate", help: "end the account at the CA, for good"},
	{long: "--cleanup", short: "-gc", command: "cleanup", help: "move superseded files of certificates to the archive"},
	{long: "--cleanup-delete", short: "-gcd", command: "cleanupdelete", help: "delete superseded files of certificates"},
	{long: "--help", short: "-h", command: "help", help: "print this"},
	{long: "--env", short: "-e", command: "env", help: "print settings for other scripts, to be evaluated by bash"},

	{long: "--accept-terms", help: "agree to the CA's terms of service", take: func(l *dehydratedLine, _ string) error { l.acceptTerms = true; return nil }},
	{long: "--full-chain", short: "-fc", help: "with --signcsr: print the issuer's certificate once more", take: func(l *dehydratedLine, _ string) error { l.fullChain = true; return nil }},
	{long: "--ipv4", short: "-4", setting: "IP_VERSION", is: "4", help: "connect over IPv4 only"},
	{long: "--ipv6", short: "-6", setting: "IP_VERSION", is: "6", help: "connect over IPv6 only"},
	{long: "--domain", short: "-d", value: "NAME", help: "instead of domains.txt: one certificate, for every NAME given", take: takeDomain},
	{long: "--ca", value: "URL|PRESET", setting: "CA", help: "ask this CA", take: takeCA},
	{long: "--alias", value: "NAME", help: "with --domain: the certificate's folder and config have this name", take: takeAlias},
	{long: "--keep-going", short: "-g", setting: "KEEP_GOING", is: "yes", help: "go on with the next certificate after a failure"},
	{long: "--force", short: "-x", help: "renew what is not due yet", take: func(l *dehydratedLine, _ string) error { l.force = true; return nil }},
	{long: "--force-validation", help: "with --force: have the names validated anew", take: func(l *dehydratedLine, _ string) error { l.forceValidation = true; return nil }},
	{long: "--no-lock", short: "-n", help: "make no lock file", take: func(l *dehydratedLine, _ string) error { l.noLock = true; return nil }},
	{long: "--lock-suffix", value: "TEXT", help: "put TEXT behind the name of the lock file", take: func(l *dehydratedLine, value string) error { l.lockSuffix = value; return nil }},
	{long: "--ocsp", setting: "OCSP_MUST_STAPLE", is: "yes", help: "ask for a certificate that requires OCSP stapling"},
	{long: "--privkey", short: "-p", value: "FILE", setting: "ACCOUNT_KEY", help: "use the key in FILE as account key"},
	{long: "--domains-txt", value: "FILE", setting: "DOMAINS_TXT", help: "read the list of certificates from FILE"},
	{long: "--config", short: "-f", value: "FILE", help: "read the settings from FILE", take: func(l *dehydratedLine, value string) error { l.config = value; return nil }},
	{long: "--hook", short: "-k", value: "PROGRAM", setting: "HOOK", help: "call PROGRAM at each step"},
	{long: "--preferred-chain", value: "CN", setting: "PREFERRED_CHAIN", help: "choose the chain whose last issuer has this common name"},
	{long: "--out", short: "-o", value: "DIR", setting: "CERTDIR", help: "put certificates into DIR"},
	{long: "--alpn", value: "DIR", setting: "ALPNCERTDIR", help: "put tls-alpn-01 certificates into DIR"},
	{long: "--challenge", short: "-t", value: "TYPE", setting: "CHALLENGETYPE", help: "http-01, dns-01 or tls-alpn-01"},
	{long: "--algo", short: "-a", value: "TYPE", setting: "KEY_ALGO", help: "of the certificate's key: rsa, prime256v1, secp384r1 or secp521r1"},
	{long: "--acme-profile", value: "NAME", setting: "ACME_PROFILE", help: "ask for this profile of the CA's"},
	{long: "--order-timeout", value: "SECONDS", setting: "ORDER_TIMEOUT", help: "wait at most so long for an order, 0 as long as TIMEOUT says"},
	{long: "--validation-timeout", value: "SECONDS", setting: "VALIDATION_TIMEOUT", help: "wait at most so long for a validation, 0 as long as TIMEOUT says"},
}

// parseDehydrated reads a command line in dehydrated's manner: commands and
// parameters in any order, from left to right, so that the first mistake is the
// one that is told and --help answers wherever it is reached. Mistakes are
// *lineError.
func parseDehydrated(words []string) (*dehydratedLine, error) {
	l := &dehydratedLine{settings: map[string]string{}}
	if strings.Join(words, "") == "" {
		l.command = "help"
		return l, nil
	}
	for len(words) > 0 {
		var err error
		if words, err = l.next(words); err != nil {
			return nil, err
		}
		if l.command == "help" {
			return l, nil
		}
	}
	if l.command == "" {
		return nil, &lineError{help: true, stdout: true}
	}
	return l, nil
}

// next takes the first word, with its value, and returns the rest.
func (l *dehydratedLine) next(words []string) (rest []string, err error) {
	word, rest := words[0], words[1:]
	i := slices.IndexFunc(dehydratedWords, func(w dehydratedWord) bool { return word == w.long || word == w.short && word != "" })
	if i < 0 {
		return nil, &lineError{text: fmt.Sprintf("Unknown parameter detected: %s", word), help: true}
	}
	w := dehydratedWords[i]
	switch {
	case w.command == "help": // also after another command
		l.command = w.command
		return rest, nil
	case w.command != "" && l.command != "":
		return nil, &lineError{text: "ERROR: Only one command can be executed at a time. See help (-h) for more information."}
	case w.command != "":
		l.command = w.command
	}
	value := w.is
	if w.value != "" {
		switch {
		case len(rest) == 0 || rest[0] == "":
			return nil, &lineError{text: fmt.Sprintf("%s needs a value: %s. See help:", word, w.value), help: true}
		case rest[0][0] == '-':
			return nil, &lineError{text: "ERROR: Invalid argument: " + rest[0]}
		}
		value, rest = rest[0], rest[1:]
	}
	if w.take != nil {
		if err := w.take(l, value); err != nil {
			return nil, err
		}
	}
	if w.setting != "" {
		l.settings[w.setting] = value
	}
	return rest, nil
}

func takeFile(l *dehydratedLine, value string) error {
	l.file = value
	return nil
}

func takeDomain(l *dehydratedLine, value string) error {
	l.domains = strings.TrimPrefix(l.domains+" "+value, " ")
	return nil
}

func takeCA(l *dehydratedLine, _ string) error {
	if l.settings["CA"] != "" {
		return &lineError{text: "ERROR: CA can only be specified once!"}
	}
	return nil
}

func takeAlias(l *dehydratedLine, value string) error {
	if l.alias != "" {
		return &lineError{text: "ERROR: Alias can only be specified once!"}
	}
	l.alias = value
	return nil
}

// check refuses what makes no sense together. dehydrated looks at it once the
// config is read, and tells its hook.
func (l *dehydratedLine) check() error {
	if l.forceValidation && !l.force {
		return &lineError{text: "ERROR: Argument --force-validation can only be used in combination with --force (-x)"}
	}
	return nil
}

// say writes the answer to a command line that cannot be run.
func (e *lineError) say(stdout, stderr io.Writer, program string) {
	w := stderr
	if e.stdout {
		w = stdout
	}
	var text string
	if e.text != "" {
		text = report.Escape(e.text) + "\n"
	}
	if e.help {
		if text != "" {
			text += "\n"
		}
		text += dehydratedHelp(program)
	}
	_, _ = io.WriteString(w, text)
}

// dehydratedHelp lists commands and parameters.
func dehydratedHelp(program string) string {
	var commands, parameters [][]string
	for _, w := range dehydratedWords {
		usage := " " + w.long
		if w.short != "" {
			usage += " (" + w.short + ")"
		}
		if w.value != "" {
			usage += " " + w.value
		}
		row := []string{usage, w.help}
		if w.command != "" {
			commands = append(commands, row)
		} else {
			parameters = append(parameters, row)
		}
	}
	head := fmt.Sprintf("Usage: %s [command [argument]] [parameter [argument]]...\n\n"+
		"arid with the command line of dehydrated. Without a word it prints this.\n", program)
	text := head + "\nCommands, one at a time:\n" + report.Table(commands)
	return text + "\nParameters, before the command or after it:\n" + report.Table(parameters)
}
