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

// O_NONBLOCK: opening a FIFO that nobody writes to must not wait.
const readFlags = os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY

// TooLargeError is a file that has more than the Max bytes that are read of it.
type TooLargeError struct {
	Path string
	Max  int64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%q: has more than %d bytes", e.Path, e.Max)
}

// Scarce tells whether a file could not be opened or read because this process, or the
// host, has run out of descriptors or memory: the file itself may be good.
func Scarce(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// ReadFile reads a regular file of at most max bytes; links are followed. The
// error is a *TooLargeError, or a *fs.PathError (with ErrNotRegular for what
// might never end or never begin).
func ReadFile(path string, max int64) ([]byte, error) {
	f, err := os.OpenFile(path, readFlags, 0)
	return read(f, err, max, fs.FileMode.IsRegular)
}

// ReadIn is ReadFile of a name in a directory that is open already. Links are
// followed as far as they stay inside it.
func ReadIn(dir *os.Root, name string, max int64) ([]byte, error) {
	f, err := dir.OpenFile(name, readFlags, 0)
	return read(f, err, max, fs.FileMode.IsRegular)
}

// ReadFileAs is ReadFile, and tells whose file it was that has been read: asked by
// name, that may be another one by then.
func ReadFileAs(path string, max int64) ([]byte, *Attributes, error) {
	f, err := os.OpenFile(path, readFlags, 0)
	return readAs(f, err, max)
}

// ReadInAs is ReadIn, and tells whose file it was that has been read.
func ReadInAs(dir *os.Root, name string, max int64) ([]byte, *Attributes, error) {
	f, err := dir.OpenFile(name, readFlags, 0)
	return readAs(f, err, max)
}

// ReadInput is ReadFile for a file that the user named: it may be a pipe or a
// terminal too, as /dev/stdin and a shell's <(command) are.
func ReadInput(path string, max int64) ([]byte, error) {
	f, err := os.OpenFile(path, readFlags, 0)
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
	return readOpen(f, max, readable)
}

func readAs(f *os.File, err error, max int64) ([]byte, *Attributes, error) {
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	data, err := readOpen(f, max, fs.FileMode.IsRegular)
	if err != nil {
		return nil, nil, err
	}
	a, err := attributes(f)
	return data, a, err
}

func readOpen(f *os.File, max int64, readable func(fs.FileMode) bool) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !readable(info.Mode()) {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: ErrNotRegular}
	}
	// What is as long as it says it is takes two reads; what grows, or is a pipe,
	// goes on below.
	data := make([]byte, 0, min(info.Size(), max)+1)
	for len(data) < cap(data) {
		n, err := f.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
	}
	more, err := io.ReadAll(io.LimitReader(f, max+1-int64(len(data))))
	if err != nil {
		return nil, err
	}
	if data = append(data, more...); int64(len(data)) > max {
		return nil, &TooLargeError{f.Name(), max}
	}
	return data, nil
}
