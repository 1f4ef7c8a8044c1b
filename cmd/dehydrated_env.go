package cmd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"arid/account"
	"arid/internal/atomicfile"
	"arid/report"
)

// dehydratedEnv is --env: settings as a shell's declarations, to be evaluated by
// bash. Nothing is written, and a deactivated account is no obstacle.
func (a *app) dehydratedEnv(ctx context.Context, l *dehydratedLine) error {
	url, _, err := a.settings.CAURL()
	if err != nil {
		return err
	}
	told := len(a.settings.Warnings())
	store := account.Store{Dir: a.path("ACCOUNTDIR"), CA: url}
	if err := a.settings.LoadAccountConfig(ctx, store.Path()); err != nil {
		return err
	}
	a.warnDehydrated(a.settings.Warnings()[told:])
	folder := a.settings.Value("ACCOUNTDIR") + "/" + account.FolderName(url) + "/"
	values := map[string]string{
		"CA":               url,
		"ACCOUNT_KEY":      folder + "account_key.pem",
		"ACCOUNT_KEY_JSON": folder + "registration_info.json",
		"ACCOUNT_ID_JSON":  folder + "account_id.json",
		"OPENSSL_CNF":      a.opensslConfig(),
		"LOCKFILE":         a.lockFile(l),
	}
	var b strings.Builder
	for _, name := range []string{
		"CA", "CERTDIR", "ALPNCERTDIR", "CHALLENGETYPE", "DOMAINS_D", "DOMAINS_TXT", "HOOK", "HOOK_CHAIN", "RENEW_DAYS",
		"ACCOUNT_KEY", "ACCOUNT_KEY_JSON", "ACCOUNT_ID_JSON", "KEYSIZE", "WELLKNOWN", "PRIVATE_KEY_RENEW", "OPENSSL_CNF",
		"CONTACT_EMAIL", "LOCKFILE",
	} {
		value, special := values[name]
		if !special {
			value = a.settings.Value(name)
		}
		how := "--"
		if a.settings.Exported(name) {
			how = "-x"
		}
		fmt.Fprintf(&b, "declare %s %s=%s\n", how, name, bashQuote(value))
	}
	return a.out(b.String())
}

// bashQuote writes a value as bash's "declare -p" does.
func bashQuote(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0 {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(text) + `"`
	}
	var b strings.Builder
	for _, c := range []byte(text) {
		switch {
		case c == '\\' || c == '\'':
			b.WriteString(`\` + string(rune(c)))
		case c == '\n':
			b.WriteString(`\n`)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return "$'" + b.String() + "'"
}

// opensslConfig is OPENSSL_CNF, and where it is not set the file that the openssl of
// this system reads. arid itself has no use for it.
func (a *app) opensslConfig() string {
	if file := a.settings.Value("OPENSSL_CNF"); file != "" {
		return file
	}
	for _, dir := range []string{"/usr/lib/ssl", "/etc/pki/tls", "/etc/ssl", "/usr/local/etc/ssl", "/usr/local/openssl"} {
		file := filepath.Join(dir, "openssl.cnf")
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}

// dehydratedLevel is the version of dehydrated whose behaviour the mode has.
const dehydratedLevel = "0.7.3"

// dehydratedVersion is --version.
func (a *app) dehydratedVersion() string {
	revision := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	bash := "none"
	env := Process{Env: a.settings.HookEnv()}
	for _, dir := range filepath.SplitList(env.getenv("PATH")) {
		if found, err := exec.LookPath(filepath.Join(dir, "bash")); filepath.IsAbs(dir) && err == nil {
			bash = found
			break
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "arid, in the manner of dehydrated\n\n")
	fmt.Fprintf(&b, "Dehydrated version: %s\nGIT-Revision: %s\n\n", dehydratedLevel, revision)
	fmt.Fprintf(&b, "OS: %s\nUsed software:\n", report.Escape(operatingSystem()))
	fmt.Fprintf(&b, " arid: %s\n go: %s %s/%s\n bash: %s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, report.Escape(bash))
	return b.String()
}

// operatingSystem is the system's own name for itself.
func operatingSystem() string {
	for _, file := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		data, err := atomicfile.ReadInput(file, 64<<10)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
				return strings.Trim(name, `"'`)
			}
		}
	}
	return runtime.GOOS
}
