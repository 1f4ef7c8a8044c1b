package certs

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"arid/internal/atomicfile"
	"arid/keys"
)

// stagedSuffix is that of a file that waits to be put in place, as lws has it.
const stagedSuffix = ".upd"

// Stage writes FILE.upd beside each file, for Promote, and tells which are new. A
// file that is as it should be needs none: one that waits there goes.
//
// A certificate that waits is what makes a pair wait: it goes first and comes last,
// so that a run that is killed leaves the files in place to be used.
func Stage(ctx context.Context, destinations []Destination) (staged []bool, err error) {
	var waiting []Destination
	for _, d := range destinations {
		d.Path += stagedSuffix
		waiting = append(waiting, d)
	}
	in, err := openPlaces(waiting)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	unlock, err := in.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return in.stage()
}

func (in *Installation) stage() (staged []bool, err error) {
	defer removeTemps(in.places)
	for _, p := range in.places {
		p.after = strings.TrimSuffix(p.name, stagedSuffix)
		if err := p.lookStaged(); err != nil {
			return nil, err
		}
		if p.fresh {
			if err := p.prepare(); err != nil {
				return nil, err
			}
		}
		staged = append(staged, p.fresh)
	}
	certificate := func(p *place) bool { return !p.open && !p.secret() } // what waits is not what is wanted
	secret := func(p *place) bool { return !p.open && !p.fresh && p.secret() }
	for _, stale := range []func(*place) bool{certificate, secret} {
		if err := in.each(stale, func(p *place) error { return removeName(p.dir, p.name) }); err != nil {
			return nil, err
		}
	}
	secret = func(p *place) bool { return p.fresh && p.secret() }
	certificate = func(p *place) bool { return p.fresh && !p.secret() }
	for _, fresh := range []func(*place) bool{secret, certificate} {
		if err := in.each(fresh, func(p *place) error { return p.dir.Rename(p.temp(), p.name) }); err != nil {
			return nil, err
		}
	}
	return staged, nil
}

// each does something with some of the places, and syncs their directories.
func (in *Installation) each(are func(*place) bool, do func(*place) error) error {
	some := slices.DeleteFunc(slices.Clone(in.places), func(p *place) bool { return !are(p) })
	for _, p := range some {
		if err := do(p); err != nil {
			return err
		}
	}
	return in.sync(some)
}

// lookStaged tells what there is to do: fresh is one that has to be written, open
// one that waits already.
func (p *place) lookStaged() error {
	final := *p
	final.name = p.after
	there, err := final.stands(true)
	if err != nil || there {
		return err
	}
	p.open, err = p.stands(true)
	p.fresh = !p.open
	return err
}

// Promotion puts files that wait beside a certificate and its key in their place.
type Promotion struct {
	Cert, Key  string        // absolute paths
	Backups    int           // how many FILE.old.N are kept of each that is replaced
	Grace      time.Duration // how long after its beginning a certificate waits, while the one before it is good
	SelfSigned bool          // make a pair where there is none at all
}

// Promoted is what has become of it.
type Promoted struct {
	Leaf     *x509.Certificate // that is in place now
	Done     bool              // it was put there
	Made     bool              // and is self-signed
	Until    time.Time         // when another will be put there, which waits; zero: none does
	Warnings []string
}

// PairError says why two files cannot be used together. Nothing was changed.
type PairError struct {
	Cert, Key string
	Err       error
}

func (e *PairError) Error() string { return fmt.Sprintf("%q and %q: %v", e.Cert, e.Key, e.Err) }
func (e *PairError) Unwrap() error { return e.Err }

// Run does it, and is safe to be killed at any time: what is left is finished by
// the next run. Of what waits, and what is in place where nothing does, a pair must
// come out that CheckChain accepts; else the error is a *PairError.
func (p *Promotion) Run(ctx context.Context, now time.Time) (*Promoted, error) {
	in, err := openPlaces([]Destination{{Path: p.Cert}, {Path: p.Key}})
	if err != nil {
		return nil, err
	}
	defer in.Close()
	// Mostly there is nothing to do: then nothing is written, not even a lock.
	if done, err := p.run(in, now, false); done != nil || err != nil {
		return done, err
	}
	unlock, err := in.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return p.run(in, now, true)
}

// half is one of the two files, in place and waiting. A missing one, and an empty
// one, is nil.
type half struct {
	*place
	current, staged []byte
}

func (h *half) waiting() string { return h.name + stagedSuffix }

func openHalf(p *place, max int64) (*half, error) {
	h := &half{place: p}
	info, err := p.dir.Lstat(h.waiting())
	switch {
	case missing(err):
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, &UnreadableError{p.Path + stagedSuffix, atomicfile.ErrNotRegular}
	default:
		var whose *atomicfile.Attributes
		if h.staged, whose, err = atomicfile.ReadInAs(p.dir, h.waiting(), max); err != nil {
			return nil, unreadable(p.Path+stagedSuffix, err)
		}
		if !p.believed(whose.UID) {
			return nil, &LinkError{p.Path + stagedSuffix}
		}
	}
	// A link is read here, and replaced later.
	if h.current, err = atomicfile.ReadFile(p.Path, max); err != nil && !missing(err) {
		return nil, unreadable(p.Path, err)
	}
	if len(h.staged) == 0 {
		h.staged = nil
	}
	if len(h.current) == 0 {
		h.current = nil
	}
	return h, nil
}

