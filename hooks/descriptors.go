package hooks

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// closeOnExec marks every descriptor above 2 close-on-exec. Go opens its own
// that way; this catches those that our caller left open for us (a key read
// from descriptor 5 is not the hook's), and lasts for the whole process.
func closeOnExec() {
	if closeRange() == nil {
		return
	}
	list, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, entry := range list {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}
