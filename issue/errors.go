package issue

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"arid/acme"
	"arid/probe"
)

// ValidationError says which identifiers the CA could not validate.
type ValidationError struct {
	Failures []Failure
}

// maxShown is how many of perhaps a hundred failures a message tells.
const maxShown = 5

// First are the failures that the message tells.
func (e *ValidationError) First() []Failure { return e.Failures[:min(len(e.Failures), maxShown)] }

// Failure is one identifier's refused challenge.
type Failure struct {
	Name     string // identifier
	Type     string // challenge type
	Problem  *acme.Problem
	Response json.RawMessage // the challenge object
	Seen     probe.Seen      // what arid saw itself, right after; zero if it did not look

	task task
}

// Flat is the challenge object as hooks are told it.
func (f Failure) Flat() string { return flatten(f.Response) }

func (f Failure) Error() string {
	why := "the CA gave no reason"
	if f.Problem != nil {
		why = f.Problem.Error()
	}
	return fmt.Sprintf("%s: %s: %s", f.Name, f.Type, why)
}

func (e *ValidationError) Error() string {
	return firstOf(e.Failures, Failure.Error)
}

// firstOf is what is to be said of the first failures, and how many more there are.
func firstOf(failures []Failure, say func(Failure) string) string {
	var parts []string
	for _, f := range failures[:min(len(failures), maxShown)] {
		parts = append(parts, say(f))
	}
	if more := len(failures) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, "; ")
}

// DeployError says that the certificate was issued and stored, and that a hook
// after it failed. It is owed: the next run repeats it.
type DeployError struct {
	Err error
}

func (e *DeployError) Error() string { return e.Err.Error() }
func (e *DeployError) Unwrap() error { return e.Err }

// AgainError is a failure after which it is known when a run that nobody watches tries
// again.
type AgainError struct {
	Err    error
	Next   time.Time
	AtOnce bool // one like this, that insists, need not wait for that
}

func (e *AgainError) Error() string { return e.Err.Error() }
func (e *AgainError) Unwrap() error { return e.Err }

// AbortError is a hook that says by its failure that nothing is in order: with
// dehydrated it ends the run over all certificates.
type AbortError struct {
	Err error
}

func (e *AbortError) Error() string { return e.Err.Error() }
func (e *AbortError) Unwrap() error { return e.Err }

// ConfigError is a setting that this CA, or this certificate, does not allow.
type ConfigError struct {
	What, Hint string
}

func (e *ConfigError) Error() string { return e.What }

// OfferError is a challenge type that the CA does not offer for a name.
type OfferError struct {
	Name, Type string
	Offered    []string // in the CA's words and order
}

func (e *OfferError) Error() string { return fmt.Sprintf("%s: the CA offers no %s", e.Name, e.Type) }

// Hint is what there is instead.
func (e *OfferError) Hint() string { return "it offers " + listed(e.Offered) }

// ChainError is a chain that the CA does not have.
type ChainError struct {
	Wanted  string   // PREFERRED_CHAIN
	Offered []string // instead
}

func (e *ChainError) Error() string { return fmt.Sprintf("the CA has no chain up to %q", e.Wanted) }

// Hint is what there is instead.
func (e *ChainError) Hint() string {
	return fmt.Sprintf("it offers %s; the issued certificate is kept at the CA, the next run fetches it", listed(e.Offered))
}

// OrderError is an order that the CA gave up, for a reason other than a
// challenge.
type OrderError struct {
	What    string
	Problem *acme.Problem // may be nil
}

func (e *OrderError) Error() string {
	if e.Problem == nil {
		return e.What + ": the CA gave no reason"
	}
	return e.What + ": " + e.Problem.Error()
}

// listed shows words of the CA's, the first of perhaps many.
func listed(words []string) string {
	const most = 10
	var shown []string
	for _, word := range words[:min(len(words), most)] {
		shown = append(shown, fmt.Sprintf("%.100q", word))
	}
	switch {
	case len(words) == 0:
		return "none"
	case len(words) > most:
		shown = append(shown, fmt.Sprintf("and %d more", len(words)-most))
	}
	return strings.Join(shown, ", ")
}
