// Package config finds the settings in force and says where each came from:
// flags, the environment, shell-syntax files, defaults.
package config

import (
	"context"
	"errors"
	"time"
)

// Setting is one row of the table of known settings.
type Setting struct {
	Name, Flag, Default, Help string
	Kind                      Kind
}

// Kind says how a value is checked and read.
type Kind string

// The kinds of settings.
const (
	Word     Kind = "word"
	Bool     Kind = "bool"
	Integer  Kind = "integer"
	Duration Kind = "duration"
	Path     Kind = "path"
)

// Known returns every known setting, in the order of the docs.
func Known() []Setting { return nil }

// Options is what Load works from.
type Options struct {
	File    string
	Base    string
	Flags   map[string]string
	Environ []string
	UID     int
	Dir     string
	Command string
	Bash    string
}

// Settings are the settings in force.
type Settings struct{}

// Origin says where a value came from.
type Origin struct {
	Kind string
	File string
	Line int
}

// Error is a mistake in the configuration.
type Error struct {
	File string
	Line int
	What string
	Err  error
}

func (e *Error) Error() string { return e.What }
func (e *Error) Unwrap() error { return e.Err }

// NameError is a refused name.
type NameError struct{ Name, Why string }

func (e *NameError) Error() string { return e.Why }

var errTodo = errors.New("not built yet")

// Load reads the settings.
func Load(ctx context.Context, o Options) (*Settings, error) { return nil, errTodo }

// File returns the config file read.
func (s *Settings) File() string { return "" }

// Value returns the setting's value.
func (s *Settings) Value(name string) string { return "" }

// Origin returns where the value came from.
func (s *Settings) Origin(name string) Origin { return Origin{} }

// Set reports whether the user set it.
func (s *Settings) Set(name string) bool { return false }

// Bool returns the value as a yes/no.
func (s *Settings) Bool(name string) bool { return false }

// Int returns the value as an integer.
func (s *Settings) Int(name string) (int, error) { return 0, errTodo }

// Duration returns the value as a duration.
func (s *Settings) Duration(name string) (time.Duration, error) { return 0, errTodo }

// LoadAccountConfig adds the account's own config.
func (s *Settings) LoadAccountConfig(ctx context.Context, dir string) error { return errTodo }

// HookEnv returns the environment of hooks.
func (s *Settings) HookEnv() []string { return nil }

// Warnings returns what the user should know.
func (s *Settings) Warnings() []string { return nil }

// HookFunction reports whether HOOK names a function of the config.
func (s *Settings) HookFunction() bool { return false }

// CanonicalName returns a name's canonical form.
func CanonicalName(word string) (string, error) { return "", errTodo }

// CAURL resolves a preset or URL.
func CAURL(value string) (url string, test bool, err error) { return "", false, errTodo }
