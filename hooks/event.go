package hooks

import (
	"strconv"
	"strings"
)

// Event is one call of the user's program: the operation's name, its
// arguments in dehydrated's order, and what it gets in its environment
// besides Runner.Env (as "NAME=value"; it wins over Runner.Env).
type Event struct {
	Name string
	Args []string
	Env  []string
}

// Challenge is what one deploy_challenge or clean_challenge is about.
type Challenge struct {
	Name  string // the identifier, a wildcard without its "*."
	Token string
	Value string // what must be shown; see challenge.Value
}

// maxText is the longest text that Linux takes as one argument (32 pages with
// the closing NUL); longer ones make execve fail with E2BIG.
const maxText = 128<<10 - 1

// Probe is a call that no hook knows: one that fails with it would fail with
// whatever event comes next. The name is dehydrated's, which hooks look for.
func Probe() Event {
	return Event{Name: "this_hookscript_is_broken__dehydrated_is_working_fine__please_ignore_unknown_hooks_in_your_script"}
}

// StartupHook is the event at the start of a run that works on something.
func StartupHook() Event { return Event{Name: "startup_hook"} }

// ExitHook is the event at the end of a run: no argument after a good one, one
// error text (which may be empty) after an aborted one.
func ExitHook(text ...string) Event { return Event{Name: "exit_hook", Args: fit(text...)} }

// GenerateCSR asks the hook to print a CSR for names; run it with Output.
func GenerateCSR(name, dir string, names []string) Event {
	all := strings.Join(names, " ")
	if len(names) == 1 {
		all += " " // dehydrated's trailing blank (recorded with a single name)
	}
	return Event{Name: "generate_csr", Args: []string{name, dir, all}}
}

// DeployChallenge is one call for every challenge in cs: 3·n arguments (one
// challenge a call without HOOK_CHAIN).
func DeployChallenge(cs ...Challenge) Event {
	return Event{Name: "deploy_challenge", Args: triples(cs)}
}

// CleanChallenge takes away what DeployChallenge with the same cs put there.
func CleanChallenge(cs ...Challenge) Event {
	return Event{Name: "clean_challenge", Args: triples(cs)}
}

// InvalidChallenge tells that the CA refused name; response is the CA's text.
func InvalidChallenge(name, response string) Event {
	return Event{Name: "invalid_challenge", Args: fit(name, response)}
}

// RequestFailure tells of a refused request: HTTP status, response body, method
// in lower case, response headers. Body and headers are the CA's text.
func RequestFailure(status int, body, method, headers string) Event {
	return Event{Name: "request_failure", Args: fit(strconv.Itoa(status), body, strings.ToLower(method), headers)}
}

// SyncCert comes with the timestamped files, before the stable names show them.
func SyncCert(key, cert, fullchain, chain, csr string) Event {
	return Event{Name: "sync_cert", Args: []string{key, cert, fullchain, chain, csr}}
}

// DeployCert comes with the stable names, once they show the new certificate.
func DeployCert(name, key, cert, fullchain, chain, timestamp string) Event {
	return Event{Name: "deploy_cert", Args: []string{name, key, cert, fullchain, chain, timestamp}}
}

// UnchangedCert tells that a certificate was looked at and is not due.
func UnchangedCert(name, key, cert, fullchain, chain string) Event {
	return Event{Name: "unchanged_cert", Args: []string{name, key, cert, fullchain, chain}}
}

// DeployOCSP comes with a new OCSP response; timestamp is that of its file.
func DeployOCSP(name, response, timestamp string) Event {
	return Event{Name: "deploy_ocsp", Args: []string{name, response, timestamp}}
}

func triples(cs []Challenge) []string {
	args := make([]string, 0, 3*len(cs))
	for _, c := range cs {
		args = append(args, c.Name, c.Token, c.Value)
	}
	return args
}

// fit makes outside text fit to be an argument: without NUL, which ends a C
// string (and makes exec fail), and no longer than the kernel takes.
func fit(texts ...string) []string {
	args := make([]string, len(texts))
	for i, text := range texts {
		text = strings.ReplaceAll(text, "\x00", "")
		if len(text) > maxText {
			text = strings.ToValidUTF8(text[:maxText], "")
		}
		args[i] = text
	}
	return args
}
