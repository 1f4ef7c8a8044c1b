package account

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Adopt brings what older versions of dehydrated left into the place of today, as
// its own newer versions do: where the CA has no folder yet, a link to that of
// oldCA (its URL with the first protocol version, "" for none); private_key.pem
// and private_key.json of BASEDIR move into the folder, where it has no such file.
// It returns a line for each thing it did. With KeyFile it does nothing.
func (s *Store) Adopt(ctx context.Context, oldCA string, wait time.Duration) (done []string, err error) {
	if s.KeyFile != "" {
		return nil, nil
	}
	if linked, err := s.linkOld(oldCA); err != nil {
		return nil, err
	} else if linked {
		done = append(done, "Reusing account from "+oldCA)
	}
	// The key first: without it the other file is about nothing.
	for _, move := range [][2]string{{"private_key.pem", "account_key.pem"}, {"private_key.json", "registration_info.json"}} {
		moved, err := s.moveOld(ctx, move[0], move[1], wait)
		if err != nil {
			return done, err
		}
		if moved {
			done = append(done, "Moving "+move[0]+" to "+s.inFolder(move[1]))
		}
	}
	return done, nil
}

func (s *Store) linkOld(oldCA string) (bool, error) {
	if oldCA == "" || oldCA == s.CA || exists(s.Path()) {
		return false, nil
	}
	old := FolderName(oldCA)
	if info, err := os.Stat(filepath.Join(s.Dir, old)); err != nil || !info.IsDir() {
		return false, nil
	}
	err := os.Symlink(old, s.Path())
	if errors.Is(err, fs.ErrExist) { // another run's
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, syncDir(s.Dir)
}

// moveOld moves a file of BASEDIR into the account's folder. On another file system
// it stays where it is: there the key is read in place.
func (s *Store) moveOld(ctx context.Context, from, to string, wait time.Duration) (bool, error) {
	if s.Base == "" {
		return false, nil
	}
	from, to = filepath.Join(s.Base, from), s.inFolder(to)
	if info, err := os.Stat(from); err != nil || !info.Mode().IsRegular() || exists(to) {
		return false, nil
	}
	unlock, err := s.lock(ctx, wait)
	if err != nil {
		return false, err
	}
	defer unlock()
	if exists(to) {
		return false, nil
	}
	err = os.Rename(from, to)
	if errors.Is(err, syscall.EXDEV) || errors.Is(err, fs.ErrNotExist) { // or another run was first
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, syncDir(s.Path())
}
