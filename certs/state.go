package certs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"arid/internal/atomicfile"
)

const (
	schema  = 1
	maxJSON = 1 << 20
)

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

	DeployOCSP bool   `json:"deploy_ocsp"` // owed: there is a new OCSP response, and its hook has not succeeded yet
	NoOCSP     string `json:"no_ocsp"`     // Fingerprint of a certificate that can have none, as the user was told

	// ReadOnly is set where the file was written by a newer arid: SaveState then
	// leaves it as it is.
	ReadOnly bool `json:"-"`

	members map[string]any // the file as read; nil: there is none
	saved   []byte         // what writing it unchanged would give
}

// Owed is a version whose deployment was begun and has to be finished.
type Owed struct {
	Version string `json:"version"`
	Step    string `json:"step"` // what comes next: OwedSync or OwedDeploy
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
	dir, err := c.folder()
	if missing(err) {
		return empty, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	text, err := atomicfile.ReadIn(dir, stateName, maxJSON)
	switch {
	case missing(err):
		return empty, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, err
	case err != nil:
		return empty, &StateWarning{c.file(stateName), err}
	}
	s, err := parseState(text)
	if err != nil {
		return empty, &StateWarning{c.file(stateName), err}
	}
	return s, nil
}

func parseState(text []byte) (*State, error) {
	members, err := decodeObject(text)
	if err != nil {
		return nil, err
	}
	s := &State{members: members}
	if err := json.Unmarshal(text, s); err != nil {
		var number struct{ Schema int }
		if json.Unmarshal(text, &number) != nil || number.Schema <= schema {
			return nil, err
		}
		// A newer one may have given a member another form.
		s = &State{Schema: number.Schema, members: members}
	}
	if s.Schema < 0 {
		return nil, fmt.Errorf("schema %d", s.Schema)
	}
	s.ReadOnly = s.Schema > schema
	if !s.ReadOnly {
		s.Schema = schema
	}
	s.saved, err = s.encode()
	return s, err
}

func decodeObject(text []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // an unknown number keeps its digits
	var members map[string]any
	if err := d.Decode(&members); err != nil {
		return nil, err
	}
	if members == nil || len(bytes.TrimSpace(text[d.InputOffset():])) > 0 {
		return nil, errors.New("is not one JSON object")
	}
	return members, nil
}

// encode lays what State knows over the members that were read.
func (s *State) encode() ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	known, err := decodeObject(text)
	if err != nil {
		return nil, err
	}
	return encodeJSON(overlay(s.members, known))
}

// overlay replaces members of an object, or removes those that are null now, and
// keeps the others; objects inside too.
func overlay(under, over map[string]any) map[string]any {
	all := maps.Clone(under)
	if all == nil {
		all = map[string]any{}
	}
	for name, value := range over {
		inner, isObject := value.(map[string]any)
		switch {
		case value == nil:
			delete(all, name)
		case isObject:
			before, _ := all[name].(map[string]any)
			all[name] = overlay(before, inner)
		default:
			all[name] = value
		}
	}
	return all
}

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

// SaveState writes what is remembered, if it differs from what was read.
func (c *Certificate) SaveState(s *State) error {
	if s.ReadOnly {
		return nil
	}
	s.Schema = schema
	text, err := s.encode()
	if err != nil {
		return err
	}
	if bytes.Equal(text, s.saved) {
		return nil
	}
	dir, err := c.open()
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := atomicfile.Write(dir, stateName, text, atomicfile.Options{}); err != nil {
		return err
	}
	s.saved = text
	return nil
}
