package cmd

import (
	"crypto/x509"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"arid/certs"
	"arid/issue"
	"arid/keys"
)

// noDescriptor is what a descriptor's flag says where it was not given.
const noDescriptor = math.MinInt

// descriptors are files that the caller has opened for us, by number: to a process
// that may not open them itself they are all that it can reach.
type descriptors struct {
	key, chain, cert, fullchain int // these are written
	current                     int // this is read
}

// descriptor is one of them, and its flag.
type descriptor struct {
	flag string
	fd   int
}

func (d *descriptors) add(c *cobra.Command) {
	for _, f := range []struct {
		fd         *int
		name, help string
	}{
		{&d.key, "key-fd", "write the private key to descriptor `N`, and keep nothing"},
		{&d.cert, "cert-fd", "write the certificate alone to descriptor `N`"},
		{&d.chain, "chain-fd", "write the certificates above it to descriptor `N`"},
		{&d.fullchain, "fullchain-fd", "write the whole chain to descriptor `N`"},
		{&d.current, "current-fd", "--current, read from descriptor `N`"},
	} {
		c.Flags().IntVar(f.fd, f.name, noDescriptor, f.help)
		c.Flags().Lookup(f.name).DefValue = "0" // so that help does not show one
	}
}

// outputs are those that are written, in the order in which that is done: the key
// before what goes with it.
func (d *descriptors) outputs() []descriptor {
	all := []descriptor{{"--key-fd", d.key}, {"--chain-fd", d.chain}, {"--cert-fd", d.cert}, {"--fullchain-fd", d.fullchain}}
	return slices.DeleteFunc(all, func(o descriptor) bool { return o.fd == noDescriptor })
}

// takeChain tells whether one of them is for certificates.
func (d *descriptors) takeChain() bool {
	return d.cert != noDescriptor || d.chain != noDescriptor || d.fullchain != noDescriptor
}

// check finds out, while nothing else is open yet, whether all of them can be used.
// From then on no child of ours gets them. The error is a *usageError.
func (d *descriptors) check(json bool) error {
	var files []unix.Stat_t
	seen := map[int]string{}
	for _, o := range d.outputs() {
		switch {
		case o.fd == 1 && o.flag != "--key-fd" && !json:
		case o.fd < 3:
			return &usageError{what: fmt.Sprintf("%s %d: the standard streams are for other things", o.flag, o.fd), hint: openHint}
		}
		if other := seen[o.fd]; other != "" {
			return &usageError{what: fmt.Sprintf("%s and %s are both %d", other, o.flag, o.fd)}
		}
		seen[o.fd] = o.flag
		file, err := o.ready(unix.O_WRONLY)
		if err != nil {
			return err
		}
		if isRegular(file) && slices.ContainsFunc(files, func(f unix.Stat_t) bool { return f.Dev == file.Dev && f.Ino == file.Ino }) {
			return &usageError{what: fmt.Sprintf("%s %d: is the file of another descriptor", o.flag, o.fd)}
		}
		files = append(files, file)
	}
	used := d.outputs()
	if d.current != noDescriptor {
		o := descriptor{"--current-fd", d.current}
		if o.fd < 0 || o.fd == 1 || o.fd == 2 {
			return &usageError{what: fmt.Sprintf("%s %d: cannot be read", o.flag, o.fd), hint: openHint}
		}
		if _, err := o.ready(unix.O_RDONLY); err != nil {
			return err
		}
		used = append(used, o)
	}
	for _, o := range used {
		if o.fd > 2 {
			unix.CloseOnExec(o.fd)
		}
	}
	return nil
}

const openHint = "whoever starts arid opens them: 5>>FILE in a shell, redirfd -a 5 FILE in execline"

// ready tells whether the descriptor was open when this process began, in a way that
// allows the wanted access.
func (o descriptor) ready(access int) (file unix.Stat_t, err error) {
	wrong := func(what string) error {
		return &usageError{what: fmt.Sprintf("%s %d: %s", o.flag, o.fd, what), hint: openHint}
	}
	if o.fd > math.MaxInt32 { // which the kernel would cut to another number
		return file, wrong("is not open")
	}
	flags, err := unix.FcntlInt(uintptr(o.fd), unix.F_GETFD, 0)
	// What is closed on exec is our own: it did not come through one.
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return file, wrong("is not open")
	}
	mode, err := unix.FcntlInt(uintptr(o.fd), unix.F_GETFL, 0)
	if err != nil {
		return file, wrong(err.Error())
	}
	if has := mode & unix.O_ACCMODE; has != access && has != unix.O_RDWR {
		return file, wrong(map[int]string{unix.O_WRONLY: "is not open for writing", unix.O_RDONLY: "is not open for reading"}[access])
	}
	if err := unix.Fstat(o.fd, &file); err != nil {
		return file, wrong(err.Error())
	}
	return file, nil
}

func isRegular(file unix.Stat_t) bool { return file.Mode&unix.S_IFMT == unix.S_IFREG }

// readCurrentFrom is readCurrent of a descriptor: a regular file from its beginning,
// whoever has read it before.
func (a *app) readCurrentFrom(fd int) ([]*x509.Certificate, error) {
	what := fmt.Sprintf("--current-fd %d", fd)
	f, err := duplicate(fd)
	if err != nil {
		return nil, &inputError{what, err}
	}
	defer f.Close()
	var from io.Reader = f
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		from = io.NewSectionReader(f, 0, maxChain+1)
	}
	data, err := unlessEnded(a.ctx, func() ([]byte, error) { return io.ReadAll(io.LimitReader(from, maxChain+1)) })
	if err != nil {
		return nil, &inputError{what, err}
	}
	return a.parseCurrent(what, data), nil
}

// duplicate is a file of our own for a descriptor, so that to close it closes no
// other's.
func duplicate(fd int) (*os.File, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(own), fmt.Sprintf("descriptor %d", fd)), nil
}

// descriptorError is a descriptor that did not take what it was to take.
type descriptorError struct {
	descriptor
	err    error
	hasKey bool // the key before it has been written
}

// Hint is how the key and its certificate come together again.
func (e *descriptorError) Hint() string {
	if !e.hasKey {
		return ""
	}
	return "the new key is written, and its certificate is not: run it again with --force"
}

func (e *descriptorError) Error() string {
	return fmt.Sprintf("%s %d: %v", e.flag, e.fd, cause(e.err))
}
func (e *descriptorError) Unwrap() error { return e.err }

// deliver writes what was issued. After a failure no more is written: the certificates
// come last, so that whoever sees new ones finds the key with them.
func (d *descriptors) deliver(result *issue.Result) error {
	for _, o := range d.outputs() {
		var data []byte
		var err error
		switch o.fd {
		case d.key:
			data, err = keys.MarshalPEM(result.Key)
		case d.cert:
			data = certs.EncodeChain(result.Chain[:1])
		case d.chain:
			data = certs.EncodeChain(result.Chain[1:])
		case d.fullchain:
			data = certs.EncodeChain(result.Chain)
		}
		if err == nil {
			err = writeTo(o.fd, data)
		}
		if err != nil {
			return &descriptorError{o, err, d.key != noDescriptor && o.fd != d.key}
		}
	}
	return nil
}

// writeTo has a regular file hold data and nothing else, and puts it on the disk; what
// is no file just gets it.
func writeTo(fd int, data []byte) error {
	f, err := duplicate(fd)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		_, err := f.Write(data)
		return err
	}
	mode, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	if mode&unix.O_APPEND != 0 { // every write goes to the end, wherever we are
		err = f.Truncate(0)
	} else {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(data))); err != nil {
		return err
	}
	return f.Sync()
}
