package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"arid/account"
	"arid/acme"
	"arid/config"
	"arid/internal/atomicfile"
	"arid/keys"
)

// ca is the CA of a run: where it is, and how it is talked to.
type ca struct {
	url    string
	test   bool // a preset whose certificates nobody trusts
	client *acme.Client
	http   *http.Client // what client uses, for what lies beside the CA
	store  account.Store
	memory *account.Memory // of earlier runs; nil in dehydrated's mode, which has none
}

// remember keeps for the next run what this one has learned of the CA.
func (a *app) remember(c *ca) {
	if c == nil || c.memory == nil {
		return
	}
	if document, fetched := c.client.DirectoryDocument(); fetched {
		if err := c.memory.SaveDirectory(document, time.Now()); err != nil {
			a.report.Warning(err.Error())
		}
	}
}

// openCA makes the client for the CA of the settings. Nothing is sent. The
// account's own config is read here, since only now its folder is known.
func (a *app) openCA(ctx context.Context) (*ca, error) {
	url, test, err := a.settings.CAURL()
	if err != nil {
		return nil, err
	}
	store := account.Store{Dir: a.path("ACCOUNTDIR"), CA: url, KeyFile: a.path("ACCOUNT_KEY"), Base: a.path("BASEDIR"), Turn: new(sync.Mutex)}
	store.MakeKey = !a.settings.Dehydrated()
	if _, err := unlessEnded(ctx, func() (none struct{}, err error) { return none, store.Hold() }); err != nil {
		return nil, err
	}
	store.NeedsEAB, store.MailEAB = config.CAAccounts(url)
	told := len(a.settings.Warnings())
	// The host's config may name a tree that is root's alone: who has a key of one's own
	// elsewhere needs nothing of it.
	away := store.MakeKey && store.KeyFile != "" && outOfReach(filepath.Join(store.Path(), "config"))
	if !away {
		if err := a.settings.LoadAccountConfig(ctx, store.Path()); err != nil {
			return nil, err
		}
	}
	for _, w := range a.settings.Warnings()[told:] {
		a.report.Warning(w)
	}
	if err := a.traceCA(url); err != nil {
		return nil, err
	}
	c := &ca{url: url, test: test, store: store}
	var directory []byte
	if !a.settings.Dehydrated() && !away {
		if c.memory, err = store.Memory(); err != nil {
			a.report.Warning(err.Error())
		}
		// What a remembered directory says of terms and profiles may be old: it is for
		// those who have an account and want none of them.
		if known, err := store.Open(); err == nil && known.URL != "" && a.settings.Value("ACME_PROFILE") == "" {
			directory = c.memory.Directory(time.Now())
		}
	}
	if err := a.connect(c, directory); err != nil {
		return nil, err
	}
	return c, nil
}

// outOfReach tells whether a directory on the way to file keeps us out.
func outOfReach(file string) bool {
	_, err := os.Lstat(file)
	return errors.Is(err, fs.ErrPermission)
}

// connect makes the client of a CA, whose directory may be known from an earlier run.
// Nothing is sent.
func (a *app) connect(c *ca, directory []byte) (err error) {
	curl := a.curl()
	transport := a.HTTP
	if transport == nil {
		if transport, err = a.transport(curl); err != nil {
			return err
		}
	}
	c.http = &http.Client{Transport: transport}
	o := acme.Options{HTTP: c.http, UserAgent: "arid/" + version, RequestTimeout: curl.MaxTime, KnownDirectory: directory}
	if a.trace != nil {
		o.Trace, c.http = a.trace.exchange, a.trace.client(transport)
	}
	c.client, err = acme.New(c.url, o)
	return a.from("CA", err)
}

// from puts the line of the config where a setting was given before what is
// wrong with it.
func (a *app) from(name string, err error) error {
	if o := a.settings.Origin(name); err != nil && o.File != "" {
		return fmt.Errorf("%s: %w", o, err)
	}
	return err
}

