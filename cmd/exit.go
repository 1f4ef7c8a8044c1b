package cmd

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"syscall"

	"arid/account"
	"arid/acme"
	"arid/alpn"
	"arid/certs"
	"arid/challenge"
	"arid/config"
	"arid/dns"
	"arid/hooks"
	"arid/internal/atomicfile"
	"arid/internal/guard"
	"arid/issue"
	"arid/keys"
	"arid/renew"
	"arid/respond"
)

// Exit statuses: those of sysexits(3) where it has a word. docs/exit-status.md
// has the same table, and a test holds the two together.
const (
	statusOK         = 0
	statusFailed     = 1
	statusDeploy     = 10
	statusUsage      = 64
	statusInput      = 65
	statusBug        = 70
	statusIO         = 74
	statusLater      = 75
	statusProtocol   = 76
	statusPermission = 77
	statusConfig     = 78

	// Of arid due alone: systemd's ExecCondition= takes 1 to 254 for "skip".
	statusNotDue    = 1
	statusUndecided = 255
)

// exitStatus maps an error to the status the program ends with. It is the only
// place that does. Where an error is of several kinds, the first row counts.
func exitStatus(err error) int {
	switch {
	case err == nil:
		return statusOK
	case is[*toldError](err):
		t, _ := errors.AsType[*toldError](err)
		return t.status
	case is[*SignalError](err):
		s, _ := errors.AsType[*SignalError](err)
		return 128 + int(s.Signal) // seen by tests only: main dies by the signal
	case is[*undecidedError](err):
		return statusUndecided
	case is[*issue.HeldError](err):
		h, _ := errors.AsType[*issue.HeldError](err)
		return cmp.Or(h.Status, statusLater)
	case is[*guard.Panic](err):
		return statusBug
	case is[*usageError](err), usage(err):
		return statusUsage
	case is[*issue.DeployError](err):
		return statusDeploy
	case is[*outputError](err), is[*descriptorError](err):
		return statusIO
	case is[*acme.TemporaryError](err), is[*renew.ClockError](err), is[*atomicfile.LockedError](err), is[*certs.ForeignLockError](err), errors.Is(err, context.DeadlineExceeded):
		return statusLater
	case is[*dns.UpdateError](err):
		if u, _ := errors.AsType[*dns.UpdateError](err); u.Temporary() {
			return statusLater
		}
		return statusConfig
	case is[*dns.ZoneError](err), is[*dns.ChainError](err):
		return statusConfig
	case is[*dns.UnseenError](err), is[*dns.UnreachableError](err), is[*dns.ResolverError](err):
		return statusLater
	case is[*acme.ProtocolError](err):
		return statusProtocol
	case is[*issue.ValidationError](err), is[*issue.SelfCheckError](err), is[*issue.OrderError](err):
		return statusFailed
	case is[*account.GoneError](err), is[*account.TermsError](err), is[*account.EABError](err), is[*account.NoneError](err):
		return statusConfig // also where the CA says so, in a problem document
	case is[*acme.Problem](err):
		if p, _ := errors.AsType[*acme.Problem](err); p.Status >= 500 {
			return statusLater
		}
		return statusFailed
	case is[*hooks.NotFoundError](err):
		return statusConfig
	case errors.Is(err, fs.ErrPermission):
		return statusPermission
	case is[*respond.ListenError](err):
		return statusLater
	case is[*config.NameError](err), is[*config.LineError](err), is[*inputError](err), is[*keys.ParseError](err),
		is[*account.KeyError](err), is[*account.ContactError](err):
		return statusInput
	case is[*config.Error](err), is[*issue.ConfigError](err), is[*issue.OfferError](err), is[*issue.ChainError](err), is[*challenge.DirError](err), is[*alpn.DirError](err), is[*acme.URLError](err),
		is[*account.DeactivatedError](err), is[*orphanError](err):
		return statusConfig
	case is[*hooks.ExitError](err), is[*hooks.TimeoutError](err):
		return statusFailed
	case is[*fs.PathError](err), is[syscall.Errno](err):
		return statusIO
	}
	return statusFailed
}

// usage tells whether a wrong setting was given by a flag.
func usage(err error) bool {
	c, ok := errors.AsType[*config.Error](err)
	return ok && c.Flag
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// usageError is a command line that makes no sense.
type usageError struct {
	what, hint string
}

func (e *usageError) Error() string { return e.what }
func (e *usageError) Hint() string  { return e.hint }

// inputError is a file or value of the user's that cannot be used.
type inputError struct {
	what string // which, such as `CSR "x.csr"`
	err  error
}

func (e *inputError) Error() string { return e.what + ": " + e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }

// hintedError is an error with what might help.
type hintedError struct {
	err  error
	hint string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }
func (e *hintedError) Hint() string  { return e.hint }

// outputError is a product that could not be written to stdout.
type outputError struct {
	err error
}

func (e *outputError) Error() string { return "cannot write to stdout: " + e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }
