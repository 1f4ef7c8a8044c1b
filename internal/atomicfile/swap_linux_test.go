package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestADirectorySwappedForAFIFOIsNotWaitedFor(t *testing.T) {
	dir, path := open(t)
	at := func(name string) string { return filepath.Join(path, name) }
	os.Mkdir(at("d"), 0o700)
	syscall.Mkfifo(at("f"), 0o600)
	stop := make(chan struct{})
	var swaps sync.WaitGroup
	swaps.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, at("d"), unix.AT_FDCWD, at("f"), unix.RENAME_EXCHANGE)
			}
		}
	})
	for range 2000 {
		if sub, err := Subdir(dir, "d"); err == nil {
			sub.Close()
		} else if !errors.Is(err, syscall.ENOTDIR) {
			t.Error(err)
		}
	}
	close(stop)
	swaps.Wait()
}
