package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// perCertificate are the settings that a certificate's own config can change:
// dehydrated's.
var perCertificate = []string{
	"ACME_PROFILE", "CHALLENGETYPE", "HOOK", "HOOK_CHAIN", "KEEP_GOING", "KEYSIZE", "KEY_ALGO", "OCSP_DAYS", "OCSP_FETCH", "OCSP_MUST_STAPLE", "OPENSSL_CNF",
	"ORDER_TIMEOUT", "PREFERRED_CHAIN", "PRIVATE_KEY_RENEW", "PRIVATE_KEY_ROLLOVER", "RENEW_DAYS", "VALIDATION_TIMEOUT", "WELLKNOWN",
}

// PerCertificate lists the settings that a certificate's own config can change,
// in the order of their names.
func PerCertificate() []string { return slices.Clone(perCertificate) }

// CertificateKind is the Kind of an Origin in a certificate's own config.
const CertificateKind = "certificate config"

// certificateConfig is where the config of the certificate with this alias is
// looked for: DOMAINS_D, where it is set, has all of them.
func (s *Settings) certificateConfig(alias string) string {
	if dir := s.Value("DOMAINS_D"); dir != "" {
		return s.o.absolute(filepath.Join(dir, alias))
	}
	return s.o.absolute(filepath.Join(s.Value("CERTDIR"), alias, "config"))
}

// ForCertificate returns the settings for one certificate: its own config lies
// over the account's, and under environment and flags; in dehydrated's mode over
// those too. words are its names as that config finds them in $domain and
// $morenames. Without such a file the Settings are s itself, else others with
// warnings of their own. s is only read, by any number of callers at once.
// Mistakes are *Error; an alias that names no folder is a *NameError.
func (s *Settings) ForCertificate(ctx context.Context, alias string, words []string) (*Settings, error) {
	if why := badAlias(alias); why != "" {
		return nil, &NameError{alias, why}
	}
	file := s.certificateConfig(alias)
	// Asked for each certificate, and mostly there is none. A link that leads
	// nowhere is no absence.
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return s, nil
	}
	c := new(Settings)
	*c = *s
	c.warn = nil
	sh := c.shell(s.certificatePresets(alias, words), s.environ(), false)
	sh.Failing = true // as dehydrated reads it
	res, err := sh.evaluate(ctx, file)
	if err != nil {
		return nil, endsNothing(err)
	}
	own := c.owned(res, file)
	c.layOver(own)
	if err := c.resolve(); err != nil {
		return nil, err
	}
	for name := range own {
		if v, ok := c.values[name]; ok && v.origin.Kind == "account config" {
			v.origin.Kind = CertificateKind
			c.values[name] = v
		}
	}
	if hook := c.Value("HOOK"); res.Funcs[hook] && !s.funcs[hook] {
		return nil, c.Wrong("HOOK", errors.New("a function of a certificate's config cannot be the hook: define it in the config file"))
	}
	return c, nil
}

// endsNothing makes a mistake of an "exit": in a certificate's config it is not for
// the whole program, whose status would hide that nothing was done.
func endsNothing(err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Exited {
		return &Error{File: e.File, Line: e.Line, What: fmt.Sprintf("exit %d: a certificate's config cannot end the program", e.Status)}
	}
	return err
}

// certificatePresets are the variables that a certificate's config may use.
func (s *Settings) certificatePresets(alias string, words []string) map[string]string {
	presets := s.presets()
	for _, layer := range []map[string]variable{s.evald, s.account} {
		for name, v := range layer {
			if v.Set && !v.Exported && !v.Array {
				presets[name] = v.Value
			}
		}
	}
	for _, r := range s.rows {
		presets[r.Name] = s.values[r.Name].text
	}
	presets["alias"], presets["certdir"] = alias, filepath.Join(s.Value("CERTDIR"), alias)
	presets["domain"], presets["morenames"] = "", ""
	if len(words) > 0 {
		presets["domain"], presets["morenames"] = words[0], strings.Join(words[1:], " ")
	}
	return presets
}

// owned picks what counts of a certificate's config, and warns of the rest. What
// it exports goes to the hooks natively; dehydrated loses it.
func (s *Settings) owned(res *result, file string) map[string]variable {
	own := map[string]variable{}
	for _, line := range res.Said {
		s.warn = append(s.warn, fmt.Sprintf("%s: wrote to standard error: %q", file, cut(line)))
	}
	if res.Umask >= 0 {
		s.warn = append(s.warn, fmt.Sprintf("%s: umask has no effect in a certificate's config", file))
	}
	for _, name := range slices.Sorted(maps.Keys(res.Vars)) {
		v := res.Vars[name]
		if v.At.File == "" {
			v.At.File = file
		}
		exports := v.Exported || !v.Set
		switch {
		case slices.Contains(perCertificate, name):
			if v.Set {
				own[name] = v
			}
		case s.row(name) == nil && exports && !s.o.Dehydrated:
			own[name] = v
		case s.row(name) == nil && res.Used[name]: // to make another one's value
		default:
			what := fmt.Sprintf("%s: %s has no effect in a certificate's config", where(v.At.File, v.At.Line), name)
			if near, like := s.like(name); like && s.row(name) == nil {
				what += "; the nearest setting is " + near
			}
			s.warn = append(s.warn, what)
		}
	}
	return own
}

// layOver puts a certificate's variables into the layer of the account's config,
// so that whatever resolves the settings again finds them there. In dehydrated's
// mode flags and environment make way.
func (s *Settings) layOver(own map[string]variable) {
	account := map[string]variable{}
	maps.Copy(account, s.account)
	maps.Copy(account, own)
	s.account = account
	if !s.o.Dehydrated {
		return
	}
	s.o.Flags = maps.Clone(s.o.Flags)
	s.o.Environ = slices.Clone(s.o.Environ)
	for name := range own {
		delete(s.o.Flags, name)
		s.o.Environ = slices.DeleteFunc(s.o.Environ, func(kv string) bool { return strings.HasPrefix(kv, "ARID_"+name+"=") })
	}
}
