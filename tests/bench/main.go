//go:build linux

// bench measures what certificates cost: arid beside other clients and beside the
// floor, against a Pebble at a distance. docs/performance.md tells how, and what
// came out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == launchWord {
		os.Exit(launched(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ok, err := run(ctx, os.Args[1:])
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "bench: told to end")
		os.Exit(130)
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(70)
	case !ok:
		fmt.Fprintln(os.Stderr, "bench: arid failed; see above")
		os.Exit(1)
	}
}

// run is the whole program; ok is false where arid failed in anything.
func run(ctx context.Context, args []string) (ok bool, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "one run of each, fewer distances, more extrapolated")
	log := flags.Bool("log", false, "show every request of every run")
	page := flags.String("page", "", "put the tables into this FILE too, between its marks")
	cases := flags.String("case", "", "only these, with commas between: "+strings.Join(names(scenarios, func(s scenario) string { return s.name }), ","))
	only := flags.String("client", "", "only these, with commas between: "+strings.Join(names(clients, func(c *client) string { return c.name }), ","))
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	wantedCases, err := choose(scenarios, func(s scenario) string { return s.name }, *cases)
	if err != nil {
		return false, err
	}
	wantedClients, err := choose(clients, func(c *client) string { return c.name }, *only)
	if err != nil {
		return false, err
	}
	b, err := newBench()
	if err != nil {
		return false, err
	}
	defer b.end()
	b.quick, b.log = *quick, *log
	var tables strings.Builder
	out := io.MultiWriter(os.Stdout, &tables)
	printHead(out, wantedClients)
	ok, err = b.all(ctx, out, wantedCases, wantedClients)
	if err == nil && *page != "" {
		err = putIntoPage(*page, tables.String())
	}
	return ok, err
}

// newBench makes a temporary folder and starts the DNS server.
func newBench() (*bench, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return openBench(self, filepath.Dir(self))
}

func openBench(self, bin string) (*bench, error) {
	dir, err := os.MkdirTemp("", "arid-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{self: self, bin: bin, dir: dir, roots: filepath.Join(dir, "roots.pem"), say: os.Stderr}
	if b.servers, err = startServers(dir, bin); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	if err := b.trust(b.servers.authority.PEM); err != nil {
		b.end()
		return nil, err
	}
	return b, nil
}

func (b *bench) end() {
	b.servers.end()
	os.RemoveAll(b.dir)
}

// all prints a table for each scenario and distance.
func (b *bench) all(ctx context.Context, out io.Writer, scenarios []scenario, clients []*client) (ok bool, err error) {
	ok = true
	ours, floor := results{}, results{}
	for _, s := range scenarios {
		var traced map[*client]*sample
		for i, roundTrip := range s.distances {
			if b.quick && i > 0 && (roundTrip != far || s.name != "one") {
				continue
			}
			all := b.rounds(ctx, &s, clients, roundTrip)
			if ctx.Err() != nil {
				return false, context.Cause(ctx)
			}
			if traced == nil { // processes do not come from the distance
				traced = b.trace(ctx, &s, all, roundTrip)
			}
			for _, f := range all {
				f.counted = traced[f.client]
				switch f.client.name {
				case ourName:
					ours.add(&s, roundTrip, f)
					ok = ok && len(f.failures) == 0
				case floorName:
					floor.add(&s, roundTrip, f)
				}
			}
			title := s.title
			if s.kind != starting {
				title += fmt.Sprintf(", %d ms round trip", roundTrip.Milliseconds())
			}
			printTable(out, title, all)
		}
	}
	printAims(out, aims(ours, floor, b.bin))
	return ok, nil
}

// rounds runs the clients in turn, so that all of them see the same hour of the
// machine, each as often as its first run lets it.
func (b *bench) rounds(ctx context.Context, s *scenario, clients []*client, roundTrip time.Duration) []*figures {
	var all []*figures
	for _, c := range clients {
		if c.does(s.kind) {
			all = append(all, &figures{client: c, varied: s.validations != nil})
		}
	}
	for again := true; again; {
		again = false
		for _, f := range all {
			if ctx.Err() != nil {
				return all
			}
			done := len(f.samples) + len(f.failures)
			if f.lacks != "" || f.guessed() || done > 0 && done >= s.runs(f.first(), b.quick) {
				continue
			}
			again = true
			result, err := b.measure(ctx, attempt{s, f.client, roundTrip, done, false})
			why, lacks := lacking(err)
			switch {
			case ctx.Err() != nil:
				return all
			case lacks:
				f.lacks = why
			case err != nil:
				f.failures = append(f.failures, err)
				fmt.Fprintf(b.say, "%s, %v: %s: FAILED: %v\n", s.name, roundTrip, f.client.name, err)
			default:
				f.samples = append(f.samples, result)
				fmt.Fprintf(b.say, "%s, %v: %s: %s\n", s.name, roundTrip, f.client.name, seconds(result.wall))
			}
			if b.log {
				fmt.Fprint(b.say, result.log)
			}
		}
	}
	return all
}

// trace counts the processes of those that went well, in a run more that is not timed;
// not where a run takes long.
func (b *bench) trace(ctx context.Context, s *scenario, all []*figures, roundTrip time.Duration) map[*client]*sample {
	counted := map[*client]*sample{}
	for _, f := range all {
		if !f.good() || f.guessed() || s.calls > 0 {
			continue
		}
		if result, err := b.measure(ctx, attempt{s, f.client, roundTrip, 0, true}); err == nil {
			counted[f.client] = &result
		} else {
			fmt.Fprintf(b.say, "%s: %s: counting processes: %v\n", s.name, f.client.name, err)
		}
	}
	return counted
}

// printHead tells what is compared, where.
func printHead(w io.Writer, clients []*client) {
	fmt.Fprintf(w, "%s, %d cores, %s", time.Now().Format(time.DateOnly), runtime.NumCPU(), runtime.Version())
	for _, c := range clients {
		if v := c.installed(); v != "" {
			fmt.Fprintf(w, "; %s %s", c.name, v)
		}
	}
	fmt.Fprintln(w)
}

// Between these marks of a page stand the tables.
const firstMark, lastMark = "<!-- tables -->\n", "<!-- end of tables -->\n"

func putIntoPage(file, tables string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(text), firstMark)
	_, after, ends := strings.Cut(rest, lastMark)
	if !begins || !ends {
		return fmt.Errorf("%s: no marks for the tables", file)
	}
	return os.WriteFile(file, []byte(before+firstMark+"\n"+tables+"\n"+lastMark+after), 0o644)
}

// choose picks by name; nothing asked for is everything.
func choose[T any](all []T, name func(T) string, wanted string) (chosen []T, err error) {
	if wanted == "" {
		return all, nil
	}
	for word := range strings.SplitSeq(wanted, ",") {
		at := slices.IndexFunc(all, func(t T) bool { return name(t) == word })
		if at < 0 {
			return nil, fmt.Errorf("%q is none of %s", word, strings.Join(names(all, name), ","))
		}
		chosen = append(chosen, all[at])
	}
	return chosen, nil
}

func names[T any](all []T, name func(T) string) (list []string) {
	for _, t := range all {
		list = append(list, name(t))
	}
	return list
}
