//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// bench is one run of this program.
type bench struct {
	self    string // this program
	bin     string // folder of arid, floor and the servers
	dir     string // temporary
	roots   string // file: the system's, and those of the fronts
	quick   bool
	log     bool // show every request
	servers *servers
	runs    int
	say     io.Writer // progress
}

// environment is what clients get: the same for all, and nothing of the caller's.
func (b *bench) environment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + b.dir, "TMPDIR=" + b.dir, "LANG=C.UTF-8",
		"SSL_CERT_FILE=" + b.roots, "CURL_CA_BUNDLE=" + b.roots, "REQUESTS_CA_BUNDLE=" + b.roots,
	}
}

// trust writes the roots that the clients trust: the system's, as it is with a real
// CA, and that of the fronts.
func (b *bench) trust(root []byte) error {
	all, err := os.ReadFile(systemRoots)
	if err != nil {
		return err
	}
	return os.WriteFile(b.roots, append(all, root...), 0o644)
}

// errLacks is what a client cannot do.
type errLacks string

func (e errLacks) Error() string { return string(e) }

// at is the CA of that manner, with the client's account in it.
func (b *bench) at(ctx context.Context, m manner, c *client) (*ca, place, error) {
	a, err := b.servers.ca(m)
	if err != nil {
		return nil, place{}, err
	}
	p := place{b.bin, a.URL + "/dir", filepath.Join(a.dir, c.name), b.servers.webroot(), b.servers.wellKnown()}
	err, done := a.registered[c.name]
	if !done {
		err = b.register(ctx, a, c, p)
		a.registered[c.name] = err
	}
	return a, p, err
}

// register makes the account, at several tries where nonces are refused.
func (b *bench) register(ctx context.Context, a *ca, c *client, p place) error {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	if c.prepare != nil {
		if err := c.prepare(p); err != nil {
			return err
		}
	}
	a.validation.Store(0)
	a.start(0)
	var err error
	for range 6 {
		err = nil
		for _, call := range c.register(p) {
			log := b.newLog()
			if _, err = b.launch(ctx, call, log, ""); err != nil {
				err = fmt.Errorf("registration: %w: %q", err, b.lastWords(log))
				break
			}
		}
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

func (b *bench) newLog() string {
	b.runs++
	return filepath.Join(b.dir, fmt.Sprintf("run-%d.log", b.runs))
}

// fresh are names that were never used.
func (b *bench) fresh(n int) (names []string) {
	b.runs++
	for i := range n {
		names = append(names, fmt.Sprintf("n%d.r%d.bench.test", i, b.runs))
	}
	return names
}

// attempt is one measuring of a client.
type attempt struct {
	*scenario
	client    *client
	roundTrip time.Duration
	round     int
	traced    bool // count processes, and time nothing
}

// measure runs a scenario once.
func (b *bench) measure(ctx context.Context, t attempt) (sample, error) {
	switch {
	case t.kind == starting:
		return b.measureStart(ctx, t)
	case t.kind == again:
		return b.measureAgain(ctx, t)
	case t.kind == daily:
		return b.measureDaily(ctx, t)
	case t.kind == renewing:
		return b.measureRenewal(ctx, t)
	case t.calls > 0:
		return b.measureCalls(ctx, t)
	case t.names > part:
		return b.measureMany(ctx, t)
	}
	return b.certificate(ctx, t, t.names)
}

func (b *bench) measureStart(ctx context.Context, t attempt) (sample, error) {
	call := t.client.startup
	if t.client.version == "" {
		call.args = append([]string{filepath.Join(b.bin, call.args[0])}, call.args[1:]...)
	}
	return b.call(ctx, call, t.traced)
}

func (b *bench) measureAgain(ctx context.Context, t attempt) (sample, error) {
	if t.client.again == nil {
		return sample{}, errLacks(t.client.lacks)
	}
	a, p, err := b.at(ctx, t.manner, t.client)
	if err != nil {
		return sample{}, err
	}
	names := a.signed[t.client.name]
	if names == nil {
		names = b.fresh(t.names)
		a.validation.Store(0)
		a.start(0)
		if _, err := b.call(ctx, t.client.sign(p, names), false); err != nil {
			return sample{}, err
		}
		a.signed[t.client.name] = names
	}
	var result sample
	err = unchanged(t.client.files(p, names[0])[0], func() (err error) {
		result, err = b.counted(ctx, a, t.client.again(p, names), t)
		return err
	})
	return result, err
}

// measureCalls stops early where all of them would take long, with our own very long.
func (b *bench) measureCalls(ctx context.Context, t attempt) (sample, error) {
	var sum sample
	enough := callsAreEnough
	if t.client.version == "" {
		enough = ownAreEnough
	}
	for n := 1; n <= t.calls; n++ {
		one, err := b.certificate(ctx, t, t.names)
		if err != nil {
			return sample{}, err
		}
		sum = sum.plus(one, 1)
		if n == calls && (b.quick || sum.wall*time.Duration(t.calls/calls) > enough) {
			return sample{guessed: true}.plus(sum, float64(t.calls)/calls), nil
		}
	}
	return sum, nil
}

// measureMany looks at ten names first. Where those take long, each of the others is
// taken to cost as much as they do above one. Not so with our own.
func (b *bench) measureMany(ctx context.Context, t attempt) (sample, error) {
	some, err := b.certificate(ctx, t, part)
	if err != nil {
		return sample{}, err
	}
	if some.wall < partIsEnough && !b.quick || t.client.version == "" {
		return b.certificate(ctx, t, t.names)
	}
	one, err := b.certificate(ctx, t, 1)
	if err != nil {
		return sample{}, err
	}
	more := some.plus(one, -1)
	return sample{guessed: true}.plus(one, 1).plus(more, float64(t.names-1)/(part-1)), nil
}

// certificate is one certificate for n new names, and a look at it.
func (b *bench) certificate(ctx context.Context, t attempt, n int) (sample, error) {
	a, p, err := b.at(ctx, t.manner, t.client)
	if err != nil {
		return sample{}, err
	}
	names := b.fresh(n)
	result, err := b.counted(ctx, a, t.client.sign(p, names), t)
	if err != nil {
		return result, err
	}
	if err := check(a.roots, t.client.files(p, names[0]), names); err != nil {
		return result, fmt.Errorf("it ended well, and yet: %w", err)
	}
	return result, nil
}

// counted is a call with what the front saw of it.
func (b *bench) counted(ctx context.Context, a *ca, call command, t attempt) (sample, error) {
	a.validation.Store(int64(t.validation()))
	a.start(t.roundTrip)
	result, err := b.call(ctx, call, t.traced)
	seen := a.stop()
	result.requests, result.connections, result.handshakes = float64(seen.Requests), float64(seen.Connections), float64(seen.Handshakes)
	result.exchanges, result.log = seen.Exchanges, seen.String()
	return result, err
}

// call is one call of a client, with its last words where it fails.
func (b *bench) call(ctx context.Context, call command, traced bool) (sample, error) {
	log, trace := b.newLog(), ""
	if traced {
		trace = log + ".trace"
	}
	u, err := b.launch(ctx, call, log, trace)
	if err != nil {
		return sample{}, fmt.Errorf("%w: %q", err, b.lastWords(log))
	}
	result := sample{wall: u.Wall, cpu: u.CPU, memory: u.Memory}
	if traced {
		file, err := os.Open(trace)
		if err != nil {
			return sample{}, err
		}
		defer file.Close()
		processes, programs, err := readTrace(file)
		if err != nil {
			return sample{}, err
		}
		result.processes, result.programs = float64(processes), float64(programs)
	}
	return result, nil
}

// lastWords are those of a client, as they would be in any run.
func (b *bench) lastWords(log string) string { return strings.ReplaceAll(lastLine(log), b.dir, "TMP") }

func output(program string, args ...string) (string, error) {
	out, err := exec.Command(program, args...).Output()
	return string(out), err
}