// path is a setting that names a file, seen from the working directory. In
// dehydrated's mode it stays as it was given: hooks are told it so.
func (a *app) path(name string) string {
	if a.settings.Dehydrated() {
		return a.settings.Value(name)
	}
	return a.abs(a.settings.Value(name))
}

func (a *app) abs(file string) string {
	if file == "" || filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(a.Dir, file)
}

// registrationFlags are those of every command that may make an account.
type registrationFlags struct {
	acceptTerms bool
	contact     []string
	hmacFile    string
	withoutEAB  bool // whatever the settings say of one
}

func (f *registrationFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.acceptTerms, "accept-terms", false, "agree to the CA's terms of service")
	c.Flags().StringArrayVar(&f.contact, "contact", nil, "mail `ADDR` for the account; may be repeated")
	settingFlags(c, "EAB_KID")
	c.Flags().StringVar(&f.hmacFile, "eab-hmac-file", "", "read the key of the external account binding from `FILE`")
}

// settings are the flags that stand for a setting of another shape.
func (f *registrationFlags) settings() map[string]string {
	if len(f.contact) == 0 {
		return nil
	}
	return map[string]string{"CONTACT_EMAIL": strings.Join(f.contact, " ")}
}

// registration gathers what an account is made with.
func (a *app) registration(f *registrationFlags) (account.Registration, error) {
	r := account.Registration{
		AcceptTerms: f.acceptTerms,
		LockWait:    a.settings.Duration("LOCK_WAIT"),
		Contact:     strings.FieldsFunc(a.settings.Value("CONTACT_EMAIL"), func(r rune) bool { return r == ' ' || r == ',' }),
	}
	var err error
	if r.Algo, err = a.accountAlgo(); err != nil {
		return r, err
	}
	if !f.withoutEAB {
		r.EAB, err = a.eab(f.hmacFile)
	}
	return r, err
}

// accountAlgo is the type of a new account key.
func (a *app) accountAlgo() (keys.Algo, error) {
	algo, err := keys.ParseAlgo(a.settings.Value("ACCOUNT_KEY_ALGO"), a.settings.Int("ACCOUNT_KEYSIZE"))
	if err != nil {
		return "", a.settings.Wrong("ACCOUNT_KEY_ALGO", err)
	}
	return algo, nil
}

// eab is the external account binding of the settings; nil if there is none.
func (a *app) eab(hmacFile string) (*acme.EAB, error) {
	kid, text := a.settings.Value("EAB_KID"), a.settings.Value("EAB_HMAC_KEY")
	if hmacFile != "" {
		data, err := atomicfile.ReadFile(a.abs(hmacFile), 64<<10)
		if err != nil {
			return nil, &inputError{"--eab-hmac-file", err}
		}
		text = string(data)
	}
	switch {
	case kid == "" && text == "":
		return nil, nil
	case kid == "" && hmacFile != "":
		return nil, &usageError{what: "--eab-hmac-file: there is no EAB_KID beside it", hint: "--eab-kid ID gives one"}
	case kid == "":
		return nil, a.settings.Wrong("EAB_HMAC_KEY", errors.New("there is no EAB_KID beside it"))
	case text == "":
		return nil, a.settings.Wrong("EAB_KID", errors.New("there is no EAB_HMAC_KEY beside it, and no --eab-hmac-file"))
	}
	key, err := account.ReadEABKey(text)
	switch {
	case err != nil && hmacFile != "":
		return nil, &inputError{fmt.Sprintf("--eab-hmac-file %q", hmacFile), err}
	case err != nil:
		return nil, a.settings.Wrong("EAB_HMAC_KEY", err)
	}
	return &acme.EAB{KID: kid, Key: key, Alg: a.settings.Value("EAB_ALG")}, nil
}

// deadline bounds all talking to the CA by TIMEOUT.
func (a *app) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := a.settings.Duration("TIMEOUT")
	return context.WithTimeoutCause(ctx, timeout, &acme.TemporaryError{What: fmt.Sprintf("the CA took longer than %s (--timeout)", timeout)})
}
