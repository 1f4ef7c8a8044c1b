// Package account keeps ACME accounts on disk, one folder per CA in the form
// that dehydrated has, and finds or makes them at the CA.
//
//	ACCOUNTDIR/<FolderName(CA)>/  may be a symlink
//	  account_key.pem             PEM or JWK
//	  account_id.json             {"url":"<account URL>"}
//	  registration_info.json      the account object as the CA sent it
//	  deactivated                 empty marker
//	  .arid.lock                  flock while the account is looked up or made
//
// Directories are made with mode 0777 and files with 0666: the umask or a
// default ACL decides, and the umask is 077.
package account

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"arid/acme"
	"arid/internal/atomicfile"
	"arid/keys"
)

// Store is the place of the account at one CA.
type Store struct {
	Dir string // ACCOUNTDIR
	CA  string // directory URL

	// KeyFile is an account key outside the tree (-p). It has to exist, and
	// nothing is changed but its side files KEYFILE.json and KEYFILE_id.json
	// (dehydrated), where they can be written. The account URL is also read
	// from acmems' registration.json or certbot's regr.json beside the key.
	// With MakeKey, Ensure makes a key where there is no such file.
	KeyFile string
	MakeKey bool

	// Key is that of KeyFile, and URL the account's, where the caller knows them: then
	// they are not looked for.
	Key crypto.Signer
	URL string

	// Base is BASEDIR, where dehydrated before 0.4 had private_key.pem. Where the
	// tree has no key, that one is used in place; dehydrated itself would move
	// it. "" looks for none.
	Base string

	// What is known of the CA before it is asked. NeedsEAB: it makes accounts only
	// with an external account binding. MailEAB is where one is to be had for a mail
	// address (acme.Client.FetchEAB); "" is nowhere.
	NeedsEAB bool
	MailEAB  string

	// Turn is held while the account is looked up or made, so that those who work
	// side by side do it one after another. Nil: nobody does.
	Turn *sync.Mutex
}

// Account is what the disk knows of an account.
type Account struct {
	Key crypto.Signer // nil: there is none yet
	URL string        // "": not known yet, the CA can tell
}

// KeyError is an account key that is there and cannot be used, or one named
// by the user that is not there.
type KeyError struct {
	File string
	Err  error
}

func (e *KeyError) Error() string { return fmt.Sprintf("account key %q: %v", e.File, e.Err) }

func (e *KeyError) Unwrap() error { return e.Err }

// DeactivatedError is an account that was deactivated from here.
type DeactivatedError struct {
	Path string // the account's folder
}

func (e *DeactivatedError) Error() string {
	return fmt.Sprintf("the account in %q has been deactivated", e.Path)
}

// Hint is what the user might do.
func (e *DeactivatedError) Hint() string {
	return fmt.Sprintf("move %q away to register a new account", e.Path)
}

// FolderName is the name of a CA's folder: the directory URL and a newline in
// base64url. The newline is dehydrated's, who keeps it for the sake of the
// folders that are there.
func FolderName(caURL string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(caURL + "\n"))
}

// Path is the account's folder, also with KeyFile.
func (s *Store) Path() string { return filepath.Join(s.Dir, FolderName(s.CA)) }

func (s *Store) inFolder(name string) string { return filepath.Join(s.Path(), name) }

// KeyPath is the file the key is read from. In the tree it may be missing.
func (s *Store) KeyPath() string {
	if s.KeyFile != "" {
		return s.KeyFile
	}
	file := s.inFolder("account_key.pem")
	if s.Base == "" || exists(file) {
		return file
	}
	if old := filepath.Join(s.Base, "private_key.pem"); exists(old) {
		return old
	}
	return file
}

// idFile and infoFile are dehydrated's two side files (its -p has them beside
// the key, the dots and lines as they come).
func (s *Store) idFile() string {
	if s.KeyFile != "" {
		return s.KeyFile + "_id.json"
	}
	return s.inFolder("account_id.json")
}

func (s *Store) infoFile() string {
	if s.KeyFile != "" {
		return s.KeyFile + ".json"
	}
	return s.inFolder("registration_info.json")
}

// exists is true for a dangling symlink too: what is there is not ours to replace.
func exists(file string) bool {
	_, err := os.Lstat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

// Open reads the account; nothing is written and nobody is asked. Without a
// key in the tree, Account.Key is nil. A key that is there and cannot be read
// is a *KeyError, a deactivated account a *DeactivatedError.
func (s *Store) Open() (*Account, error) {
	if s.KeyFile == "" && exists(s.inFolder("deactivated")) {
		return nil, &DeactivatedError{s.Path()}
	}
	file := s.KeyPath()
	if s.KeyFile == "" && !exists(file) {
		return &Account{}, nil
	}
	key := s.Key
	if key == nil {
		var err error
		if key, err = keys.Read(file); err == nil {
			err = keys.Check(key.Public())
		}
		if err != nil {
			return nil, keyError(file, err)
		}
	}
	if s.URL != "" {
		return &Account{Key: key, URL: s.URL}, nil
	}
	return &Account{Key: key, URL: s.readURL(key)}, nil
}

// Hold keeps the key of a KeyFile that can be read only once, as a shell's <(command).
func (s *Store) Hold() error {
	info, err := os.Stat(s.KeyFile)
	if s.KeyFile == "" || err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		return nil // Open has the words for it
	}
	a, err := s.Open()
	if err == nil {
		s.Key = a.Key
	}
	return err
}

// openToMake is Open for those who make what is missing.
func (s *Store) openToMake() (*Account, error) {
	if s.MakeKey && s.KeyFile != "" && !exists(s.KeyFile) {
		return &Account{}, nil
	}
	return s.Open()
}