// run returns nil where something would have to be changed, unless it may be.
func (p *Promotion) run(in *Installation, now time.Time, change bool) (*Promoted, error) {
	cert, err := openHalf(in.places[0], maxPEM)
	if err != nil {
		return nil, err
	}
	key, err := openHalf(in.places[1], maxKey)
	if err != nil {
		return nil, err
	}
	chain, _, currentErr := parsePair(cert.current, key.current)
	good := currentErr == nil
	none := p.SelfSigned && (cert.current == nil || key.current == nil)
	waits := cert.staged != nil || key.staged != nil
	switch {
	case !waits && good:
		return &Promoted{Leaf: chain[0]}, nil
	case !waits && none:
		return p.selfSigned(cert, key, now, change)
	case !waits:
		return nil, &PairError{p.Cert, p.Key, currentErr}
	case cert.staged == nil && good && !fits(cert.current, key.staged):
		return &Promoted{Leaf: chain[0], Warnings: []string{
			fmt.Sprintf("%q: waits for a certificate beside it, and is left alone", p.Key+stagedSuffix),
		}}, nil
	}
	next, signer, err := parsePair(either(cert.staged, cert.current), either(key.staged, key.current))
	var warnings []string
	if err == nil {
		warnings, err = CheckChain(next, signer.Public(), alternativeNames(next[0]), now)
	}
	if err != nil {
		refused := &PairError{cert.named(cert.staged), key.named(key.staged), err}
		if !none {
			return nil, refused
		}
		done, err := p.selfSigned(cert, key, now, change)
		if done != nil {
			done.Warnings = append(done.Warnings, "left alone: "+refused.Error())
		}
		return done, err
	}
	if until := next[0].NotBefore.Add(p.Grace); good && now.Before(until) && now.Before(chain[0].NotAfter) && !selfSigned(chain[0]) {
		return &Promoted{Leaf: chain[0], Until: until}, nil
	}
	if !change {
		return nil, nil
	}
	return &Promoted{Leaf: next[0], Done: true, Warnings: warnings}, p.promote(in, cert, key)
}

func either(a, b []byte) []byte {
	if a != nil {
		return a
	}
	return b
}

// named is the file that counts.
func (h *half) named(staged []byte) string {
	if staged != nil {
		return h.Path + stagedSuffix
	}
	return h.Path
}

// parsePair reads a chain and the key of its first certificate.
func parsePair(cert, key []byte) ([]*x509.Certificate, crypto.Signer, error) {
	switch {
	case cert == nil && key == nil:
		return nil, nil, errors.New("there are none")
	case cert == nil:
		return nil, nil, errors.New("there is no certificate")
	case key == nil:
		return nil, nil, errors.New("there is no private key")
	}
	chain, err := parseChain(cert)
	switch {
	case err != nil:
	case bytes.Count(cert, []byte("-----BEGIN ")) != bytes.Count(cert, []byte("-----END ")):
		err = errors.New("it is cut off")
	case len(chain) == 0:
		err = errors.New("there is none in PEM")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the certificate: %w", err)
	}
	signer, err := keys.Parse(key)
	if err != nil {
		return nil, nil, fmt.Errorf("the key: %w", err)
	}
	if !keys.Fits(chain[0].PublicKey, signer) {
		return nil, nil, errors.New("the key does not fit the certificate")
	}
	return chain, signer, nil
}

func fits(cert, key []byte) bool {
	_, _, err := parsePair(cert, key)
	return err == nil
}

// promote renames what waits. Every instant between the two renames is one that
// run makes a pair of.
func (p *Promotion) promote(in *Installation, cert, key *half) error {
	var moving []*half
	for _, h := range []*half{key, cert} {
		if h.staged != nil {
			moving = append(moving, h)
		}
	}
	for _, h := range moving {
		if err := h.backUp(p.Backups); err != nil {
			return err
		}
	}
	if err := in.sync(in.places); err != nil {
		return err
	}
	defer removeTemps(in.places) // also those of a run that was killed
	var undo func() error
	for i, h := range moving {
		var back func() error
		if i < len(moving)-1 {
			var err error
			if back, err = h.back(); err != nil {
				return err
			}
		}
		if err := h.dir.Rename(h.waiting(), h.name); err != nil {
			return undone(undo, err)
		}
		undo = back
		if err := atomicfile.SyncDir(h.dir); err != nil {
			return undone(undo, err)
		}
	}
	return nil
}

// undone is err, after what was done before it was undone; nil: there is nothing to undo.
func undone(undo func() error, err error) error {
	if undo == nil {
		return err
	}
	if failed := undo(); failed != nil {
		return fmt.Errorf("%w; and what was there before could not be put back: %w", err, failed)
	}
	return err
}

