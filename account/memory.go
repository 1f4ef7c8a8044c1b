package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"arid/internal/atomicfile"
	"arid/internal/statefile"
)

const (
	memoryName   = "state.json"
	memorySchema = 1

	// directoryAge is how long a CA's directory is good for. Clients find out by
	// themselves where something in it has moved before (acme.Options).
	directoryAge = 24 * time.Hour
)

// Memory is what is remembered of a CA between runs, in state.json of the account's
// folder, and shared by all that one run does there. It is safe for concurrent use.
// Losing it costs a request or two, so that trouble with it never ends a run.
type Memory struct {
	store *Store
	mu    sync.Mutex
	known memory
	saved bool // the directory, by this run
}

// memory is the file. docs/files.md explains each member.
type memory struct {
	Schema    int        `json:"schema"`
	Hold      *hold      `json:"hold"`      // nil: the CA has not asked to wait
	Directory *directory `json:"directory"` // nil: not known
	NoARI     *time.Time `json:"no_ari"`    // not to be asked when to renew before; nil: it gave an answer the last time
}

type hold struct {
	Until time.Time `json:"until"`
	Why   string    `json:"why"`
}

type directory struct {
	Fetched  time.Time       `json:"fetched"`
	Document json.RawMessage `json:"document"` // as the CA sent it
}

// MemoryError says that what was remembered of a CA is lost.
type MemoryError struct {
	Path string
	Err  error
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("%q: cannot be understood and is taken as empty: %v", e.Path, e.Err)
}
func (e *MemoryError) Unwrap() error { return e.Err }

// Memory reads what is remembered. It is never nil: a damaged file gives an empty
// one beside a *MemoryError, and one that cannot be read beside its error.
func (s *Store) Memory() (*Memory, error) {
	m := &Memory{store: s}
	_, err := m.read()
	return m, err
}

// read takes in the file as it is now.
func (m *Memory) read() (*statefile.File, error) {
	path := m.store.inFolder(memoryName)
	text, err := atomicfile.ReadFile(path, statefile.Max)
	if errors.Is(err, fs.ErrNotExist) {
		return &statefile.File{}, nil
	}
	if errors.Is(err, fs.ErrPermission) || atomicfile.Scarce(err) {
		return nil, err
	}
	var known memory
	if err == nil {
		var file *statefile.File
		if file, err = statefile.Parse(text, memorySchema, &known); err == nil {
			m.known = known
			return file, nil
		}
	}
	return &statefile.File{}, &MemoryError{path, err}
}

// change does something to what is remembered, on top of what another run may have
// written since. Without an account's folder there is no place for it.
func (m *Memory) change(do func(*memory)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !exists(m.store.Path()) {
		do(&m.known)
		return nil
	}
	if m.store.Turn != nil {
		m.store.Turn.Lock()
		defer m.store.Turn.Unlock()
	}
	unlock, err := atomicfile.Lock(context.Background(), m.store.inFolder(lockName), time.Second)
	if err != nil {
		do(&m.known)
		return err
	}
	defer unlock()
	m.store.sweep()
	file, err := m.read()
	do(&m.known)
	if file == nil {
		return err
	}
	m.known.Schema = memorySchema
	text, err := file.Write(m.known)
	if err != nil || text == nil {
		return err
	}
	return m.store.write(m.store.inFolder(memoryName), text)
}

// Directory is the CA's directory as an earlier run fetched it, as JSON; nil where
// none is known that is young enough.
func (m *Memory) Directory(now time.Time) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.known.Directory
	if d == nil || now.Before(d.Fetched) || now.Sub(d.Fetched) > directoryAge {
		return nil
	}
	return d.Document
}

// maxDirectory is more than CAs' directories have; as it is indented, a larger one
// could make the file too large to be read.
const maxDirectory = 8 << 10

// SaveDirectory remembers a directory that was fetched in this run, once.
func (m *Memory) SaveDirectory(document []byte, now time.Time) error {
	m.mu.Lock()
	done := m.saved
	m.saved = true
	m.mu.Unlock()
	if done || len(document) > maxDirectory || !json.Valid(document) {
		return nil
	}
	return m.change(func(known *memory) {
		known.Directory = &directory{now.UTC().Truncate(time.Second), document}
	})
}

// Held tells until when the CA wants not to be asked, and why; the zero time where it
// has not said so, or that is over.
func (m *Memory) Held(now time.Time) (until time.Time, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.known.Hold; h != nil && now.Before(h.Until) {
		return h.Until, h.Why
	}
	return time.Time{}, ""
}

// Hold remembers that the CA wants not to be asked before until.
func (m *Memory) Hold(until time.Time, why string) error {
	return m.change(func(known *memory) { known.Hold = &hold{until.UTC().Truncate(time.Second), why} })
}

// MayAsk tells whether the CA may be asked when to renew certificates: not for an
// hour after it gave no answer.
func (m *Memory) MayAsk(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known.NoARI == nil || !now.Before(*m.known.NoARI)
}

// NoAnswer remembers that the CA gave no answer to that.
func (m *Memory) NoAnswer(now time.Time) error {
	until := now.Add(time.Hour).UTC().Truncate(time.Second)
	return m.change(func(known *memory) { known.NoARI = &until })
}
