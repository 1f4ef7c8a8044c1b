package cmd

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"arid/certs"
	"arid/config"
	"arid/hooks"
	"arid/internal/atomicfile"
	"arid/probe"
)

// namePattern stands in --to for the certificate's folder.
const namePattern = "{name}"

type installFlags struct {
	to         toFlags
	preflight  []string
	as         string
	reload     []string
	verify     []string
	verifyWait time.Duration
	stage      bool

	targets []probe.Target // verify
}

// toFlags are the --to of a command line. What is said of files before one holds for
// it and for those after it.
type toFlags struct {
	now   toFile
	files []toFile
	loose string // what was said after the last --to
}

// toFile is one --to, as it was given.
type toFile struct {
	path, parts, owner, group, mode string
}

// toValue is a flag whose place on the command line counts.
type toValue struct{ set func(string) }

func (v toValue) Set(text string) error { v.set(text); return nil }
func (v toValue) String() string        { return "" }
func (v toValue) Type() string          { return "string" }

func (f *toFlags) add(c *cobra.Command) {
	f.about(c, "parts", &f.now.parts, "`LIST` of key, cert, chain, fullchain, in this order, for the --to that follow")
	f.about(c, "owner", &f.now.owner, "`USER`, or USER:GROUP, that they belong to")
	f.about(c, "group", &f.now.group, "`GROUP` that they belong to")
	f.about(c, "mode", &f.now.mode, "`MODE` of them, such as 0640 (0600 with a key, else 0644)")
	c.Flags().Var(toValue{func(text string) {
		file := f.now
		file.path = text
		f.files, f.loose = append(f.files, file), ""
	}}, "to", "write `FILE`; {name} in it is the certificate's folder; may be repeated")
	_ = c.MarkFlagFilename("to")
}

func (f *toFlags) about(c *cobra.Command, name string, field *string, help string) {
	c.Flags().Var(toValue{func(text string) { *field, f.loose = text, name }}, name, help)
}

func (a *app) installCommand() *cobra.Command {
	var f installFlags
	c := &cobra.Command{
		Use:   "install NAME…",
		Short: "parts of a certificate into files of your own, one reload, and back if it fails",
		Long: `Writes parts of the live certificate of NAME to FILE, whole or not at all, with
owner and mode, if anything is new. Then the server is told, once for all names. If
it does not like the files, or shows another certificate, what was there before
comes back: status 10. For hooks (deploy_cert, exit_hook), and by hand.`,
		Example: `  arid install www.example.org --parts key,fullchain --owner root:www-data --mode 0640 --to /etc/lighttpd/www.pem \
      --reload 'systemctl reload lighttpd'
  arid install www.example.org --parts key --to /etc/nginx/www.key --parts fullchain --to /etc/nginx/www.pem \
      --preflight 'nginx -t' --reload 'nginx -s reload' --verify www.example.org:443
  arid install mail.example.org --parts fullchain,key --owner qmaild:qmail --mode 0640 --to /var/qmail/control/servercert.pem
  arid install $ARID_HOOK_CHANGED --parts key,fullchain --to '/etc/haproxy/tls/{name}.pem' --reload 'systemctl reload haproxy'`,
		GroupID: groupDeploy,
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, words []string) error {
			return a.install(c, &f, words)
		},
		ValidArgsFunction: a.completeNames,
	}
	flags := c.Flags()
	f.to.add(c)
	flags.StringArrayVar(&f.preflight, "preflight", nil, "with the new files in place and before the reload: shell line `CMD` that fails if the server would not start; may be repeated")
	flags.StringVar(&f.as, "as", "", "run --preflight as `USER`")
	flags.StringArrayVar(&f.reload, "reload", nil, "shell line `CMD` that tells the server, once for all names; may be repeated")
	flags.StringArrayVar(&f.verify, "verify", nil, "then look whether the certificate is served at `HOST:PORT`, HOST:PORT/smtp or /imap; may be repeated")
	flags.DurationVar(&f.verifyWait, "verify-wait", 20*time.Second, "look so long for it (`DURATION`)")
	flags.BoolVar(&f.stage, "stage", false, "write FILE.upd instead, for arid promote")
	settingFlags(c, "CERTDIR")
	flags.Lookup("out").Usage = "look for NAME in `DIR` instead of CERTDIR"
	flags.BoolP("ipv4", "4", false, "--verify: over IPv4 only")
	flags.BoolP("ipv6", "6", false, "--verify: over IPv6 only")
	return c
}

