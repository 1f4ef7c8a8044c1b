package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// dehydratedDefaults are those of its development head where arid's own differ,
// and what arid does beside it.
var dehydratedDefaults = map[string]string{
	"ACCOUNT_KEY_ALGO": "rsa",
	"KEY_ALGO":         "secp384r1",
	"RENEW_DAYS":       "32",
	"KEEP_GOING":       "no",
	"HOOK_TIMEOUT":     "0",
	"HOOK_UNCHANGED":   "yes",
	"DNS_WAIT":         "0",
}

// rowsFor is the table of settings with the defaults of the mode.
func (o *Options) rowsFor() []Setting {
	rows := Known()
	for i := range rows {
		if text, ok := dehydratedDefaults[rows[i].Name]; ok && o.Dehydrated {
			rows[i].Default = text
		}
	}
	return rows
}

// locate returns the config file to read, absolute and as it was given.
func (o *Options) locate() (file, given string, err error) {
	if o.Dehydrated {
		return o.findDehydrated()
	}
	file, err = o.find()
	return file, file, err
}

// findDehydrated returns the config file that dehydrated would read, absolute and
// as it was given; "" if there is none. A relative path stays relative there, and
// so does the BASEDIR made of it.
func (o *Options) findDehydrated() (file, given string, err error) {
	if given = o.File; given == "" {
		given = lookup(o.Environ, "CONFIG")
	}
	if given != "" {
		file = o.absolute(given)
		if !regular(file) {
			return "", "", &Error{What: fmt.Sprintf("Specified config file doesn't exist: %s", given)}
		}
		return file, given, nil
	}
	dirs := []string{o.root + "/etc/dehydrated", o.root + "/usr/local/etc/dehydrated", o.Dir}
	if o.ScriptDir != "" {
		dirs = append(dirs, o.ScriptDir)
	}
	for _, dir := range dirs {
		file := filepath.Join(dir, "config")
		if !regular(file) {
			continue
		}
		if dir == o.Dir {
			if err := o.ownFile(file); err != nil {
				return "", "", err
			}
		}
		return file, file, nil
	}
	return "", "", nil
}

func regular(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular()
}

// ownFile refuses a config that nobody named and that somebody else could have put
// into the working directory, which may be anywhere.
func (o *Options) ownFile(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return &Error{File: file, What: "cannot be read", Err: plainPathError(err)}
	}
	if others, _ := writableBy(info, o.UID); others != "" {
		return &Error{File: file, What: fmt.Sprintf("found in the working directory, can be written by %s, and would be run as a program (name it by --config)", others)}
	}
	return nil
}

// defaultBase is BASEDIR as the config file finds it. In dehydrated's mode that is
// the directory part of the path that was given, and without a config the script's
// directory, unless programs are kept there.
func (o *Options) defaultBase(given string) (string, error) {
	switch {
	case !o.Dehydrated:
		return o.baseDir(given)
	case given != "":
		return filepath.Dir(given), nil
	case o.ScriptDir == "" || slices.Contains([]string{"bin", "sbin"}, filepath.Base(o.ScriptDir)):
		return o.baseDir("")
	}
	return o.ScriptDir, nil
}

// tolerate takes what dehydrated takes: every word but yes is no, and to say its
// version it looks at nothing.
func (s *Settings) tolerate(r *Setting, v *value) bool {
	switch {
	case !s.o.Dehydrated:
		return false
	case s.o.Command == "version":
		return true
	case r.Kind != Bool || v.origin.Kind == "flag":
		return false
	}
	s.warnOnce(fmt.Sprintf("%s: %s=%q is neither yes nor no, and counts as no", v.origin, r.Name, cut(v.text)))
	v.text = "no"
	return true
}

// warnOnce is for what is found each time the settings are resolved.
func (s *Settings) warnOnce(text string) {
	if !slices.Contains(s.warn, text) {
		s.warn = append(s.warn, text)
	}
}

// CheckBase refuses a BASEDIR that is not there, as dehydrated does whatever the
// command.
func (s *Settings) CheckBase() error {
	info, err := os.Stat(s.o.absolute(s.Value("BASEDIR")))
	if err == nil && info.IsDir() {
		return nil
	}
	what := "BASEDIR does not exist: " + s.Value("BASEDIR")
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return &Error{What: what}
	}
	return &Error{What: what, Err: plainPathError(err)}
}

// GivenFile returns the config file as the user named it, "" if none was read.
func (s *Settings) GivenFile() string {
	if s.asGiven != "" {
		return s.asGiven
	}
	return s.file
}

// Exported tells whether hooks and other children see a variable of that name
// without its being one that arid hands to hooks: the caller or a config exports it.
func (s *Settings) Exported(name string) bool {
	for _, layer := range []map[string]variable{s.account, s.evald} {
		if v, ok := layer[name]; ok && v.Set {
			return v.Exported
		}
	}
	_, ok := inEnviron(s.o.Environ, name)
	return ok
}

// OldCA is the directory URL whose account dehydrated takes over where the CA has
// none yet: OLDCA, and for Let's Encrypt that of the first protocol version.
func (s *Settings) OldCA(url string) string {
	old := s.Value("OLDCA")
	if old == "" && url == presetCAs[0].url {
		old = strings.Replace(url, "acme-v02", "acme-v01", 1)
	}
	return old
}

// Dehydrated tells whether these are the settings of dehydrated's mode.
func (s *Settings) Dehydrated() bool { return s.o.Dehydrated }
