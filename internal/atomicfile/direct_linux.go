package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// OpenDirect opens a directory whose path has no link in it, not even one that
// comes while it is opened (ELOOP). Linux before 5.6 cannot tell.
func OpenDirect(path string) (*os.Root, error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, path, how)
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // EPERM: of a container's filter that is older
		return OpenDir(path)
	case err != nil:
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	direct := os.NewFile(uintptr(fd), path)
	defer direct.Close()
	dir, err := OpenDir(path) // os.Root takes no descriptor
	if err != nil {
		return nil, err
	}
	want, err := direct.Stat()
	if err == nil {
		var opened fs.FileInfo
		if opened, err = dir.Stat("."); err == nil && !os.SameFile(want, opened) {
			err = &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
		}
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}