func (a *app) install(c *cobra.Command, f *installFlags, words []string) error {
	if err := f.check(words); err != nil {
		return err
	}
	wishes, err := f.wishes()
	if err != nil {
		return err
	}
	if err := a.load(c, "install", nil); err != nil {
		return err
	}
	d := &deployment{app: a, flags: f}
	if d.as, err = a.credential(f.as); err != nil {
		return err
	}
	if err := d.gather(words, wishes); err != nil {
		return err
	}
	if a.getenv("ARID_HOOK_REHEARSAL") != "" {
		// In a hook of arid rehearse: nobody trusts this certificate.
		d.tell("", resultUnchanged, func(int) bool { return false })
		a.report.Result("a rehearsal: nothing is installed")
		return nil
	}
	if f.stage {
		return d.stage(c.Context())
	}
	return d.run(c.Context())
}

// check refuses what makes no sense, whatever the settings.
func (f *installFlags) check(words []string) (err error) {
	mistake := func(what, hint string) error { return &usageError{what: what, hint: hint} }
	switch {
	case len(words) == 0:
		return mistake("no name given", `in a hook: [ -z "$ARID_HOOK_CHANGED" ] || arid install $ARID_HOOK_CHANGED …`)
	case len(f.to.files) == 0:
		return mistake("--to: no file given", "arid install NAME --parts key,fullchain --to FILE")
	case f.stage && len(f.preflight)+len(f.reload)+len(f.verify) > 0:
		return mistake("--stage leaves the files in place alone, so that there is nothing to tell the server", "arid promote CERT KEY puts them in place before the server starts")
	case f.as != "" && len(f.preflight) == 0:
		return mistake("--as is for --preflight, and there is none", "")
	case f.to.loose != "" && len(f.to.files) > 1:
		return mistake(fmt.Sprintf("--%s stands after the last --to, and says nothing of any file", f.to.loose), "it holds for each --to that follows it")
	case f.verifyWait < 0:
		return mistake("--verify-wait: less than nothing", "")
	}
	if f.to.loose != "" {
		path := f.to.files[0].path
		f.to.files[0] = f.to.now
		f.to.files[0].path = path
	}
	for _, file := range f.to.files {
		if len(words) > 1 && !strings.Contains(file.path, namePattern) {
			return mistake(fmt.Sprintf("--to %q is one file for %d names", file.path, len(words)), namePattern+" in it becomes the certificate's folder")
		}
	}
	for _, text := range f.verify {
		target, err := parseTarget(text)
		if err != nil {
			return mistake("--verify: "+err.Error(), "")
		}
		f.targets = append(f.targets, target)
	}
	return nil
}

// wish is a --to that makes sense.
type wish struct {
	path     string
	parts    []certs.Part
	uid, gid int
	mode     fs.FileMode
}

func (f *installFlags) wishes() ([]wish, error) {
	var all []wish
	for _, file := range f.to.files {
		w, err := file.wish()
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
}

func (file toFile) wish() (w wish, err error) {
	w = wish{path: file.path, uid: -1, gid: -1}
	switch {
	case file.path == "" || strings.HasSuffix(file.path, "/"):
		return w, &usageError{what: fmt.Sprintf("--to %q names no file", file.path)}
	case file.parts == "":
		return w, &usageError{what: fmt.Sprintf("--to %q: what is to be in it?", file.path), hint: "--parts key,fullchain before it, in the order that the server wants"}
	}
	if w.parts, err = certs.ParseParts(file.parts); err != nil {
		return w, &usageError{what: "--parts: " + err.Error()}
	}
	owner, group, both := strings.Cut(file.owner, ":")
	if !both {
		group = file.group
	} else if file.group != "" && file.group != group {
		return w, &usageError{what: fmt.Sprintf("--owner %q and --group %q: which group?", file.owner, file.group)}
	}
	if owner != "" {
		if w.uid, err = findOwner(owner); err != nil {
			return w, &usageError{what: "--owner: " + err.Error()}
		}
	}
	if group != "" {
		if w.gid, err = findGroup(group); err != nil {
			return w, &usageError{what: "--group: " + err.Error()}
		}
	}
	if file.mode != "" {
		if w.mode, err = parseMode(file.mode, slices.Contains(w.parts, certs.PartKey)); err != nil {
			return w, &usageError{what: "--mode: " + err.Error()}
		}
	}
	return w, nil
}

// parseMode reads an octal mode. Not every mode is fit for what has a key in it.
func parseMode(text string, key bool) (fs.FileMode, error) {
	n, err := strconv.ParseUint(text, 8, 9) // nine bits: rwxrwxrwx
	mode := fs.FileMode(n)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no mode like 0640", text)
	case mode&0o002 != 0:
		return 0, fmt.Errorf("%q lets every user of this host write", text)
	case key && mode&0o004 != 0:
		return 0, fmt.Errorf("%q lets every user of this host read the private key", text)
	}
	return mode, nil
}

