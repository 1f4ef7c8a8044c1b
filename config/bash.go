package config

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mvdan.cc/sh/v3/syntax"
)

// evaluateScript is what bash runs: it sources the files and tells us, over a
// descriptor of its own, what came of them.
//
//go:embed evaluate.bash
var evaluateScript string

// bashParses asks bash whether the text is shell, without running any of it.
func bashParses(ctx context.Context, bash string, text []byte) bool {
	cmd := exec.CommandContext(ctx, bash, "--norc", "--noprofile", "-n")
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.Stdin = bytes.NewReader(text)
	return cmd.Run() == nil
}

// inBash evaluates by real bash.
func (sh *shell) inBash(ctx context.Context, bash, file string) (*result, error) {
	if _, err := sh.read(file); err != nil {
		return nil, err
	}
	talkR, talkW, err := os.Pipe()
	if err != nil {
		return nil, &Error{File: file, What: "cannot start bash", Err: err}
	}
	defer talkR.Close()
	answerR, answerW, err := os.Pipe()
	if err != nil {
		talkW.Close()
		return nil, &Error{File: file, What: "cannot start bash", Err: err}
	}
	defer answerW.Close()

	var out, said sink
	cmd := exec.CommandContext(ctx, bash, "--norc", "--noprofile", "-c", evaluateScript, "arid", sh.errexit())
	cmd.Dir = sh.Dir
	for _, kv := range sh.Environ {
		name, _, _ := strings.Cut(kv, "=")
		if !slices.Contains([]string{"BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "POSIXLY_CORRECT"}, name) && !strings.HasPrefix(name, "BASH_FUNC_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.ExtraFiles = []*os.File{talkW, answerR}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	err = cmd.Start()
	talkW.Close()
	answerR.Close()
	if err != nil {
		return nil, &Error{File: file, What: "cannot start bash", Err: err}
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		// A program left behind by the config may hold the descriptor open.
		talkR.SetReadDeadline(time.Now().Add(time.Second))
	}()
	t := &talk{sh: sh, file: file, in: bufio.NewReader(talkR), answer: answerW, final: map[string]variable{}, at: map[string]place{}, exported: map[string]bool{}, arrays: map[string]bool{},
		res: &result{Funcs: map[string]bool{}, Used: map[string]bool{}, Umask: -1}}
	talked := t.run()
	if talked != nil {
		cmd.Cancel()
	}
	status := <-ended
	if talked != nil {
		return nil, talked
	}
	if ctx.Err() != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, ctx.Err()
		}
		return nil, t.last.wrong("did not come to an end in time")
	}
	if !t.ended {
		return nil, t.failure(status, &said)
	}
	t.res.Said = said.lines()
	return t.result(), nil
}

// result is what came of an evaluation that was told to its end.
func (t *talk) result() *result {
	for name, v := range t.final {
		v.Exported, v.Array = t.exported[name], t.arrays[name]
		if v.Array {
			v.Value = ""
		}
		t.final[name] = v
	}
	t.res.Vars = t.sh.changed(t.final, t.at)
	for path := range t.sh.files {
		t.note(path)
	}
	return t.res
}

// talk is the conversation with the script: NUL-terminated words.
type talk struct {
	sh     *shell
	file   string
	in     *bufio.Reader
	answer io.Writer
	total  int

	stage    string // the file of the present stage: the main one, or one of CONFIG_D
	final    map[string]variable
	exported map[string]bool
	arrays   map[string]bool
	at       map[string]place
	res      *result
	last     place  // of the command that was running when bash left
	command  string // its text
	status   int
	left     bool // bash told that it leaves
	ended    bool // everything was read and told
}

// maxTalk bounds what bash may tell us.
const maxTalk = 16 << 20

func (t *talk) word() (string, error) {
	var b []byte
	for {
		part, err := t.in.ReadSlice(0)
		t.total += len(part)
		if t.total > maxTalk {
			return "", &Error{File: t.file, What: "bash has too much to tell"}
		}
		b = append(b, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return "", io.EOF
		}
		return string(b[:len(b)-1]), nil
	}
}

func (t *talk) say(words ...string) {
	var b []byte
	for _, w := range words {
		b = append(append(b, w...), 0)
	}
	t.answer.Write(b) // one that is gone is seen by the next word
}

// operands are how many words follow the one that a message begins with. Three of them
// are mostly a place: directory, file and line.
var operands = map[string]int{
	"presets": 0, "check": 2, "assign": 4, "lost": 4, "source": 4, "dropins": 1, "stage": 1,
	"exit": 5, "variable": 2, "exported": 1, "arrays": 1, "functions": 1, "umask": 2, "end": 0,
}

// run hears to the end. An error is a refusal of ours.
func (t *talk) run() error {
	for !t.ended {
		message, err := t.message()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = t.hear(message[0], message[1:])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// message reads a word and those that go with it.
func (t *talk) message() ([]string, error) {
	op, err := t.word()
	if err != nil {
		return nil, err
	}
	n, known := operands[op]
	if !known {
		return nil, &Error{File: t.file, What: fmt.Sprintf("bash said %q", cut(op))}
	}
	words := []string{op}
	for range n {
		word, err := t.word()
		if err != nil {
			return nil, err
		}
		words = append(words, word)
	}
	return words, nil
}

// hear does what a message is for. An error is a refusal of ours.
func (t *talk) hear(op string, words []string) error {
	switch op {
	case "presets":
		for n, v := range t.sh.Presets {
			t.say(n, v)
		}
		t.stage = t.file
		t.say("", t.file)
	case "check":
		if _, err := t.sh.read(absolute(words[0], words[1])); err != nil {
			return err
		}
		t.say("ok")
	case "assign":
		at := placeOf(words)
		at.Dropin = t.stage != t.file
		t.assigned(at, words[3])
	case "lost":
		at := placeOf(words)
		word, _, _ := strings.Cut(words[3], " ")
		t.res.Lost = append(t.res.Lost, fmt.Sprintf("%s: %s has no effect outside the config", where(at.File, at.Line), word))
	case "source":
		return t.source(words[0], words[3])
	case "dropins":
		return t.dropins(words[0])
	case "stage":
		t.stage = words[0]
	case "exit":
		t.left, t.status, t.command = true, number10(words[0]), words[4]
		t.last = place{File: t.file}
		if words[2] != "" {
			t.last = placeOf(words[1:])
		}
	case "variable":
		t.final[words[0]] = variable{Value: words[1], Set: true}
	case "exported":
		addNames(t.exported, words[0])
	case "arrays":
		addNames(t.arrays, words[0])
	case "functions":
		addNames(t.res.Funcs, words[0])
	case "umask":
		if n, err := strconv.ParseInt(words[1], 8, 32); err == nil && words[0] != words[1] {
			t.res.Umask = int(n)
		}
	case "end":
		t.ended = true
	}
	return nil
}

// source looks at a file before bash opens it: a FIFO would hold it up.
func (t *talk) source(dir, command string) error {
	if path := sourcedLiteral(command); path != "" {
		if _, err := t.sh.read(absolute(dir, path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	t.say("ok")
	return nil
}

// dropins tells bash the files of CONFIG_D.
func (t *talk) dropins(dir string) error {
	files, err := t.sh.dropins(dir, t.at["CONFIG_D"])
	if err != nil {
		return err
	}
	for _, f := range files {
		if _, err := t.sh.read(f); err != nil {
			return err
		}
	}
	t.say(append(files, "")...)
	return nil
}

// addNames adds names with blanks between, but those of the script.
func addNames(to map[string]bool, names string) {
	for n := range strings.FieldsSeq(names) {
		if !strings.HasPrefix(n, "__arid_") {
			to[n] = true
		}
	}
}

// placeOf is the place that a message begins with.
func placeOf(words []string) place {
	return place{File: absolute(words[0], words[1]), Line: number10(words[2])}
}

func absolute(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}

func number10(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// sourcedLiteral returns the path in "source PATH" if it has a slash and
// nothing in it is expanded.
func sourcedLiteral(text string) string {
	f, err := parse(strings.NewReader(text), "")
	if err != nil || len(f.Stmts) != 1 {
		return ""
	}
	c, ok := f.Stmts[0].Cmd.(*syntax.CallExpr)
	if !ok || len(c.Args) < 2 {
		return ""
	}
	path := literal(c.Args[1])
	if !strings.Contains(path, "/") || strings.ContainsAny(path, "~\\") {
		return ""
	}
	return path
}

// assigned notes the names that a command, as bash prints it, gives values to.
func (t *talk) assigned(at place, text string) {
	f, err := parse(strings.NewReader(text), "")
	if err != nil || len(f.Stmts) != 1 {
		return
	}
	var list []*syntax.Assign
	switch c := f.Stmts[0].Cmd.(type) {
	case *syntax.CallExpr:
		if len(c.Args) == 0 {
			list = c.Assigns
		}
	case *syntax.DeclClause:
		list = c.Args
	}
	for _, a := range list {
		if a.Name != nil && !a.Naked {
			t.at[a.Name.Value] = at
		}
	}
}

// note adds the names that a file expands.
func (t *talk) note(path string) {
	f, err := parse(bytes.NewReader(t.sh.files[path]), "")
	if err != nil {
		return
	}
	usedNames(f, t.res.Used)
}

// bashComplaint takes "FILE: line 3: " off what bash says, in any language.
var bashComplaint = regexp.MustCompile(`^(.*): \S+ ([0-9]+): (.*)$`)

// failure makes the error for files that bash did not read to their end.
func (t *talk) failure(status error, said *sink) error {
	code := 0
	var exit *exec.ExitError
	if errors.As(status, &exit) {
		code = exit.ExitCode()
	}
	if t.left {
		code = t.status
	}
	at := t.last
	if at.File == "" {
		at.File = t.file
	}
	if fields := strings.Fields(t.command); len(fields) > 0 && fields[0] == "exit" {
		return exitError(at, code)
	}
	text := said.since()
	for l := range strings.SplitSeq(said.String(), "\n") {
		m := bashComplaint.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		if _, err := os.Stat(m[1]); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		text = m[3]
		if name, _, ok := strings.Cut(text, ": "); ok && syntax.ValidName(name) {
			return &Error{File: at.File, Line: max(at.Line, 0), What: cut(text)}
		}
		if at.Line == 0 {
			at.Line = number10(m[2])
		}
	}
	return commandError(at, code, text)
}