// back is what takes the half out of its place again, once it is there and the other
// cannot follow: a server that starts then finds the pair that was there before. It is
// nil where there was none.
func (h *half) back() (func() error, error) {
	if h.current == nil {
		return nil, nil
	}
	link, err := h.dir.Readlink(h.name)
	var like *atomicfile.Attributes
	if err != nil {
		if _, like, err = atomicfile.ReadInAs(h.dir, h.name, maxPEM); err != nil {
			return nil, err
		}
	}
	restore := func() error {
		if link != "" {
			return h.dir.Symlink(link, h.temp())
		}
		return copyTo(h.dir, h.temp(), h.current, like)
	}
	return func() error {
		// It waits again before it goes: every instant is one that run makes a pair of.
		if err := h.by(h.waiting(), func() error { return copyFile(h.dir, h.name, h.temp()) }); err != nil {
			return err
		}
		return h.by(h.name, restore)
	}, nil
}

// by makes a file under its temporary name, and gives it its own.
func (h *half) by(name string, make func() error) error {
	defer removeTemps([]*place{h.place})
	if err := removeName(h.dir, h.temp()); err != nil { // of a run that was killed
		return err
	}
	if err := make(); err != nil {
		return err
	}
	if err := h.dir.Rename(h.temp(), name); err != nil {
		return err
	}
	return atomicfile.SyncDir(h.dir)
}

// backUp gives what is in place the name FILE.old.0, and what has that name the
// next one, as far as n of them. It has been done already where FILE.old.0 is the
// very file, or link: then a run was killed after it.
func (h *half) backUp(n int) error {
	old := func(i int) string { return fmt.Sprintf("%s.old.%d", h.name, i) }
	if n <= 0 || h.current == nil || sameName(h.dir, h.name, old(0)) || sameFile(h.dir, h.name, old(0)) {
		return nil
	}
	free := 0 // the first name that is, else the last
	for free < n-1 {
		if _, err := h.dir.Lstat(old(free)); missing(err) {
			break
		}
		free++
	}
	for i := free; i > 0; i-- {
		if err := h.dir.Rename(old(i-1), old(i)); err != nil {
			return err
		}
	}
	if err := removeName(h.dir, old(0)); err != nil { // with n = 1
		return err
	}
	return linkOrCopy(h.dir, h.name, old(0))
}

// sameName tells whether two names are those of one file, or of one link.
func sameName(dir *os.Root, a, b string) bool {
	infoA, errA := dir.Lstat(a)
	infoB, errB := dir.Lstat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

const (
	placeholderName = "arid placeholder until a certificate is issued"
	placeholderTime = 30 * 24 * time.Hour
)

// selfSigned tells whether a certificate is one that no client believes: ours, or
// one that the user has made to begin with.
func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// selfSigned makes a pair that a server can start with, for the key that is there if
// there is one. The key comes first: alone it is what the next run goes on with. So a
// certificate that has lost its own goes away before. It returns nil where nothing may
// be changed.
func (p *Promotion) selfSigned(cert, key *half, now time.Time, change bool) (*Promoted, error) {
	if !change {
		return nil, nil
	}
	var signer crypto.Signer
	var err error
	if cert.current != nil {
		if err := cert.putAway(p.Backups); err != nil {
			return nil, err
		}
	}
	if key.current != nil {
		if signer, err = keys.Parse(key.current); err != nil {
			return nil, &PairError{p.Cert, p.Key, fmt.Errorf("the key: %w", err)}
		}
	} else if signer, err = keys.Generate(keys.P256); err != nil {
		return nil, err
	}
	leaf, err := makePlaceholder(signer, now)
	if err != nil {
		return nil, err
	}
	if cert.Data = EncodeChain([]*x509.Certificate{leaf}); key.current == nil {
		if key.Data, err = keys.MarshalPEM(signer); err != nil {
			return nil, err
		}
	}
	for _, h := range []*half{key, cert} {
		if h.Data == nil {
			continue
		}
		h.UID, h.GID = -1, -1
		if err := h.put(); err != nil {
			return nil, err
		}
	}
	return &Promoted{Leaf: leaf, Done: true, Made: true}, nil
}

// putAway leaves a file under the name of its backup alone.
func (h *half) putAway(backups int) error {
	if err := h.backUp(backups); err != nil {
		return err
	}
	if err := h.dir.Remove(h.name); err != nil {
		return err
	}
	h.current = nil
	return atomicfile.SyncDir(h.dir)
}

// put writes one file, where there is none, or an empty one.
func (h *half) put() error {
	return h.by(h.name, h.prepare)
}

func makePlaceholder(signer crypto.Signer, now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: placeholderName},
		DNSNames:     []string{"placeholder.invalid"}, // RFC 6761 §6.4
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(placeholderTime),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Guarded tells whether a directory on the way to a file is closed to all but root
// or ourselves, whatever the file's own mode.
func Guarded(path string) bool {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return false
	}
	for {
		if info, err := os.Stat(dir); err == nil && ours(info) && info.Mode()&0o077 == 0 {
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
		dir = filepath.Dir(dir)
	}
}