// foundUser is a user of this host.
type foundUser struct {
	uid, gid int
	groups   []uint32
	env      []string
}

func findUser(word string) (*foundUser, error) {
	u, err := user.Lookup(word)
	if err != nil {
		if u, err = user.LookupId(word); err != nil {
			return nil, fmt.Errorf("there is no user %q", word)
		}
	}
	found := &foundUser{env: []string{"USER=" + u.Username, "LOGNAME=" + u.Username, "HOME=" + u.HomeDir}}
	if found.uid, err = strconv.Atoi(u.Uid); err != nil {
		return nil, err
	}
	if found.gid, err = strconv.Atoi(u.Gid); err != nil {
		return nil, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if gid, err := strconv.ParseUint(id, 10, 32); err == nil {
			found.groups = append(found.groups, uint32(gid))
		}
	}
	return found, nil
}

// findOwner is a user's number. One that nobody has here is good too: in containers,
// and where users come from elsewhere than /etc/passwd.
func findOwner(word string) (int, error) {
	if u, err := user.Lookup(word); err == nil {
		return strconv.Atoi(u.Uid)
	}
	n, err := strconv.ParseUint(word, 10, 31)
	if err != nil {
		return -1, fmt.Errorf("there is no user %q", word)
	}
	return int(n), nil
}

func findGroup(word string) (int, error) {
	gid, found := atomicfile.Group(word)
	if !found {
		return -1, fmt.Errorf("there is no group %q", word)
	}
	return gid, nil
}

// credential is what it takes to run something as this user, nil where it takes
// nothing.
func (a *app) credential(word string) (*foundUser, error) {
	if word == "" {
		return nil, nil
	}
	found, err := findUser(word)
	switch {
	case err != nil:
		return nil, &usageError{what: "--as: " + err.Error()}
	case found.uid == a.UID:
		return nil, nil
	case a.UID != 0:
		return nil, fmt.Errorf("--as %q: only root can run something as another user: %w", word, fs.ErrPermission)
	}
	return found, nil
}

// deployment is one run of install.
type deployment struct {
	*app
	flags *installFlags
	as    *foundUser
	items []item
	in    *certs.Installation
}

// item is one file for one certificate.
type item struct {
	certificate *certs.Certificate
	leaf        *x509.Certificate
	file        certs.Destination
	parts       []certs.Part
}

// gather reads every certificate once, so that a switch in the meantime cannot mix
// two of them, and makes all files.
func (d *deployment) gather(words []string, wishes []wish) error {
	store := d.store()
	var done []string
	for _, word := range words {
		certificate, live, err := findLive(store, word)
		if err != nil {
			return err
		}
		if slices.Contains(done, certificate.Alias) {
			continue
		}
		done = append(done, certificate.Alias)
		for _, w := range wishes {
			data, err := live.Encode(w.parts)
			if err != nil {
				return &inputError{certificate.Alias, err}
			}
			path := d.abs(strings.ReplaceAll(w.path, namePattern, certificate.Alias))
			d.items = append(d.items, item{certificate, live.Leaf, certs.Destination{
				Path: filepath.Clean(path), Data: data, UID: w.uid, GID: w.gid, Mode: w.mode,
			}, w.parts})
		}
	}
	return nil
}

// findLive is the certificate that a word means, by its folder or by a name that it
// alone is for, as it is shown now.
func findLive(store *certs.Store, word string) (*certs.Certificate, *certs.Live, error) {
	name, err := config.CanonicalName(word)
	if err != nil {
		name = word // a folder's is no host's
	}
	for _, alias := range []string{word, name} {
		certificate, err := store.Certificate(alias)
		if err != nil {
			continue
		}
		live, err := certificate.Live()
		if err == nil {
			return certificate, live, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, &inputError{alias, err}
		}
	}
	all, err := liveOnes(store)
	if err != nil {
		return nil, nil, err
	}
	all = slices.DeleteFunc(all, func(l liveOne) bool { return !slices.Contains(certs.Names(l.live.Leaf), name) })
	switch len(all) {
	case 0:
		return nil, nil, &inputError{word, fmt.Errorf("there is no certificate for it in %q", store.Dir)}
	case 1:
		return all[0].certificate, all[0].live, nil
	}
	return nil, nil, &inputError{word, fmt.Errorf("%q and %q are for it: which one?", all[0].certificate.Alias, all[1].certificate.Alias)}
}

