package cmd

import (
	"cmp"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"arid/acme"
	"arid/issue"
)

// Objects of --json, a line each on stdout. docs/json.md lists every member, and a
// test holds the two together. What there is nothing to say about is left out.

// head begins every object.
type head struct {
	Schema int `json:"schema"`
}

func (h *head) stamp() { h.Schema = 1 }

// object is anything with a head.
type object interface{ stamp() }

// emit writes one object.
func (a *app) emit(o object) error {
	o.stamp()
	if err := a.report.Object(o); err != nil {
		return &outputError{err}
	}
	return nil
}

// certificateJSON is what became of one certificate: of sign, renew and rehearse.
type certificateJSON struct {
	head
	Name     string   `json:"name"`
	Names    []string `json:"names,omitempty"`
	Result   string   `json:"result"`
	Reason   string   `json:"reason,omitempty"`
	NotAfter string   `json:"not_after,omitempty"`
	Issuers  []string `json:"issuers,omitempty"`
	Path     string   `json:"path,omitempty"`
	Chain    string   `json:"chain,omitempty"`
	troubleJSON
}

// troubleJSON is how something ended.
type troubleJSON struct {
	Status   int           `json:"status"`
	Error    string        `json:"error,omitempty"`
	Hints    []string      `json:"hints,omitempty"`
	Until    string        `json:"until,omitempty"`
	Failures []failureJSON `json:"failures,omitempty"`
}

// failureJSON is a name that could not be validated, or not be seen by --self-check.
type failureJSON struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Problem string `json:"problem,omitempty"`
	Detail  string `json:"detail,omitempty"`
	Seen    string `json:"seen,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// errorJSON is what went wrong where there is no other object to say it in.
type errorJSON struct {
	head
	troubleJSON
}

// What became of a certificate.
const (
	resultIssued    = "issued"
	resultDeployed  = "deployed"
	resultUnchanged = "unchanged"
	resultHeld      = "held"
	resultFailed    = "failed"
	resultDue       = "due"  // with --dry-run
	resultOwed      = "owed" // with --dry-run
)

// certificateObject tells what came of a request. What was issued is issued, also
// where a hook failed after that; the status tells.
func certificateObject(name string, names []string, result *issue.Result, err error) *certificateJSON {
	o := &certificateJSON{Name: name, Names: names, troubleJSON: troubleOf(err)}
	var held *issue.HeldError
	switch {
	case errors.As(err, &held):
		o.Result, o.Reason, o.Error = resultHeld, held.Why, ""
	case result != nil && result.Issued:
		o.Result = resultIssued
	case err != nil:
		o.Result = resultFailed
	case result.Deployed:
		o.Result = resultDeployed
	default:
		o.Result = resultUnchanged
	}
	if result == nil {
		return o
	}
	o.Reason = result.Reason
	if result.Paths.Cert != "" {
		o.Path = filepath.Dir(result.Paths.Cert)
	}
	for i, c := range result.Chain {
		if i == 0 {
			o.NotAfter = timeJSON(c.NotAfter)
		}
		o.Issuers = append(o.Issuers, cmp.Or(c.Issuer.CommonName, c.Issuer.String()))
	}
	return o
}

// outlookObject tells what would be done for a certificate.
func outlookObject(r *issue.Request, o *issue.Outlook) *certificateJSON {
	j := &certificateJSON{Name: r.Certificate.Alias, Names: r.Names, Result: outlookState(o), Reason: o.Reason, Path: r.Certificate.Path()}
	j.Until = timeJSON(o.Until)
	if o.Live != nil {
		j.NotAfter = timeJSON(o.Live.Leaf.NotAfter)
	}
	return j
}

// troubleOf tells what went wrong, with all names that failed.
func troubleOf(err error) troubleJSON {
	t := troubleJSON{Status: exitStatus(err)}
	if err == nil {
		return t
	}
	t.Error, t.Hints = err.Error(), hints(err)
	var held *issue.HeldError
	var again *issue.AgainError
	var later *acme.TemporaryError
	switch {
	case errors.As(err, &held):
		t.Until = timeJSON(held.Until)
	case errors.As(err, &again):
		t.Until = timeJSON(again.Next)
	case errors.As(err, &later):
		t.Until = timeJSON(later.Until)
	}
	for _, f := range failuresOf(err) {
		j := failureJSON{Name: f.Name, Type: f.Type, Seen: f.Seen.Text, Hint: validationHint(f)}
		if f.Problem != nil {
			j.Problem, j.Detail = f.Problem.Short(), f.Problem.Detail
		}
		t.Failures = append(t.Failures, j)
	}
	return t
}

// emitCertificate writes the object, and gives back the error that it tells, so that it
// is not told twice, or stdout's.
func (a *app) emitCertificate(o *certificateJSON, err error) error {
	if emitErr := a.emit(o); err == nil {
		return emitErr
	}
	return &emittedError{err}
}

// emittedError is an error that stands in an object already.
type emittedError struct{ err error }

func (e *emittedError) Error() string { return e.err.Error() }
func (e *emittedError) Unwrap() error { return e.err }

// emitError says in an object what went wrong, unless one does. It finds a mistake in
// the command line too, after which --json has not been read.
func (a *app) emitError(err error) {
	if err == nil || is[*emittedError](err) || is[*toldError](err) || is[*outputError](err) {
		return
	}
	words, rest := a.Args[1:], slices.Index(a.Args[1:], "--")
	if rest >= 0 {
		words = words[:rest]
	}
	if a.json || is[*usageError](err) && slices.Contains(words, "--json") {
		_ = a.emit(&errorJSON{troubleJSON: troubleOf(err)}) // a broken stdout is known to report
	}
}

// timeJSON is a time as objects have it, "" for none.
func timeJSON(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// registerJSON is the account of arid register.
type registerJSON struct {
	head
	URL     string   `json:"url"`
	CA      string   `json:"ca"`
	Created bool     `json:"created"`
	Contact []string `json:"contact,omitempty"`
}

// accountJSON is an account, and what became of it.
type accountJSON struct {
	head
	URL     string   `json:"url"`
	CA      string   `json:"ca"`
	Result  string   `json:"result,omitempty"`
	Status  string   `json:"account_status,omitempty"`
	Contact []string `json:"contact,omitempty"`
	Key     string   `json:"key,omitempty"`
	KeyType string   `json:"key_type,omitempty"`
	Backup  string   `json:"backup,omitempty"`
	Terms   string   `json:"terms,omitempty"`
}

// revokeJSON is a certificate that arid revoke was for.
type revokeJSON struct {
	head
	Name   string `json:"name,omitempty"`
	File   string `json:"file,omitempty"`
	Serial string `json:"serial"`
	Reason string `json:"reason,omitempty"`
	Result string `json:"result"`
}

// cleanupJSON is a file, or with --forget a certificate, that was put away.
type cleanupJSON struct {
	head
	Name   string `json:"name,omitempty"`
	File   string `json:"file,omitempty"`
	Result string `json:"result"`
}

// configJSON is a setting.
type configJSON struct {
	head
	Setting  string `json:"setting"`
	Value    string `json:"value,omitempty"`
	Origin   string `json:"origin"`
	Flag     string `json:"flag,omitempty"`
	Variable string `json:"variable,omitempty"`
}

// dnsJSON is what became of records: of a zone's with add and del, of all with wait.
type dnsJSON struct {
	head
	Result  string `json:"result"`
	Records int    `json:"records"`
	Zone    string `json:"zone,omitempty"`
	Server  string `json:"server,omitempty"`
}

// versionJSON is which arid this is.
type versionJSON struct {
	head
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Released string `json:"released,omitempty"`
}
