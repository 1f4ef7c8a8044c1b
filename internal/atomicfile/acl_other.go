//go:build !linux

package atomicfile

import "os"

// Elsewhere than on Linux the mode is all that is copied.
const (
	accessACL  = ""
	defaultACL = ""
)

func readACL(*os.File, string) ([]byte, error)      { return nil, nil }
func hasACL(*os.File) (bool, error)                 { return false, nil }
func writeACL(*os.File, string, []byte) (err error) { return nil }
func removeACL(*os.File) error                      { return nil }