// liveOne is a certificate of the tree that is shown.
type liveOne struct {
	certificate *certs.Certificate
	live        *certs.Live
}

// liveOnes are all that can be read.
func liveOnes(store *certs.Store) ([]liveOne, error) {
	all, err := store.Certificates()
	if err != nil {
		return nil, err
	}
	var shown []liveOne
	for _, c := range all {
		live, err := c.Live()
		switch {
		case errors.Is(err, fs.ErrPermission):
			return nil, err
		case err == nil:
			shown = append(shown, liveOne{c, live})
		}
	}
	return shown, nil
}

func (d *deployment) destinations() (all []certs.Destination) {
	for _, i := range d.items {
		all = append(all, i.file)
	}
	return all
}

func (d *deployment) stage(ctx context.Context) error {
	staged, err := certs.Stage(ctx, d.destinations())
	if err != nil {
		return installFault(err)
	}
	d.tell("staged", resultStaged, func(i int) bool { return staged[i] })
	return nil
}

// installFault sorts out what the user can mend.
func installFault(err error) error {
	if is[*certs.TwiceError](err) {
		return &usageError{what: "--to: " + err.Error()}
	}
	if errors.Is(err, atomicfile.ErrNotRegular) || is[*certs.LinkError](err) {
		return &inputError{"--to", err}
	}
	return noDirectory(err)
}

// noDirectory says what is never done about a directory that is missing.
func noDirectory(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &hintedError{err, "directories for keys are not made here: make it first, with the owner and mode that you want"}
	}
	return err
}

// run puts the files in place, tells the server, and goes back where that fails.
func (d *deployment) run(ctx context.Context) (err error) {
	if d.in, err = certs.Install(ctx, d.destinations()); err != nil {
		return installFault(err)
	}
	defer d.in.Close()
	if len(d.changed()) == 0 {
		d.report.Note("every file is as it should be")
		d.tell("", resultInstalled, d.in.Changed)
		return nil
	}
	told, err := d.deploy(ctx)
	if err != nil {
		return d.goBack(ctx, told, err)
	}
	if err := d.in.Keep(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	d.tell("installed", resultInstalled, d.in.Changed)
	return nil
}

// changed are the files that are new, or that an earlier run did not finish.
func (d *deployment) changed() (all []item) {
	for i, one := range d.items {
		if d.in.Changed(i) {
			all = append(all, one)
		}
	}
	return all
}

// deploy has the server use the files; told says whether it may know of them.
func (d *deployment) deploy(ctx context.Context) (told bool, err error) {
	for _, line := range d.flags.preflight {
		if err := d.command(ctx, "--preflight", line, d.as); err != nil {
			return false, err
		}
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err := d.reload(ctx); err != nil {
		return true, err
	}
	return true, d.verify(ctx)
}

// reload tells every server, whether or not one before it fails. The first failure is
// returned, others are warnings.
func (d *deployment) reload(ctx context.Context) (first error) {
	for _, line := range d.flags.reload {
		err := d.command(ctx, "--reload", line, nil)
		switch {
		case ctx.Err() != nil:
			return err
		case first == nil:
			first = err
		case err != nil:
			d.report.Warning(err.Error())
		}
	}
	return first
}

// command runs a line of the user's, which finds in its environment what is new.
func (d *deployment) command(ctx context.Context, what, line string, as *foundUser) error {
	var names, files []string
	for _, i := range d.changed() {
		if !slices.Contains(names, i.certificate.Alias) {
			names = append(names, i.certificate.Alias)
		}
		files = append(files, i.file.Path)
	}
	l := hooks.Line{What: what, Text: line, Env: []string{
		"ARID_HOOK_CHANGED=" + strings.Join(names, " "),
		"ARID_HOOK_FILES=" + strings.Join(files, "\n"),
	}}
	if as != nil {
		l.As = &syscall.Credential{Uid: uint32(as.uid), Gid: uint32(as.gid), Groups: as.groups}
		l.Env = append(l.Env, as.env...)
	}
	d.report.Step(fmt.Sprintf("%s: %s", what, line))
	d.report.Clear() // the screen is the command's now
	runner := &hooks.Runner{
		Env: d.settings.HookEnv(), Stdout: d.Stderr, Stderr: d.Stderr,
		Timeout: d.settings.Duration("HOOK_TIMEOUT"), Group: !hooks.ControllingTerminal(), Turn: d.turn,
	}
	return runner.RunLine(ctx, l)
}

// verify looks until the new certificates are served everywhere, as long as it may.
func (d *deployment) verify(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, d.flags.verifyWait)
	defer cancel()
	var done []string
	for _, i := range d.changed() {
		if slices.Contains(done, i.certificate.Alias) {
			continue
		}
		done = append(done, i.certificate.Alias)
		for _, target := range d.flags.targets {
			d.report.Step(fmt.Sprintf("%s: looking at %s", i.certificate.Alias, target))
			err := d.awaitServed(ctx, within, target, i.leaf)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				return fmt.Errorf("%s: --verify %s: %w", i.certificate.Alias, target, err)
			}
		}
	}
	return nil
}