// keyError says the file's name once: fs and keys have it in their errors too.
func keyError(file string, err error) error {
	var path *fs.PathError
	var parse *keys.ParseError
	switch {
	case errors.As(err, &path):
		err = path.Err
	case errors.As(err, &parse):
		err = &keys.ParseError{What: parse.What, Err: parse.Err}
	}
	return &KeyError{file, err}
}

// readURL is the stored account URL, "" if there is none that can be relied on:
// missing, damaged, or {"id":…} of dehydrated 0.6.4 and 0.6.5.
func (s *Store) readURL(key crypto.Signer) string {
	var id struct {
		URL string `json:"url"`
		CA  string `json:"ca"`  // ours, with KeyFile only
		Key string `json:"key"` // so; the key's thumbprint (RFC 7638)
	}
	readJSON(s.idFile(), &id)
	if s.KeyFile == "" {
		return goodURL(id.URL)
	}
	// One key may serve several CAs, and there may be another key in the file by now:
	// its side files tell only where arid wrote them.
	thumbprint, err := acme.Thumbprint(key.Public())
	own := id.Key == "" || err == nil && id.Key == thumbprint
	if own && (id.CA == s.CA || id.CA == "" && sameHost(id.URL, s.CA)) {
		if u := goodURL(id.URL); u != "" {
			return u
		}
	}
	return s.foreignURL(key)
}

// foreignURL is the account URL in the file that acmems (registration.json) or
// certbot (regr.json) keeps beside its key.
func (s *Store) foreignURL(key crypto.Signer) string {
	for _, name := range []string{"registration.json", "regr.json"} {
		var r struct {
			URI  string `json:"uri"`
			Body struct {
				Key json.RawMessage `json:"key"` // public JWK; certbot leaves it out
			} `json:"body"`
		}
		readJSON(filepath.Join(filepath.Dir(s.KeyFile), name), &r)
		if !sameHost(r.URI, s.CA) {
			continue
		}
		if pub := keys.PublicJWK(r.Body.Key); pub != nil && !keys.Fits(pub, key) {
			continue // of another key
		}
		if u := goodURL(r.URI); u != "" {
			return u
		}
	}
	return ""
}

// maxJSON bounds the side files.
const maxJSON = 64 << 10

// readJSON reads an object into v. From a missing or damaged file v has nothing:
// these files only keep what the CA can be asked for.
func readJSON(file string, v any) {
	if data, err := atomicfile.ReadFile(file, maxJSON); err == nil {
		_ = json.Unmarshal(data, v)
	}
}

// goodURL is text if it can be an account's URL, else "".
func goodURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.ContainsAny(text, " \"\\") {
		return ""
	}
	return text
}

func sameHost(a, b string) bool {
	x, err := url.Parse(a)
	if err != nil {
		return false
	}
	y, err := url.Parse(b)
	return err == nil && x.Host == y.Host
}

// save stores what the CA told: the account's URL, and its object where none is
// stored yet. Beside a KeyFile that is worth a try only: the key may lie
// where this user cannot write, and the CA can be asked again.
func (s *Store) save(key crypto.Signer, accountURL string, object []byte) error {
	id := map[string]string{"url": accountURL}
	if s.KeyFile != "" {
		thumbprint, err := acme.Thumbprint(key.Public())
		if err != nil {
			return err
		}
		id["ca"], id["key"] = s.CA, thumbprint
	}
	text, err := json.Marshal(id)
	if err != nil {
		return err
	}
	if len(object) > 0 && !exists(s.infoFile()) {
		err = s.write(s.infoFile(), object)
	}
	if err == nil {
		err = s.write(s.idFile(), append(text, '\n'))
	}
	if s.KeyFile != "" {
		return nil
	}
	return err
}

func (s *Store) write(file string, data []byte) error {
	return atomicfile.WriteFile(file, data, atomicfile.Options{})
}

// makeFolder makes the account's folder, and puts its name on the disk: the key
// in it must survive a power loss.
func (s *Store) makeFolder() error {
	if err := os.MkdirAll(s.Dir, 0o777); err != nil {
		return err
	}
	err := os.Mkdir(s.Path(), 0o777)
	if errors.Is(err, fs.ErrExist) { // a symlink as well
		return nil
	}
	if err != nil {
		return err
	}
	for _, dir := range []string{s.Dir, filepath.Dir(filepath.Clean(s.Dir))} {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(path string) error {
	dir, err := atomicfile.OpenDir(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return atomicfile.SyncDir(dir)
}

// lock makes the folder and takes the account's lock in it. What killed runs left
// half-written goes: it may be a key.
func (s *Store) lock(ctx context.Context, wait time.Duration) (unlock func(), err error) {
	for range 10 {
		if err := s.makeFolder(); err != nil {
			return nil, err
		}
		unlock, err = atomicfile.Lock(ctx, s.inFolder(lockName), wait)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		// Another run was refused and took its folder away.
	}
	if err == nil {
		s.sweep()
	}
	return unlock, err
}

// sweep is no error where it fails: litter must not be in the way.
func (s *Store) sweep() {
	if dir, err := atomicfile.OpenDir(s.Path()); err == nil {
		_ = atomicfile.Sweep(dir)
		dir.Close()
	}
}

const lockName = ".arid.lock"

// forget removes a new account's key, and the folder if that is all there was
// in it. The lock is held; who waits for it sees that its file is gone.
func (s *Store) forget() error {
	if s.KeyFile != "" {
		return os.Remove(s.KeyFile)
	}
	err := os.Remove(s.inFolder("account_key.pem"))
	_ = os.Remove(s.inFolder(lockName))
	_ = os.Remove(s.Path())
	return err
}
