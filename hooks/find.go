package hooks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// NotFoundError says why the program named by HOOK cannot be run. Err keeps
// fs.ErrNotExist or fs.ErrPermission where that is the cause.
type NotFoundError struct {
	Program string // as configured
	Reason  string
	Err     error
	hint    string
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("hook %q: %s", e.Program, e.Reason) }

func (e *NotFoundError) Unwrap() error { return e.Err }

// Hint is what the user might do about it, or "".
func (e *NotFoundError) Hint() string { return e.hint }

// Find returns the program to run for a HOOK setting. One with a slash is
// taken as it is, so that a script finds its neighbours through its $0; it is
// looked at relative to dir, the working directory ("" if unknown). A bare
// word is looked up in path (PATH's value) and nowhere else; there a relative
// or empty entry counts from dir, as in a shell. What it returns is an executable
// regular file with its interpreter in place, else the error is a *NotFoundError.
func Find(program, path, dir string) (string, error) {
	if !strings.Contains(program, "/") {
		return lookPath(program, path, dir)
	}
	err := check(program, from(dir, program))
	if err != nil {
		return "", withHint(err, program, path, dir)
	}
	return program, nil
}

func lookPath(word, path, dir string) (string, error) {
	var seen *NotFoundError // what a shell would have tried, had it been executable
	for _, entry := range filepath.SplitList(path) {
		if word == "" {
			break
		}
		file := filepath.Join(from(dir, entry), word)
		if !strings.Contains(file, "/") {
			file = "./" + file
		}
		err := check(word, file)
		if err == nil {
			return file, nil
		}
		if seen == nil && !errors.Is(err, fs.ErrNotExist) {
			seen = err
		}
	}
	if seen != nil {
		return "", seen
	}
	err := &NotFoundError{Program: word, Reason: "not found in PATH", Err: fs.ErrNotExist}
	if word != "" && check(word, filepath.Join(from(dir, ""), word)) == nil {
		err.hint = fmt.Sprintf("a program in the working directory is named %q", "./"+word)
		return "", err
	}
	return "", withHint(err, word, path, dir)
}

// check tells why file cannot be run, nil if it can.
func check(program, file string) *NotFoundError {
	// The file may be swapped before it runs: this is for the message, and
	// Run explains what execve says then.
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &NotFoundError{Program: program, Reason: "does not exist", Err: err}
	case err != nil:
		return &NotFoundError{Program: program, Reason: reason(err), Err: err}
	case info.IsDir():
		return &NotFoundError{Program: program, Reason: "is a directory"}
	case !info.Mode().IsRegular():
		return &NotFoundError{Program: program, Reason: "is no regular file"}
	}
	err = unix.Faccessat(unix.AT_FDCWD, file, unix.X_OK, unix.AT_EACCESS)
	if err != nil && info.Mode()&0o111 == 0 {
		return &NotFoundError{Program: program, Reason: "is not executable", Err: err,
			hint: fmt.Sprintf("chmod +x %s", file)}
	}
	if err != nil {
		return &NotFoundError{Program: program, Reason: "is not executable for this user or on this file system", Err: err}
	}
	if shebang := missingInterpreter(file); shebang != "" {
		return &NotFoundError{Program: program,
			Reason: fmt.Sprintf("its interpreter %q does not exist", shebang), Err: fs.ErrNotExist,
			hint: crlfHint(shebang)}
	}
	return nil
}

// withHint looks for the usual mistake behind a missing program: arguments.
func withHint(err *NotFoundError, program, path, dir string) *NotFoundError {
	word, _, found := strings.Cut(program, " ")
	if !found || err.hint != "" || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, e := Find(word, path, dir); e == nil {
		err.hint = fmt.Sprintf("HOOK takes no arguments: put %q into a script", program)
	}
	return err
}

// missingInterpreter returns the interpreter named by the script's first line
// if it does not exist: execve reports that as if the script were missing.
func missingInterpreter(file string) string {
	line, found := bytes.CutPrefix(head(file), []byte("#!"))
	if !found {
		return ""
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	word, _, _ := strings.Cut(strings.TrimLeft(string(line), " \t"), " ")
	word, _, _ = strings.Cut(word, "\t")
	if !strings.HasPrefix(word, "/") {
		return ""
	}
	if _, err := os.Stat(word); errors.Is(err, fs.ErrNotExist) {
		return word
	}
	return ""
}

func crlfHint(interpreter string) string {
	if strings.HasSuffix(interpreter, "\r") {
		return "the script has DOS line ends (CR LF)"
	}
	return ""
}

// head returns the first 256 bytes of file (what Linux looks at), or less.
func head(file string) []byte {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, 256)
	n, _ := io.ReadFull(f, b)
	return b[:n]
}

// from joins dir and a relative path; with an unknown dir the path stays.
func from(dir, path string) string {
	switch {
	case path == "" && dir == "":
		return "."
	case dir == "" || filepath.IsAbs(path):
		return path
	}
	return filepath.Join(dir, path)
}

// reason is err without the operation and path that the message already has.
func reason(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}
