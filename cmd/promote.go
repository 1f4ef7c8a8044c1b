package cmd

import (
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"arid/certs"
)

type promoteFlags struct {
	backups    int
	grace      time.Duration
	selfSigned bool
	strict     bool
}

func (a *app) promoteCommand() *cobra.Command {
	var f promoteFlags
	c := &cobra.Command{
		Use:   "promote CERT KEY",
		Short: "put files that wait as CERT.upd and KEY.upd in place, before a server starts",
		Long: `The first line of a server's run script, while it is still root: if CERT.upd and
KEY.upd are a pair, and good now, they become CERT and KEY, and those become
CERT.old.0 and KEY.old.0. If they are not, nothing is changed: status 65. Nothing
waiting is status 0. Killed at any time, one more run finishes it.`,
		Example: `  arid promote /etc/tls/www.pem /etc/tls/www.key && exec lighttpd -D -f /etc/lighttpd.conf
  arid promote --or-self-signed --grace 15m /etc/tls/www.pem /etc/tls/www.key`,
		GroupID: groupDeploy,
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, words []string) error {
			if len(words) != 2 {
				return &usageError{what: fmt.Sprintf("promote takes two files, and got %d", len(words)), hint: "arid promote CERT KEY"}
			}
			return a.promote(c, &f, words[0], words[1])
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault // files
		},
	}
	flags := c.Flags()
	flags.IntVar(&f.backups, "backups", 1, "keep `N` of what was there before, as FILE.old.0 and on")
	flags.DurationVar(&f.grace, "grace", 0, "let a certificate wait for `DURATION` after its beginning, for clients whose clocks are late")
	flags.BoolVar(&f.selfSigned, "or-self-signed", false, "if there is none at all, make a self-signed pair that a server can start with")
	flags.BoolVar(&f.strict, "strict-perms", false, "fail unless a directory above KEY is closed to others (0700)")
	return c
}

func (a *app) promote(c *cobra.Command, f *promoteFlags, cert, key string) error {
	const mostBackups = 50 // as lws has it
	switch {
	case f.backups < 0 || f.backups > mostBackups:
		return &usageError{what: fmt.Sprintf("--backups: %d is none of 0 to %d", f.backups, mostBackups)}
	case f.grace < 0:
		return &usageError{what: "--grace: less than nothing"}
	}
	p := &certs.Promotion{Cert: a.abs(cert), Key: a.abs(key), Backups: f.backups, Grace: f.grace, SelfSigned: f.selfSigned}
	open := &openError{key}
	guarded := certs.Guarded(p.Key)
	if f.strict && !guarded {
		return open
	}
	done, err := p.Run(c.Context(), time.Now())
	switch {
	case is[*certs.PairError](err), is[*certs.UnreadableError](err), is[*certs.LinkError](err):
		return &inputError{"left alone", err}
	case is[*certs.TwiceError](err):
		return &usageError{what: "CERT and KEY are one file"}
	case err != nil:
		return noDirectory(err)
	}
	for _, w := range done.Warnings {
		a.report.Warning(w)
	}
	if done.Done && !guarded {
		a.report.Warning(open.Error())
	}
	o := &promoteJSON{Cert: cert, Key: key, Result: resultUnchanged, NotAfter: timeJSON(done.Leaf.NotAfter), Until: timeJSON(done.Until)}
	switch {
	case done.Made:
		o.Result = resultSelfSigned
		a.report.Result(fmt.Sprintf("%s: a self-signed certificate, until there is another", cert))
	case done.Done:
		o.Result = resultPromoted
		a.report.Result(fmt.Sprintf("%s: promoted, for %s, until %s", cert, someNames(done.Leaf), o.NotAfter))
	case !done.Until.IsZero():
		o.Result = resultWaiting
		a.report.Note(fmt.Sprintf("%s.upd: waits until %s", cert, o.Until))
	}
	if a.json {
		return a.emit(o)
	}
	return nil
}

// openError is a key in directories that others can enter, all of them.
type openError struct{ key string }

func (e *openError) Error() string {
	return fmt.Sprintf("%q: no directory above it is closed to others (mode 0700, root's or ours)", e.key)
}

func (e *openError) Unwrap() error { return fs.ErrPermission }

// What became of a pair that may have been waiting.
const (
	resultPromoted   = "promoted"
	resultSelfSigned = "self-signed"
	resultWaiting    = "waiting"
)

// promoteJSON is what arid promote did.
type promoteJSON struct {
	head
	Cert     string `json:"cert"`
	Key      string `json:"key"`
	Result   string `json:"result"`
	NotAfter string `json:"not_after"`
	Until    string `json:"until,omitempty"`
}
