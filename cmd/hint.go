package cmd

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"arid/account"
	"arid/acme"
	"arid/issue"
)

// hints are what the user might do about an error, a line each.
func hints(err error) (lines []string) {
	var own interface{ Hint() string }
	if errors.As(err, &own) && own.Hint() != "" {
		lines = append(lines, own.Hint())
	}
	var setting *issue.ConfigError
	if errors.As(err, &setting) && setting.Hint != "" {
		lines = append(lines, setting.Hint)
	}
	var later *acme.TemporaryError
	if errors.As(err, &later) && !later.Until.IsZero() {
		lines = append(lines, "not before "+later.Until.UTC().Format(time.RFC3339))
	}
	var issuer x509.UnknownAuthorityError
	if errors.As(err, &issuer) {
		lines = append(lines, "--ca-bundle FILE adds the roots of a CA of your own; a captive portal or a proxy shows one that nobody knows")
	}
	var dates x509.CertificateInvalidError
	if errors.As(err, &dates) && dates.Reason == x509.Expired {
		lines = append(lines, "is the clock of this host right?")
	}
	var problem *acme.Problem
	if errors.As(err, &problem) && problem.Short() == "userActionRequired" && problem.Instance != "" { // RFC 8555 §7.3.3
		lines = append(lines, fmt.Sprintf("visit %.300q", problem.Instance))
	}
	var terms *account.TermsError
	if errors.As(err, &terms) {
		lines = append(lines, "if you agree to them, say --accept-terms")
	}
	port := 80 // RFC 8555 §8.3
	var rehearsal *rehearsalError
	if errors.As(err, &rehearsal) {
		port = rehearsal.httpPort
	}
	var deploy *issue.DeployError
	if errors.As(err, &deploy) && rehearsal == nil {
		lines = append(lines, "the certificate is issued all the same; the next run repeats what failed")
	}
	var validation *issue.ValidationError
	if errors.As(err, &validation) {
		for _, f := range validation.First() {
			if hint := validationHint(f, port); hint != "" {
				lines = append(lines, hint)
			}
		}
	}
	return lines
}

// validationHint says what to look at after a refused challenge; port is where
// the CA looks for http-01, 0 where arid itself answers.
func validationHint(f issue.Failure, port int) string {
	if f.Problem == nil {
		return ""
	}
	switch f.Problem.Short() {
	case "connection":
		if port == 0 {
			return "without --http-port arid answers itself, on 127.0.0.1 alone"
		}
		return fmt.Sprintf("is a web server answering on port %d for %q, from everywhere?", port, f.Name)
	case "dns":
		return fmt.Sprintf("does %q resolve, for everybody?", f.Name)
	case "caa":
		return fmt.Sprintf("a CAA record of %q forbids this CA", f.Name)
	case "unauthorized":
		if f.Type == "http-01" {
			return fmt.Sprintf("does http://%s/.well-known/acme-challenge/ show the files of WELLKNOWN?", f.Name)
		}
	}
	return ""
}
