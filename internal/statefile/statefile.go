// Package statefile reads and writes what arid remembers, as one JSON object with a
// number "schema". Members that nobody here knows are kept; a file of a newer schema
// is read and never written.
package statefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Max is how many bytes a state file may have.
const Max = 1 << 20

// maxNesting is how deep objects and arrays may stand in each other: each level
// indents all that is in it.
const maxNesting = 80

// File is a state file as it was read; the zero File is one that is not there.
type File struct {
	members map[string]any
	saved   []byte // what writing it unchanged would give
	newer   bool
}

// Parse reads a file of that schema or an older one into v, a pointer to a struct.
// Of a newer one v has the number alone where a member has another form there.
func Parse(text []byte, schema int, v any) (*File, error) {
	members, err := object(text)
	if err != nil {
		return nil, err
	}
	var number struct{ Schema int }
	if err := json.Unmarshal(text, &number); err != nil {
		return nil, err
	}
	if number.Schema < 0 {
		return nil, fmt.Errorf("schema %d", number.Schema)
	}
	f := &File{members: members, newer: number.Schema > schema}
	if err := json.Unmarshal(text, v); err != nil {
		if !f.newer {
			return nil, err
		}
		// It has given a member another form: half of v would be worse than none.
		reflect.ValueOf(v).Elem().SetZero()
		if err := json.Unmarshal(fmt.Appendf(nil, `{"schema":%d}`, number.Schema), v); err != nil {
			return nil, err
		}
	}
	f.saved, err = f.encode(v)
	return f, err
}

// ReadOnly says whether a newer arid wrote the file.
func (f *File) ReadOnly() bool { return f.newer }

// Write lays v over the members that were read, and gives the text to write; nil
// where the file has that already, or must not be written.
func (f *File) Write(v any) ([]byte, error) {
	if f.newer {
		return nil, nil
	}
	text, err := f.encode(v)
	if err != nil || bytes.Equal(text, f.saved) {
		return nil, err
	}
	if len(text) > Max {
		return nil, fmt.Errorf("what is to be remembered has more than %d bytes", Max)
	}
	return text, nil
}

// Written takes note that the text of Write is on disk.
func (f *File) Written(text []byte) { f.saved = text }

func (f *File) encode(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	known, err := object(text)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(overlay(f.members, known))
	return b.Bytes(), err
}

func object(text []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // an unknown number keeps its digits
	var members map[string]any
	if err := d.Decode(&members); err != nil {
		return nil, err
	}
	if members == nil || len(bytes.TrimSpace(text[d.InputOffset():])) > 0 {
		return nil, errors.New("is not one JSON object")
	}
	if deep(members, maxNesting) {
		return nil, fmt.Errorf("nested more than %d deep", maxNesting)
	}
	return members, nil
}

// deep tells whether there are more levels in it than that.
func deep(value any, levels int) bool {
	below := func(v any) bool { return deep(v, levels-1) }
	switch v := value.(type) {
	case map[string]any:
		return levels == 0 || slices.ContainsFunc(slices.Collect(maps.Values(v)), below)
	case []any:
		return levels == 0 || slices.ContainsFunc(v, below)
	}
	return false
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
