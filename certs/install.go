package certs

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"arid/internal/atomicfile"
	"arid/keys"
)

// Part is a piece of a certificate that a file can be made of.
type Part string

// The parts: fullchain is cert and chain.
const (
	PartKey       Part = "key"
	PartCert      Part = "cert"
	PartChain     Part = "chain"
	PartFullchain Part = "fullchain"
)

// ParseParts reads words with commas between, such as "key,fullchain". Nothing
// may be in it twice.
func ParseParts(text string) ([]Part, error) {
	var parts []Part
	has := map[Part]bool{}
	for word := range strings.SplitSeq(text, ",") {
		part := Part(strings.TrimSpace(word))
		pieces := []Part{part}
		switch part {
		case PartKey, PartCert, PartChain:
		case PartFullchain:
			pieces = []Part{PartCert, PartChain}
		default:
			return nil, fmt.Errorf("%q is none of key, cert, chain, fullchain", word)
		}
		for _, piece := range pieces {
			if has[piece] {
				return nil, fmt.Errorf("the %s is in it twice", piece)
			}
			has[piece] = true
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// Encode puts parts of the set together in this order: their PEM blocks, and
// nothing else. A key that is wanted must be there and fit; where there is no
// chain, that part is nothing.
func (l *Live) Encode(parts []Part) ([]byte, error) {
	var b bytes.Buffer
	for _, part := range parts {
		switch part {
		case PartKey:
			if l.Key == nil {
				return nil, errors.New("there is no private key: the certificate was made for one that is elsewhere")
			}
			if !keys.Fits(l.Leaf.PublicKey, l.Key) {
				return nil, &UnreadableError{l.Paths.Key, errors.New("does not fit the certificate beside it")}
			}
			key, err := keys.MarshalPEM(l.Key)
			if err != nil {
				return nil, err
			}
			b.Write(key)
		case PartCert:
			b.Write(EncodeChain(l.Chain[:1]))
		case PartChain:
			b.Write(EncodeChain(l.Chain[1:]))
		case PartFullchain:
			b.Write(EncodeChain(l.Chain))
		}
	}
	if b.Len() == 0 {
		return nil, errors.New("there is no chain: the certificate stands alone")
	}
	return b.Bytes(), nil
}

// Destination is a file outside the tree that parts of a certificate go to.
type Destination struct {
	Path     string // absolute
	Data     []byte
	UID, GID int         // -1: those of the file that it replaces, else ours
	Mode     fs.FileMode // 0: that of the file that it replaces, else 0600 with a key in it and 0644 without
}

func (d *Destination) secret() bool {
	for rest := d.Data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return false
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return true
		}
	}
}

// LinkError is a link on the way to a file, or a file where ours should be, that
// somebody else can have put there.
type LinkError struct{ Path string }

func (e *LinkError) Error() string {
	return fmt.Sprintf("%q: others can write to the directory, and this is not ours", e.Path)
}

// TwiceError is a file that two destinations name.
type TwiceError struct{ Path string }

func (e *TwiceError) Error() string { return fmt.Sprintf("%q is to be written twice", e.Path) }

// Installation is what Install has put in place. What was there before is kept
// beside it until Keep or Undo, so that a run that was killed in between is
// finished by the next one.
type Installation struct{ places []*place }

// place is a destination in its directory.
type place struct {
	Destination
	dir   *os.Root
	name  string
	after string // the name whose owner and mode it follows
	fresh bool   // what is to stand there does not yet
	open  bool   // it does, and an earlier run has not come to Keep or Undo
	kept  bool   // what stood there before was kept by this run
}

// Names beside the file, all with a dot: servers that read a whole directory pass
// them over.
func (p *place) temp() string { return "." + p.name + ".arid-new" }
func (p *place) old() string  { return "." + p.name + ".arid-old" }

const (
	installLock = ".arid-install.lock"
	// installWait bounds the wait for another run, which has the lock for as long as
	// it takes to write some files.
	installWait = 30 * time.Second
)

// Install puts files in place: all are complete on disk, with owner and mode,
// before the first is renamed to its name, and the renames follow one another.
// One that is as it should be is let alone. A link in the last place is replaced,
// not followed. After an error nothing has changed. The caller ends it with Keep or
// Undo, in the end with Close.
//
// Errors: *LinkError, *TwiceError, *atomicfile.LockedError, *fs.PathError.
func Install(ctx context.Context, destinations []Destination) (*Installation, error) {
	in, err := openPlaces(destinations)
	if err != nil {
		return nil, err
	}
	if err := in.install(ctx); err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

func (in *Installation) install(ctx context.Context) error {
	// Mostly there is nothing to do: then nothing is written, not even a lock.
	if err := in.look(); err != nil || len(in.changed()) == 0 {
		return err
	}
	unlock, err := in.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := in.look(); err != nil {
		return err
	}
	fresh := slices.DeleteFunc(slices.Clone(in.places), func(p *place) bool { return !p.fresh })
	defer removeTemps(fresh)
	for _, p := range fresh {
		if err := p.prepare(); err != nil {
			return fmt.Errorf("%q: %w", p.Path, err)
		}
	}
	for _, p := range fresh {
		if err := p.keepOld(); err != nil {
			forgetOld(fresh)
			return fmt.Errorf("%q: %w", p.Path, err)
		}
	}
	if err := in.sync(fresh); err != nil {
		forgetOld(fresh)
		return err
	}
	for _, p := range fresh {
		if err = p.dir.Rename(p.temp(), p.name); err != nil {
			break
		}
	}
	if err == nil {
		err = in.sync(fresh)
	}
	if err != nil {
		_ = in.putBack(fresh)
	}
	return err
}

// openPlaces opens the directories, each once.
func openPlaces(destinations []Destination) (_ *Installation, err error) {
	in := new(Installation)
	defer func() {
		if err != nil {
			in.Close()
		}
	}()
	for _, d := range destinations {
		p := &place{Destination: d, name: filepath.Base(d.Path), after: filepath.Base(d.Path)}
		if p.dir, err = openTrusted(filepath.Dir(d.Path)); err != nil {
			return nil, err
		}
		for _, other := range in.places {
			if p.dir == other.dir || !sameDir(p.dir, other.dir) {
				continue
			}
			p.dir.Close()
			p.dir = other.dir
		}
		in.places = append(in.places, p)
	}
	return in, in.distinct()
}

// distinct refuses two places that are one.
func (in *Installation) distinct() error {
	for i, p := range in.places {
		for _, other := range in.places[:i] {
			if p.dir == other.dir && p.name == other.name {
				return &TwiceError{p.Path}
			}
		}
	}
	return nil
}

// openTrusted opens a directory. A link on the way is followed only where its
// place, or its owner, says that it is the admin's or our own.
func openTrusted(path string) (*os.Root, error) {
	const maxLinks = 40
	at, rest := "/", strings.Split(filepath.Clean(path), "/")
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(next)
		if err != nil {
			return nil, fileError(next, err)
		}
		if info.Mode().Type() != fs.ModeSymlink {
			at = next
			continue
		}
		above, err := os.Stat(at)
		if err != nil {
			return nil, err
		}
		if !ours(info) && (!ours(above) || above.Mode()&0o022 != 0) {
			return nil, &LinkError{next}
		}
		target, err := os.Readlink(next)
		if err != nil {
			return nil, err
		}
		if links++; links > maxLinks {
			return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
		}
		rest = append(strings.Split(target, "/"), rest...)
		if filepath.IsAbs(target) {
			at = "/"
		}
	}
	dir, err := atomicfile.OpenDirect(at)
	if errors.Is(err, syscall.ELOOP) { // it came meanwhile
		return nil, &LinkError{at}
	}
	return dir, fileError(at, err)
}

func sameDir(a, b *os.Root) bool {
	infoA, errA := a.Stat(".")
	infoB, errB := b.Stat(".")
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// lock keeps other runs out of the directories; nobody has it while commands of
// the user's run, which may come here themselves.
func (in *Installation) lock(ctx context.Context) (unlock func(), err error) {
	dirs := dirsOf(in.places)
	slices.SortFunc(dirs, func(a, b *os.Root) int { return strings.Compare(a.Name(), b.Name()) })
	var held []func()
	unlock = func() {
		for _, release := range held {
			release()
		}
	}
	for _, dir := range dirs {
		release, err := atomicfile.LockIn(ctx, dir, installLock, installWait)
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, func() {
			_ = dir.Remove(installLock) // while it is held: who waits for it looks whether it has its name still
			release()
		})
	}
	return unlock, nil
}

// look tells what there is to do.
func (in *Installation) look() error {
	for _, p := range in.places {
		if err := p.look(); err != nil {
			return err
		}
	}
	return nil
}

func (p *place) look() error {
	same, err := p.stands(true)
	if err != nil {
		return err
	}
	p.fresh = !same
	if !same {
		return nil
	}
	p.open, err = p.hasOld()
	return err
}

// stands tells whether the file is there, with this content and, if that is asked,
// owner and mode as they are wanted.
func (p *place) stands(attributes bool) (bool, error) {
	info, err := p.dir.Lstat(p.name)
	switch {
	case missing(err):
		return false, nil
	case err != nil:
		return false, err
	case info.Mode().Type() == fs.ModeSymlink:
		return false, nil
	case !info.Mode().IsRegular():
		return false, &fs.PathError{Op: "replace", Path: p.Path, Err: atomicfile.ErrNotRegular}
	}
	data, has, err := atomicfile.ReadInAs(p.dir, p.name, maxPEM)
	var large *atomicfile.TooLargeError
	switch {
	case errors.As(err, &large):
		return false, nil
	case err != nil:
		return false, err
	case !p.believed(has.UID): // he could change it later
		return false, nil
	case !bytes.Equal(data, p.Data):
		return false, nil
	case !attributes:
		return true, nil
	}
	mode := p.Mode
	if mode == 0 {
		mode = has.Mode
		if p.secret() {
			mode &^= 0o007
		}
	}
	return has.Mode == mode && (p.UID < 0 || p.UID == has.UID) && (p.GID < 0 || p.GID == has.GID), nil
}

// hasOld tells whether an earlier run has left what stood there before.
func (p *place) hasOld() (bool, error) {
	info, err := p.dir.Lstat(p.old())
	switch {
	case missing(err):
		return false, nil
	case err != nil:
		return false, err
	case !p.believed(ownerOf(info)):
		return false, &LinkError{filepath.Join(p.dir.Name(), p.old())}
	}
	return true, nil
}

// believed tells whether a file in the directory that belongs to a user is from
// somebody who has a say there: from its owner, root, ourselves or who is to have the
// file, if others can write to it.
func (p *place) believed(uid int) bool {
	dir, err := p.dir.Stat(".")
	return err == nil && (dir.Mode()&0o022 == 0 || slices.Contains([]int{0, os.Geteuid(), ownerOf(dir), p.UID}, uid))
}

// ours tells whether a file belongs to root or to us.
func ours(info fs.FileInfo) bool {
	uid := ownerOf(info)
	return uid == 0 || uid == os.Geteuid()
}

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// prepare writes the file whole under a name of its own, with owner and mode.
func (p *place) prepare() error {
	if err := removeName(p.dir, p.temp()); err != nil { // of a run that was killed
		return err
	}
	return atomicfile.Create(p.dir, p.temp(), p.Data, p.options())
}

// options are who may use the file: as is asked for, else as with the file that
// it replaces.
func (p *place) options() atomicfile.Options {
	o := atomicfile.Options{Perm: 0o600, Mode: p.Mode, Like: p.predecessor()}
	if p.UID >= 0 || p.GID >= 0 {
		o.Owner = &atomicfile.Owner{UID: p.UID, GID: p.GID}
	}
	if o.Mode == 0 && o.Like == nil {
		o.Mode = 0o644
		if p.secret() {
			o.Mode = 0o600
		}
	}
	return o
}

// predecessor is who may use the file that this one follows; nil where there is
// none, or where it may have been put there to be given our key.
func (p *place) predecessor() *atomicfile.Attributes {
	info, err := p.dir.Lstat(p.after)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	_, like, err := atomicfile.ReadInAs(p.dir, p.after, maxPEM)
	if err != nil || !p.believed(like.UID) { // of what was read: the name may be another's by now
		return nil
	}
	if p.secret() {
		like = like.WithoutOthers()
	}
	return like
}

// keepOld gives what stands there another name, or notes that nothing does, by an
// empty file.
func (p *place) keepOld() error {
	if p.unfinished() {
		return nil
	}
	p.kept = true
	if err := removeName(p.dir, p.old()); err != nil {
		return err
	}
	if _, err := p.dir.Lstat(p.name); missing(err) {
		return atomicfile.Create(p.dir, p.old(), nil, atomicfile.Options{Perm: 0o600})
	}
	return linkOrCopy(p.dir, p.name, p.old())
}

// unfinished tells whether what stands there is from a run that has come to no end:
// one before it is kept then, which was the last that a server was content with. What
// is younger than that note somebody has put there himself.
func (p *place) unfinished() bool {
	old, err := p.dir.Lstat(p.old())
	if err != nil || !p.believed(ownerOf(old)) {
		return false
	}
	now, err := p.dir.Lstat(p.name)
	if err != nil {
		return false
	}
	noted, err := p.changeTime(p.old()) // set by link(2), whatever is in the file
	return err == nil && !now.ModTime().After(noted)
}

func (p *place) changeTime(name string) (time.Time, error) {
	dir, err := p.dir.Open(".")
	if err != nil {
		return time.Time{}, err
	}
	defer dir.Close()
	var stat unix.Stat_t
	err = unix.Fstatat(int(dir.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	return time.Unix(stat.Ctim.Unix()), err
}

// removeName removes a name that need not be there.
func removeName(dir *os.Root, name string) error {
	if err := dir.Remove(name); !missing(err) {
		return err
	}
	return nil
}

func removeTemps(places []*place) {
	for _, p := range places {
		_ = p.dir.Remove(p.temp())
	}
}

func forgetOld(places []*place) {
	for _, p := range places {
		if p.kept {
			_ = p.dir.Remove(p.old())
		}
	}
}

// changed are the places that Keep or Undo is about.
func (in *Installation) changed() []*place {
	return slices.DeleteFunc(slices.Clone(in.places), func(p *place) bool { return !p.fresh && !p.open })
}

func (in *Installation) sync(places []*place) error {
	for _, dir := range dirsOf(places) {
		if err := atomicfile.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// dirsOf are the directories of places, each once.
func dirsOf(places []*place) (dirs []*os.Root) {
	for _, p := range places {
		if !slices.Contains(dirs, p.dir) {
			dirs = append(dirs, p.dir)
		}
	}
	return dirs
}

// Changed tells whether the destination of that number is new, or was put in place
// by an earlier run that came to no end: what uses it has to be told.
func (in *Installation) Changed(i int) bool { return in.places[i].fresh || in.places[i].open }

// Keep makes it final. A file that another run has replaced meanwhile is its to
// finish.
func (in *Installation) Keep(ctx context.Context) error {
	return in.settle(ctx, func(places []*place) error {
		var failed []error
		for _, p := range places {
			failed = append(failed, removeName(p.dir, p.old()))
		}
		return errors.Join(failed...)
	})
}

// Undo puts back what stood there before. A file that another run has replaced
// meanwhile is let alone.
func (in *Installation) Undo(ctx context.Context) error { return in.settle(ctx, in.putBack) }

// settle does something with the changed files that are as Install left them.
func (in *Installation) settle(ctx context.Context, do func([]*place) error) error {
	if len(in.changed()) == 0 {
		return nil
	}
	unlock, err := in.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var own []*place
	for _, p := range in.changed() {
		same, err := p.stands(false)
		if err != nil {
			return err
		}
		if same {
			own = append(own, p)
		}
	}
	return do(own)
}

// putBack gives the files their old content, those last that were put first. One
// rename does it for each, and leaves no trace that there was anything to undo.
func (in *Installation) putBack(places []*place) error {
	var failed []error
	for _, p := range slices.Backward(places) {
		failed = append(failed, p.putBack())
	}
	return errors.Join(append(failed, in.sync(places))...)
}

func (p *place) putBack() error {
	info, err := p.dir.Lstat(p.old())
	if missing(err) {
		return nil // another run was faster
	}
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() && info.Size() == 0 { // there was none
		if err := removeName(p.dir, p.name); err != nil {
			return err
		}
		return p.dir.Remove(p.old())
	}
	// Two names of one file: rename(2) would leave both.
	if now, err := p.dir.Lstat(p.name); err == nil && os.SameFile(now, info) {
		return p.dir.Remove(p.old())
	}
	return p.dir.Rename(p.old(), p.name)
}

// Close lets go of the directories.
func (in *Installation) Close() {
	for _, p := range in.places {
		p.dir.Close() // more than once does no harm
	}
}
