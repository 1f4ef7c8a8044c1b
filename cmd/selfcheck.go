package cmd

import (
	"errors"
	"slices"

	"arid/issue"
	"arid/probe"
)

// selfCheck has http-01 and tls-alpn-01 looked at from here before the CA is told;
// httpPort is where http-01 is, 0 for 80.
func selfCheck(r *issue.Request, httpPort int) {
	r.SelfCheck = &probe.Prober{DNS: r.DNS, HTTPPort: httpPort}
}

// selfCheckHints are for what could not be seen, each once, three at most.
func selfCheckHints(err error) (lines []string) {
	var unseen *issue.SelfCheckError
	if !errors.As(err, &unseen) {
		return nil
	}
	for _, f := range unseen.Failures {
		if line := hintNamed(string(f.Seen.Cause)); line != "" && !slices.Contains(lines, line) && len(lines) < maxProblemHints {
			lines = append(lines, line)
		}
	}
	return append(lines, "where only the CA can see it, leave --self-check out")
}

// failuresOf are the names that could not be validated, or not be seen by --self-check.
func failuresOf(err error) []issue.Failure {
	var validation *issue.ValidationError
	var unseen *issue.SelfCheckError
	switch {
	case errors.As(err, &validation):
		return validation.Failures
	case errors.As(err, &unseen):
		return unseen.Failures
	}
	return nil
}
