package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"arid/internal/atomicfile"
	"arid/internal/statefile"
)

const schema = 1

// State is what arid remembers of a certificate beside its files (state.json).
// Members of the file that are not here are kept. docs/files.md explains each.
type State struct {
	Schema  int      `json:"schema"`
	Names   []string `json:"names"` // as asked for, in that order
	CA      string   `json:"ca"`    // directory URL
	TestCA  bool     `json:"test_ca"`
	Profile string   `json:"profile"`
	Leaf    string   `json:"leaf"` // Fingerprint of the certificate that this is about
	Revoked bool     `json:"revoked"`
	HookCSR bool     `json:"hook_csr"` // its CSR came from the hook
	Owed    *Owed    `json:"owed"`     // nil: nothing
	Failed  *Failed  `json:"failed"`   // nil: the last attempt for a certificate worked, or there was none
	Hold    *Hold    `json:"hold"`     // nil: the CA has not asked to wait with these names
	ARI     *ARI     `json:"ari"`      // nil: the CA has not been asked about this certificate

	DeployOCSP bool   `json:"deploy_ocsp"` // owed: there is a new OCSP response, and its hook has not succeeded yet
	NoOCSP     string `json:"no_ocsp"`     // Fingerprint of a certificate that can have none, as the user was told

	// ReadOnly is set where the file was written by a newer arid: SaveState then
	// leaves it as it is.
	ReadOnly bool `json:"-"`

	file statefile.File // as it was read
}

// Owed is a version whose deployment was begun and has to be finished.
type Owed struct {
	Version string  `json:"version"`
	Step    string  `json:"step"`   // what comes next: OwedSync or OwedDeploy
	Failed  *Failed `json:"failed"` // nil: it has not been tried
}

// Failed tells of the attempts since the last one that worked.
type Failed struct {
	Attempts int       `json:"attempts"`
	Last     time.Time `json:"last"`
	Status   int       `json:"status"` // that arid ended with
	Error    string    `json:"error"`
	Request  string    `json:"request"` // a digest of what was asked for: another request is not held back
}

// Hold is what the CA asked for with a Retry-After: not these names before Until.
type Hold struct {
	Until time.Time `json:"until"`
	Why   string    `json:"why"`
	CA    string    `json:"ca"` // directory URL
	Names []string  `json:"names"`
}

// ARI is what the CA said about when to renew a certificate (RFC 9773). Without a
// window, Start is zero.
type ARI struct {
	ID          string    `json:"id"` // of the certificate
	Start       time.Time `json:"start"`
	End         time.Time `json:"end"`
	Explanation string    `json:"explanation"` // URL for people
	Ask         time.Time `json:"ask"`         // not to be asked again before
}

// The steps that may be owed: from the sync hook on, or from the deploy hook on.
const (
	OwedSync   = "sync"
	OwedDeploy = "deploy"
)

// StateWarning says that what was remembered is lost: the certificate itself
// may still be good.
type StateWarning struct {
	Path string
	Err  error
}

func (e *StateWarning) Error() string {
	return fmt.Sprintf("%q: cannot be understood and is taken as empty: %v", e.Path, e.Err)
}
func (e *StateWarning) Unwrap() error { return e.Err }

// State reads what is remembered; where there is nothing, an empty State. A
// damaged file gives an empty State and a *StateWarning. Any other error comes
// without a State.
func (c *Certificate) State() (*State, error) {
	empty := &State{Schema: schema}
	dir, err := c.folderIfAny()
	switch {
	case err != nil:
		return nil, err
	case dir == nil:
		return empty, nil
	}
	defer dir.Close()
	text, err := atomicfile.ReadIn(dir, stateName, statefile.Max)
	switch {
	case missing(err):
		return empty, nil
	case errors.Is(err, fs.ErrPermission), atomicfile.Scarce(err): // there is nothing wrong with the file
		return nil, fileError(c.file(stateName), err)
	case err != nil:
		return empty, &StateWarning{c.file(stateName), reason(err)}
	}
	s, err := parseState(text)
	if err != nil {
		return empty, &StateWarning{c.file(stateName), err}
	}
	return s, nil
}

func parseState(text []byte) (*State, error) {
	s := &State{}
	file, err := statefile.Parse(text, schema, s)
	if err != nil {
		return nil, err
	}
	s.file = *file
	if s.ReadOnly = file.ReadOnly(); !s.ReadOnly {
		s.Schema = schema
	}
	return s, nil
}

// SaveState writes what is remembered, if it differs from what was read.
func (c *Certificate) SaveState(s *State) error {
	if s.ReadOnly {
		return nil
	}
	s.Schema = schema
	text, err := s.file.Write(s)
	if err != nil || text == nil {
		return err
	}
	dir, err := c.open()
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := atomicfile.Write(dir, stateName, text, atomicfile.Options{}); err != nil {
		return fileError(c.file(stateName), err)
	}
	s.file.Written(text)
	return nil
}
