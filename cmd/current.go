package cmd

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"arid/certs"
	"arid/internal/atomicfile"
)

// maxChain is more than any chain has.
const maxChain = 1 << 20

// readCurrent reads the chain of an earlier run; none is nil: there is no such file
// yet, it is empty, or it is no chain, which is worth a warning.
func (a *app) readCurrent(file string) ([]*x509.Certificate, error) {
	what := fmt.Sprintf("--current %q", file)
	data, err := a.readInput(a.abs(file), maxChain)
	var large *atomicfile.TooLargeError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.As(err, &large):
		a.report.Warning(what + ": is no certificate, so that one is ordered")
		return nil, nil
	case err != nil:
		return nil, &inputError{what, err}
	case len(data) == 0 && a.isStdout(file):
		a.report.Warning(what + ": is stdout, which the shell has emptied: so every run is an order; write to another file, and move that")
	}
	return a.parseCurrent(what, data), nil
}

// isStdout tells whether what is printed goes into that very file.
func (a *app) isStdout(file string) bool {
	stdout, isFile := a.Stdout.(*os.File)
	if !isFile {
		return false
	}
	one, err := stdout.Stat()
	if err != nil {
		return false
	}
	other, err := os.Stat(a.abs(file))
	return err == nil && os.SameFile(one, other)
}

func (a *app) parseCurrent(what string, data []byte) []*x509.Certificate {
	if len(data) == 0 {
		return nil
	}
	chain, err := certs.ParseChain(data)
	switch {
	case err != nil:
		a.report.Warning(fmt.Sprintf("%s: %v; a new one is ordered", what, err))
		return nil
	case len(chain) == 0:
		a.report.Warning(what + ": is no certificate, so that one is ordered")
	}
	return chain
}

// touch sets the time of a file to now, and makes it where it is missing. The run
// was good by then, and so a failure is a warning.
func (a *app) touch(file string) {
	path := a.abs(file)
	links, flags := 0, os.O_WRONLY|os.O_CREATE
	if a.othersWriteIn(filepath.Dir(path)) { // who may have put a link there
		links, flags = unix.AT_SYMLINK_NOFOLLOW, flags|os.O_EXCL
	}
	err := unix.UtimesNanoAt(unix.AT_FDCWD, path, nil, links) // for which the right to write is enough
	if errors.Is(err, fs.ErrNotExist) {
		defer unix.Umask(unix.Umask(a.umask))
		var f *os.File
		if f, err = os.OpenFile(path, flags, 0o666); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		a.report.Warning(fmt.Sprintf("--touch %q: %v", file, cause(err)))
	}
}
