package atomicfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
)

// readACL returns nil where there is none, or the file system knows none.
func readACL(f *os.File, which string) ([]byte, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Fgetxattr(int(f.Fd()), which, buf)
	if noACL(err) {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "fgetxattr", Path: f.Name(), Err: err}
	}
	return buf[:n], nil
}

func hasACL(f *os.File) (bool, error) {
	_, err := unix.Fgetxattr(int(f.Fd()), accessACL, nil)
	if noACL(err) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "fgetxattr", Path: f.Name(), Err: err}
	}
	return true, nil
}

func writeACL(f *os.File, which string, acl []byte) error {
	if err := unix.Fsetxattr(int(f.Fd()), which, acl, 0); err != nil && !noACL(err) {
		return &os.PathError{Op: "fsetxattr", Path: f.Name(), Err: err}
	}
	return nil
}

func removeACL(f *os.File) error {
	if err := unix.Fremovexattr(int(f.Fd()), accessACL); err != nil && !noACL(err) {
		return &os.PathError{Op: "fremovexattr", Path: f.Name(), Err: err}
	}
	return nil
}

func noACL(err error) bool {
	return errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS)
}
