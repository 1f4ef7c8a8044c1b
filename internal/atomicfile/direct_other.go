//go:build !linux

package atomicfile

import "os"

// OpenDirect is OpenDir where the system cannot tell whether links were followed.
func OpenDirect(path string) (*os.Root, error) { return OpenDir(path) }
