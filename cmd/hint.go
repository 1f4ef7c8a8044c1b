package cmd

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"arid/account"
	"arid/acme"
	"arid/issue"
	"arid/report"
)

// hints are what the user might do about an error, a line each.
func hints(err error) (lines []string) {
	var own interface{ Hint() string }
	if errors.As(err, &own) && own.Hint() != "" {
		lines = append(lines, own.Hint())
	}
	if setting, ok := errors.AsType[*issue.ConfigError](err); ok && setting.Hint != "" {
		lines = append(lines, setting.Hint)
	}
	lines = append(lines, selfCheckHints(err)...)
	problem := problemOf(err)
	lines = append(lines, problemHints(problem)...)
	var later *acme.TemporaryError
	if errors.As(err, &later) && !later.Until.IsZero() && !is[*issue.AgainError](err) {
		lines = append(lines, "not before "+later.Until.UTC().Format(time.RFC3339))
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		lines = append(lines, "--ca-bundle FILE adds the roots of a CA of your own; a captive portal or a proxy shows one that nobody knows")
	}
	if dates, ok := errors.AsType[x509.CertificateInvalidError](err); ok && dates.Reason == x509.Expired {
		lines = append(lines, "is the clock of this host right?")
	}
	if _, ok := errors.AsType[*account.TermsError](err); ok {
		lines = append(lines, "if you agree to them, say --accept-terms")
	}
	if is[*issue.DeployError](err) && !is[*rehearsalError](err) {
		lines = append(lines, "the certificate is issued all the same; a later run repeats what failed; arid renew --redeploy NAME does it now, as does arid sign on a terminal")
	}
	switch link := explanation(problem); {
	case problem != nil && problem.Short() == "userActionRequired" && problem.Instance != "": // RFC 8555 §7.3.3
		lines = append(lines, fmt.Sprintf("visit %.300q", problem.Instance))
	case link != "":
		lines = append(lines, "see "+link)
	}
	return lines
}

// problemOf is the CA's own explanation of an error that is not about a validation; nil
// where there is none.
func problemOf(err error) *acme.Problem {
	var problem *acme.Problem
	var order *issue.OrderError
	if !errors.As(err, &problem) && errors.As(err, &order) {
		problem = order.Problem
	}
	return problem
}

// explanation is where the CA explains itself, "" where it does not say. In the words
// about a validation, or an order, that failed stands what the CA has looked at, which
// may be a page of anybody's.
func explanation(p *acme.Problem) string {
	if p == nil {
		return ""
	}
	said := *p
	if p.URL == "" {
		said.Detail = ""
	}
	return said.Link()
}

// nextTry tells when what failed is tried again, "" where that is not known.
func nextTry(err error, now time.Time) string {
	var again *issue.AgainError
	if !errors.As(err, &again) {
		return ""
	}
	text := fmt.Sprintf("not before %s, in %s", again.Next.UTC().Format(time.RFC3339), span(again.Next.Sub(now)))
	if again.AtOnce {
		text = "by hand at once, else " + text
	}
	return text
}

// blame is one thing that went wrong, as it is told.
type blame struct {
	text  string
	notes []report.Note
}

// blames are what went wrong: mostly one thing, after a validation one for each
// name that failed.
func blames(err error) (all []blame) {
	var notes []report.Note
	for _, hint := range hints(err) {
		notes = append(notes, report.Note{Label: "hint", Text: hint})
	}
	if next := nextTry(err, time.Now()); next != "" {
		notes = append(notes, report.Note{Label: "next try", Text: next})
	}
	var validation *issue.ValidationError
	if !errors.As(err, &validation) || len(validation.Failures) == 0 {
		return []blame{{err.Error(), notes}}
	}
	first := validation.First()
	certificate, _, _ := strings.Cut(err.Error(), validation.Error())
	certificate = cmp.Or(certificate, first[0].Name+": ")
	for i, f := range first {
		b := blame{text: f.Error()}
		if !strings.HasPrefix(b.text, certificate) {
			b.text = certificate + b.text
		}
		if f.Seen.Text != "" {
			b.notes = append(b.notes, report.Note{Label: "seen", Text: f.Seen.Text})
		}
		if hint := validationHint(f); hint != "" {
			b.notes = append(b.notes, report.Note{Label: "hint", Text: hint})
		}
		if i == 0 {
			b.notes = append(b.notes, notes...)
		}
		if link := explanation(f.Problem); link != "" {
			b.notes = append(b.notes, report.Note{Label: "hint", Text: "see " + link})
		}
		if len(all) == 0 || all[len(all)-1].text != b.text { // NAME and *.NAME are told alike
			all = append(all, b)
		}
	}
	if more := len(validation.Failures) - len(first); more > 0 {
		all = append(all, blame{text: fmt.Sprintf("%sand %d more names could not be validated", certificate, more)})
	}
	return all
}