// awaitServed looks until within is over, once at least, and returns why the target
// does not show a certificate. A look that is begun is brought to its end.
func (d *deployment) awaitServed(ctx, within context.Context, target probe.Target, leaf *x509.Certificate) error {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		why := d.servedAt(ctx, target, leaf)
		if why == nil {
			return nil
		}
		select {
		case <-within.Done():
			return why
		case <-time.After(pause):
		}
	}
}

// goBack puts back what was there, after a failure.
func (d *deployment) goBack(ctx context.Context, told bool, failure error) error {
	patient := context.WithoutCancel(ctx)
	if told && ctx.Err() != nil {
		return failure // what was begun is repeated by the next run, from the preflight on
	}
	if err := d.in.Undo(patient); err != nil {
		d.tellError(failure)
		return fmt.Errorf("cannot put back what was there before: %w", err)
	}
	if ctx.Err() != nil {
		return failure
	}
	back := "what was there before is back in place"
	if told && len(d.flags.reload) > 0 {
		back += ", and the server was told again"
		if err := d.reload(patient); err != nil {
			back = "what was there before is back in place, but the server could not be told"
			d.report.Warning(err.Error())
		}
	}
	failed := &hintedError{failure, back}
	d.tellError(failed)
	if d.json {
		for _, i := range d.changed() {
			o := d.object(i, resultRestored)
			o.Status, o.Error, o.Hints = statusDeploy, failed.Error(), hints(failed)
			_ = d.emit(o) // a broken stdout is known to report
		}
	}
	return &toldError{statusDeploy}
}

// tell says what became of the files: a line for each certificate that has changed.
func (d *deployment) tell(done, result string, changed func(int) bool) {
	var order []string
	files := map[string][]string{}
	for n, i := range d.items {
		o := d.object(i, resultUnchanged)
		if alias := i.certificate.Alias; changed(n) {
			o.Result = result
			if files[alias] == nil {
				order = append(order, alias)
			}
			files[alias] = append(files[alias], o.File)
		}
		if d.json {
			_ = d.emit(o) // a broken stdout is known to report
		}
	}
	for _, alias := range order {
		d.report.Result(fmt.Sprintf("%s: %s: %s", alias, done, strings.Join(files[alias], ", ")))
	}
}

func (d *deployment) object(i item, result string) *installJSON {
	o := &installJSON{Name: i.certificate.Alias, File: i.file.Path, Result: result, NotAfter: timeJSON(i.leaf.NotAfter)}
	if d.flags.stage {
		o.File += ".upd"
	}
	for _, part := range i.parts {
		o.Parts = append(o.Parts, string(part))
	}
	return o
}

// What became of a file.
const (
	resultInstalled = "installed"
	resultRestored  = "restored"
	resultStaged    = "staged"
)

// installJSON is a file of arid install.
type installJSON struct {
	head
	Name     string   `json:"name"`
	File     string   `json:"file"`
	Parts    []string `json:"parts"`
	Result   string   `json:"result"`
	NotAfter string   `json:"not_after"`
	Status   int      `json:"status"`
	Error    string   `json:"error,omitempty"`
	Hints    []string `json:"hints,omitempty"`
}
