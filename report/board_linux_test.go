package report_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"arid/report"
)

// terminal is a new pseudo terminal, and a function that gives all that was written to
// it up to now.
func terminal(t *testing.T) (screen *os.File, written func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err) // a sandbox without pseudo terminals
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	lines := make(chan string, 1)
	go func() {
		r := bufio.NewReader(master)
		for {
			text, err := r.ReadString('\x04')
			if err != nil {
				return
			}
			lines <- strings.TrimSuffix(text, "\x04")
		}
	}()
	return screen, func() string {
		fmt.Fprint(screen, "\x04")
		return <-lines
	}
}

// shown is what stands on the screen after all that: whole lines, and the one that the
// cursor is in.
func shown(written string) (lines []string) {
	for line := range strings.SplitSeq(written, "\r\n") {
		if i := strings.LastIndex(line, "\r\x1b[K"); i >= 0 {
			line = line[i+len("\r\x1b[K"):]
		}
		lines = append(lines, line)
	}
	return lines
}

func TestTheStatusLineOfManyAtOnce(t *testing.T) {
	screen, written := terminal(t)
	p := report.New(report.Options{Out: screen, Err: screen, Env: []string{"TERM=vt100"}, Color: "never"})
	b := p.Board(4)
	stands := func(want ...string) {
		t.Helper()
		if got := shown(written()); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("the screen has %q, want %q", got, want)
		}
	}
	b.Begin("a.test")
	stands("1/4 a.test, 1 at work")
	b.Begin("b.test")
	stands("2/4 b.test, 2 at work")
	p.Result("b.test: issued")
	stands("arid: b.test: issued", "")
	b.Step("a.test")
	stands("2/4 b.test, 2 at work")
	if err := p.Object(map[string]int{"schema": 1}); err != nil {
		t.Fatal(err)
	}
	stands(`{"schema":1}`, "")
	b.Step("b.test")

	b.Hook("a.test") // the screen is its own
	b.Step("b.test")
	b.Begin("c.test")
	b.End("b.test")
	fmt.Fprintln(screen, "from the hook")
	stands("from the hook", "")
	b.Step("a.test")
	stands("3/4 c.test, 2 at work")
	b.End("a.test")
	b.Hook("c.test")
	b.Begin("d.test")
	stands("")
	b.End("c.test") // and nothing was told after its hook
	stands("4/4 d.test, 1 at work")
	b.End("d.test")
	stands("")

	one := p.Board(1)
	one.Begin("a.test")
	one.Hook("a.test")
	one.End("a.test")
	stands("")
}

func TestLinesOfManyAtOnceAreWhole(t *testing.T) {
	screen, written := terminal(t)
	p := report.New(report.Options{Out: screen, Err: screen, Env: []string{"TERM=vt100"}, Color: "never"})
	const workers, each = 8, 20
	b := p.Board(workers * each)
	var work sync.WaitGroup
	for w := range workers {
		work.Go(func() {
			for i := range each {
				name := fmt.Sprintf("%d-%d.test", w, i)
				b.Begin(name)
				b.Step(name)
				p.Result(name + ": issued")
				b.End(name)
			}
		})
	}
	work.Wait()
	p.Clear()
	lines := shown(written())
	if len(lines) != workers*each+1 || lines[len(lines)-1] != "" {
		t.Errorf("%d lines, the last one %q", len(lines), lines[len(lines)-1])
	}
	for _, line := range lines[:len(lines)-1] {
		if !strings.HasPrefix(line, "arid: ") || !strings.HasSuffix(line, ".test: issued") {
			t.Errorf("%q", line)
		}
	}
}

func TestWhereThereIsNoStatusLine(t *testing.T) {
	work := func(p *report.Printer) {
		b := p.Board(2)
		b.Begin("a.test")
		b.Begin("b.test")
		p.Step("ordering")
		b.Hook("a.test")
		b.Step("a.test")
		b.End("a.test")
		b.End("b.test")
	}
	p, out, err := printer(report.Options{})
	if work(p); out.Len()+err.Len() != 0 {
		t.Errorf("off a terminal: %q, %q", out, err)
	}
	screen, written := terminal(t)
	for _, o := range []report.Options{{Env: []string{"TERM=dumb"}}, {Quiet: true}} {
		o.Out, o.Err = screen, screen
		work(report.New(o))
		if text := written(); text != "" {
			t.Errorf("%+v: %q", o, text)
		}
	}
}
