// Package config finds the settings in force and says where each came from:
// flags, the environment, config files in shell syntax, defaults.
//
// A config file is shell, because dehydrated's is. It is read by an
// interpreter inside the process as far as that is known to do what bash does,
// and by bash itself otherwise; see shell.go.
package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options is what Load works from.
type Options struct {
	File       string            // --config; "": $ARID_CONFIG, else the first found
	Base       string            // --base: BASEDIR before the file is read, and after it
	Flags      map[string]string // setting -> value given by its flag
	Environ    []string          // of the process
	UID        int               // effective user
	Dir        string            // working directory; "": the process's
	Command    string            // COMMAND as hooks see it, such as sign_domains
	ScriptDir  string            // SCRIPTDIR as configs see it; "": the directory of the config file
	Bash       string            // path of bash; "": looked up in PATH
	Dehydrated bool              // dehydrated's mode: its files, its defaults (see dehydrated.go); files that other users can
	// write are warned about, not refused (everybody: refused still)

	root string // put before the system's paths, for tests
}

// Settings are the settings in force.
type Settings struct {
	o       Options
	file    string
	asGiven string // the file's name, where dehydrated's mode keeps it relative
	base    string // BASEDIR's default
	rows    []Setting
	evald   map[string]variable // by the config file and CONFIG_D
	account map[string]variable
	funcs   map[string]bool
	values  map[string]value
	warn    []string
	umask   int
}

type value struct {
	text   string
	origin Origin
}

// Origin says where a value came from.
type Origin struct {
	Kind string // "flag" "environment" "account config" "CONFIG_D" "file" "default"
	Name string // of the flag ("--ca") or the variable ("ARID_CA")
	File string
	Line int // 0: not known
}

// String is the origin as it stands in a message.
func (o Origin) String() string {
	switch {
	case o.File != "" && o.Line > 0:
		return fmt.Sprintf("%s:%d", o.File, o.Line)
	case o.File != "":
		return o.File
	case o.Name != "":
		return o.Name
	}
	return o.Kind
}

// Error is a mistake in the configuration. A file that cannot be read keeps
// its reason in Err (fs.ErrPermission, fs.ErrNotExist).
type Error struct {
	File string
	Line int // 0: none
	What string
	Err  error

	Flag   bool // the value was given by a flag: usage rather than configuration
	Exited bool // the file ran "exit", with Status
	Status int
}

