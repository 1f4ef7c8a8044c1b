package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ErrNotRegular is why a FIFO, device or directory is not read.
var ErrNotRegular = errors.New("is not a regular file")

// TooLargeError is a file that has more than the Max bytes that are read of it.
type TooLargeError struct {
	Path string
	Max  int64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%q: has more than %d bytes", e.Path, e.Max)
}

// ReadFile reads a regular file of at most max bytes; links are followed. The
// error is a *TooLargeError, or a *fs.PathError (with ErrNotRegular for what
// might never end or never begin).
func ReadFile(path string, max int64) ([]byte, error) {
	// O_NONBLOCK: opening a FIFO that nobody writes to must not wait.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	return read(f, err, max, fs.FileMode.IsRegular)
}

// ReadIn is ReadFile of a name in a directory that is open already. Links are
// followed as far as they stay inside it.
func ReadIn(dir *os.Root, name string, max int64) ([]byte, error) {
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	return read(f, err, max, fs.FileMode.IsRegular)
}

// ReadInput is ReadFile for a file that the user named: it may be a pipe or a
// terminal too, as /dev/stdin and a shell's <(command) are.
func ReadInput(path string, max int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	return read(f, err, max, func(mode fs.FileMode) bool {
		block := mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0
		return !mode.IsDir() && !block
	})
}

func read(f *os.File, err error, max int64, readable func(fs.FileMode) bool) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !readable(info.Mode()) {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: ErrNotRegular}
	}
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > max {
		return nil, &TooLargeError{f.Name(), max}
	}
	return data, nil
}