func (e *Error) Error() string {
	s := e.What
	switch {
	case e.File != "" && e.Line > 0:
		s = fmt.Sprintf("%s:%d: %s", e.File, e.Line, s)
	case e.File != "":
		s = fmt.Sprintf("%s: %s", e.File, s)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Load finds and reads the config file and CONFIG_D, and lays flags and
// environment over them. Mistakes are *Error. With a value that is wrong the
// Settings come too: dehydrated's mode has a hook to tell.
func Load(ctx context.Context, o Options) (*Settings, error) {
	if o.Dir == "" {
		dir, err := os.Getwd()
		if err != nil {
			return nil, &Error{What: "the working directory cannot be found", Err: err}
		}
		o.Dir = dir
	}
	s := &Settings{o: o, rows: o.rowsFor(), umask: -1}
	for name := range o.Flags {
		if s.row(name) == nil {
			return nil, fmt.Errorf("config: flag for the unknown setting %q", name)
		}
	}
	file, given, err := o.locate()
	if err != nil {
		return nil, err
	}
	s.file, s.asGiven = file, given
	if s.base = s.givenBase(); s.base == "" {
		if s.base, err = o.defaultBase(given); err != nil {
			return nil, err
		}
	}
	if file != "" {
		presets := s.presets()
		for _, r := range s.rows {
			// Derived from BASEDIR only after the file, which may change it.
			if !strings.HasPrefix(r.Default, "$BASEDIR") {
				presets[r.Name] = r.Default
			} else {
				presets[r.Name] = ""
			}
		}
		presets["BASEDIR"] = s.base
		for _, name := range []string{"EAB_KID", "EAB_HMAC_KEY"} {
			presets[name] = lookup(o.Environ, name)
		}
		res, err := s.shell(presets, o.Environ, true).evaluate(ctx, file)
		if err != nil {
			return nil, err
		}
		s.evald, s.funcs, s.umask = res.Vars, res.Funcs, res.Umask
		if mask, ok := s.Umask(); ok && mask != res.Umask {
			s.warn = append(s.warn, fmt.Sprintf("%s: umask %03o counts as %03o: keys are not for everybody", file, res.Umask, mask))
		}
		s.unknown(res)
	}
	s.unknownEnvironment()
	return s, s.resolve()
}

// givenBase is BASEDIR as given from outside, which a config file may use.
func (s *Settings) givenBase() string {
	for _, v := range []string{s.o.Base, s.o.Flags["BASEDIR"], lookup(s.o.Environ, "ARID_BASEDIR")} {
		if v != "" {
			return v
		}
	}
	return ""
}

// presets are the variables that a config may use, besides the settings.
func (s *Settings) presets() map[string]string {
	m := map[string]string{"CONFIG": s.file, "COMMAND": s.o.Command, "SCRIPTDIR": s.o.ScriptDir}
	if m["SCRIPTDIR"] == "" {
		m["SCRIPTDIR"] = filepath.Dir(s.file)
	}
	for _, p := range presetCAs {
		m[presetVariable(p.name)] = p.url
	}
	return m
}

func (s *Settings) shell(presets map[string]string, environ []string, dropins bool) *shell {
	return &shell{
		Environ: environ, Presets: presets, Dir: s.o.Dir, Bash: s.o.Bash, Dropins: dropins,
		Read: func(path string) ([]byte, error) {
			data, warning, err := s.o.readConfig(path)
			if warning != "" {
				s.warn = append(s.warn, warning)
			}
			return data, err
		},
	}
}

func (s *Settings) row(name string) *Setting {
	for i := range s.rows {
		if s.rows[i].Name == name {
			return &s.rows[i]
		}
	}
	return nil
}

// resolve decides every setting anew. The topmost layer that has a setting
// decides; an empty text there means the default.
func (s *Settings) resolve() error {
	s.values = map[string]value{}
	var wrong error // the first; all values are there nevertheless
	for i := range s.rows {
		r := &s.rows[i]
		v, err := s.given(r)
		wrong = cmp.Or(wrong, err)
		if r.Name == "BASEDIR" {
			if v.text == "" {
				v = value{s.base, Origin{Kind: "default"}}
			}
			if v.text != "/" {
				v.text = strings.TrimSuffix(v.text, "/")
			}
		}
		if v.text == "" {
			v = value{r.Default, Origin{Kind: "default"}}
			if rest, ok := strings.CutPrefix(v.text, "$BASEDIR/"); ok { // BASEDIR is the first row
				v.text = strings.TrimSuffix(s.values["BASEDIR"].text, "/") + "/" + rest
			}
		}
		if err := r.valid(v.text); err != nil && wrong == nil && !s.tolerate(r, &v) {
			wrong = s.wrong(r.Name, v, err.Error())
		}
		s.values[r.Name] = v
	}
	return wrong
}

// wrong says where a wrong value came from.
func (s *Settings) wrong(name string, v value, why string) *Error {
	label := name
	if v.origin.Name != "" {
		label = v.origin.Name
	}
	what := fmt.Sprintf("%s: %s", label, why)
	if r := s.row(name); r != nil && !r.Secret && v.text != "" {
		what = fmt.Sprintf("%s=%q: %s", label, cut(r.Show(v.text)), why)
		if v.origin.Kind == "flag" {
			what = fmt.Sprintf("%s %q: %s", label, cut(r.Show(v.text)), why)
		}
	}
	return &Error{File: v.origin.File, Line: v.origin.Line, What: what, Flag: v.origin.Kind == "flag"}
}

// Wrong is the error for a setting that its user finds cannot be used.
func (s *Settings) Wrong(name string, why error) *Error {
	return s.wrong(name, s.at(name), why.Error())
}

func (s *Settings) given(r *Setting) (value, error) {
	if text, ok := s.o.Flags[r.Name]; ok {
		o := Origin{Kind: "flag"}
		if r.Flag != "" {
			o.Name = "--" + r.Flag
		}
		return value{text, o}, nil
	}
	if r.Name == "BASEDIR" && s.o.Base != "" {
		return value{s.o.Base, Origin{Kind: "flag", Name: "--base"}}, nil
	}
	if text, ok := inEnviron(s.o.Environ, r.Env()); ok && r.Env() != "" {
		return value{text, Origin{Kind: "environment", Name: r.Env()}}, nil
	}
	for i, layer := range []map[string]variable{s.account, s.evald} {
		v, ok := layer[r.Name]
		if !ok || !v.Set {
			continue
		}
		o := Origin{Kind: "file", File: v.At.File, Line: v.At.Line}
		switch {
		case i == 0:
			o.Kind = "account config"
		case v.At.Dropin:
			o.Kind = "CONFIG_D"
		case o.File == "":
			o.File = s.file
		}
		if v.Array {
			return value{}, &Error{File: o.File, Line: o.Line, What: fmt.Sprintf("%s is an array; a setting is one word", r.Name)}
		}
		return value{v.Value, o}, nil
	}
	if r.Name == "EAB_KID" || r.Name == "EAB_HMAC_KEY" {
		if text, ok := inEnviron(s.o.Environ, r.Name); ok {
			return value{text, Origin{Kind: "environment", Name: r.Name}}, nil
		}
	}
	return value{}, nil
}

func inEnviron(environ []string, name string) (text string, ok bool) {
	for _, kv := range environ {
		if v, is := strings.CutPrefix(kv, name+"="); is {
			text, ok = v, true
		}
	}
	return text, ok
}

// LoadAccountConfig lays dir/config, if there is one, over the config file and
// under flags and environment.
func (s *Settings) LoadAccountConfig(ctx context.Context, dir string) error {
	file := s.o.absolute(filepath.Join(dir, "config"))
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	presets := s.presets()
	for _, r := range s.rows {
		presets[r.Name] = s.values[r.Name].text
	}
	for name, v := range s.evald {
		if v.Set && !v.Exported && !v.Array && s.row(name) == nil {
			presets[name] = v.Value
		}
	}
	res, err := s.shell(presets, s.environ(), false).evaluate(ctx, file)
	if err != nil {
		return err
	}
	for _, name := range []string{"CA", "ACCOUNTDIR", "BASEDIR", "CONFIG_D"} {
		if v, ok := res.Vars[name]; ok {
			s.warn = append(s.warn, fmt.Sprintf("%s: %s has no effect in an account's config", Origin{File: file, Line: v.At.Line}, name))
			delete(res.Vars, name)
		}
	}
	s.account = res.Vars
	for f := range res.Funcs {
		if s.funcs == nil {
			s.funcs = map[string]bool{}
		}
		s.funcs[f] = true
	}
	s.unknown(res)
	return s.resolve()
}

// Override lays a value over what every other source says, as its flag would.
func (s *Settings) Override(name, text string) error {
	s.o.Flags = maps.Clone(s.o.Flags)
	if s.o.Flags == nil {
		s.o.Flags = map[string]string{}
	}
	s.o.Flags[name] = text
	return s.resolve()
}

// Dropins returns the files of CONFIG_D that were read, in that order.
func (s *Settings) Dropins() []string {
	at := s.at("CONFIG_D")
	files, err := s.shell(nil, nil, true).dropins(at.text, place{})
	if s.file == "" || err != nil {
		return nil
	}
	return files
}

// File returns the config file that was read, absolute, "" if none.
func (s *Settings) File() string { return s.file }

// Value returns a setting's text, its default where nobody set it. An unknown
// name is a mistake in the program, and panics.
func (s *Settings) Value(name string) string { return s.at(name).text }

// Origin tells where the value came from.
func (s *Settings) Origin(name string) Origin { return s.at(name).origin }

// Set tells whether the user gave the value, be it the default's.
func (s *Settings) Set(name string) bool { return s.at(name).origin.Kind != "default" }

func (s *Settings) at(name string) value {
	v, ok := s.values[name]
	if !ok {
		panic(fmt.Sprintf("config: no setting %q", name))
	}
	return v
}

// Bool tells whether the value is yes.
func (s *Settings) Bool(name string) bool { return s.Value(name) == "yes" }

// Int returns the value as a number. Load has checked it; 0 is what it finds wrong.
func (s *Settings) Int(name string) int {
	n, _ := strconv.Atoi(s.Value(name))
	return n
}

// Duration returns the value as a duration. Load has checked it; 0 is what it finds
// wrong.
func (s *Settings) Duration(name string) time.Duration {
	d, _ := parseDuration(s.Value(name))
	return d
}

// CAURL resolves the CA in force; its error says where the value came from.
func (s *Settings) CAURL() (url string, test bool, err error) {
	value := s.Value("CA")
	url, test, err = caURL(value)
	// The config may have given the word another address.
	if own := s.evald[presetVariable(value)]; err == nil && url != value && own.Set && own.Value != url {
		url, _, err = caURL(own.Value)
	}
	if err != nil {
		wrong := s.wrong("CA", s.at("CA"), err.Error())
		var dead deadError
		wrong.Flag = wrong.Flag && !errors.As(err, &dead)
		return "", false, wrong
	}
	return url, test, nil
}

// Umask returns the umask that the config asks for, if it does: for files that a
// group may read or write. It keeps everybody else out, and the owner in. Nobody is
// changed by it here.
func (s *Settings) Umask() (mask int, ok bool) { return s.umask&0o070 | 0o007, s.umask >= 0 }

// HookFunction tells whether HOOK names a function of the config.
func (s *Settings) HookFunction() bool { return s.funcs[s.Value("HOOK")] }

// secrets are ours alone: no hook needs them.
var secrets = []string{"EAB_HMAC_KEY", "ARID_EAB_HMAC_KEY", "DNS_KEY", "ARID_DNS_KEY"}

// environ is the process's environment as the config files left it.
func (s *Settings) environ() []string {
	changes := map[string]variable{}
	maps.Copy(changes, s.evald)
	maps.Copy(changes, s.account)
	var env []string
	for _, kv := range s.o.Environ {
		name, _, _ := strings.Cut(kv, "=")
		if _, ok := changes[name]; !ok {
			env = append(env, kv)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		v := changes[name]
		if !v.Set || !v.Exported || v.Array {
			continue
		}
		text := v.Value
		if s.row(name) != nil {
			text = s.Value(name)
		}
		env = append(env, name+"="+text)
	}
	return env
}

// HookEnv returns the environment of hooks: the process's, what the config
// exports, and dehydrated's BASEDIR WELLKNOWN CERTDIR ALPNCERTDIR CONFIG
// COMMAND; arid's own secrets are taken out, wherever they came from.
func (s *Settings) HookEnv() []string {
	out := slices.Concat(secrets, []string{"BASEDIR", "WELLKNOWN", "CERTDIR", "ALPNCERTDIR", "CONFIG", "COMMAND"})
	env := slices.DeleteFunc(s.environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(out, name)
	})
	for _, name := range []string{"BASEDIR", "WELLKNOWN", "CERTDIR", "ALPNCERTDIR"} {
		env = append(env, name+"="+s.Value(name))
	}
	if s.file != "" {
		env = append(env, "CONFIG="+s.file)
	}
	return append(env, "COMMAND="+s.o.Command)
}

// Warnings returns what the user should know: unknown settings, variables
// that nobody reads, what a config wrote to standard error.
func (s *Settings) Warnings() []string { return s.warn }

var settingName = regexp.MustCompile(`^[A-Z][A-Z0-9_]+$`)

// unknown warns of assignments that look like settings and are none. What the
// config itself uses or exports is the user's own; so is what resembles no
// setting, since hooks read such variables from the config themselves.
func (s *Settings) unknown(res *result) {
	for _, what := range res.Lost {
		s.warnOnce(what)
	}
	for _, line := range res.Said {
		s.warn = append(s.warn, fmt.Sprintf("%s: wrote to standard error: %q", s.file, cut(line)))
	}
	for _, name := range slices.Sorted(maps.Keys(res.Vars)) {
		v := res.Vars[name]
		if !v.Set || v.Exported || res.Used[name] || s.row(name) != nil || !settingName.MatchString(name) {
			continue
		}
		if _, ok := s.presets()[name]; ok {
			continue
		}
		near, like := s.like(name)
		if !like {
			continue
		}
		s.warn = append(s.warn, fmt.Sprintf("%s: unknown setting %s; the nearest is %s", Origin{File: v.At.File, Line: v.At.Line}, name, near))
	}
}

// like returns the nearest setting's name, and whether the name looks meant for
// it: few letters differ, or it begins with the same word.
func (s *Settings) like(name string) (string, bool) {
	var names, family []string
	first, _, compound := strings.Cut(name, "_")
	for _, r := range s.rows {
		names = append(names, r.Name)
		if f, _, _ := strings.Cut(r.Name, "_"); compound && f == first && len(f) > 3 {
			family = append(family, r.Name)
		}
	}
	near, d := nearest(name, names)
	if d <= 1+len(name)/5 && near[0] == name[0] { // PDNS_KEY is another program's
		return near, true
	}
	if len(family) > 0 {
		near, _ = nearest(name, family)
		return near, true
	}
	return near, false
}

// unknownEnvironment warns of ARID_ variables that nobody reads.
func (s *Settings) unknownEnvironment() {
	for _, kv := range s.o.Environ {
		variable, _, _ := strings.Cut(kv, "=")
		name, ok := strings.CutPrefix(variable, "ARID_")
		if !ok || name == "CONFIG" {
			continue
		}
		r := s.row(name)
		switch {
		case r != nil && r.Env() == "":
			s.warn = append(s.warn, fmt.Sprintf("%s: not read: ARID_HOOK_… is what hooks are told; set %s in the config file", variable, name))
		case r != nil || strings.HasPrefix(name, "HOOK_"):
		default:
			near, _ := s.like(name)
			s.warn = append(s.warn, fmt.Sprintf("%s: unknown setting; the nearest is ARID_%s", variable, near))
		}
	}
}
