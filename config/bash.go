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
		at := t.last
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, ctx.Err()
		}
		return nil, &Error{File: at.File, Line: at.Line, What: "did not come to an end in time"}
	}
	if !t.ended {
		return nil, t.failure(status, &said)
	}
	for name, v := range t.final {
		v.Exported, v.Array = t.exported[name], t.arrays[name]
		if v.Array {
			v.Value = ""
		}
		t.final[name] = v
	}
	t.res.Vars = sh.changed(t.final, t.at)
	t.res.Said = said.lines()
	for path := range sh.files {
		t.note(path)
	}
	return t.res, nil
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

func (t *talk) words(to ...*string) error {
	for _, s := range to {
		w, err := t.word()
		if err != nil {
			return err
		}
		*s = w
	}
	return nil
}

func (t *talk) say(words ...string) {
	var b []byte
	for _, w := range words {
		b = append(append(b, w...), 0)
	}
	t.answer.Write(b) // one that is gone is seen by the next word
}

// run reads to the end. An error is a refusal of ours.
func (t *talk) run() error {
	var mask, dir, file, line, text, name, value string
	for {
		var op string
		err := t.words(&op)
		switch op {
		case "presets":
			for n, v := range t.sh.Presets {
				t.say(n, v)
			}
			t.say("")
			t.stage = t.file
			t.say(t.file)
		case "check":
			err = t.words(&dir, &file)
			if err == nil {
				if _, err := t.sh.read(absolute(dir, file)); err != nil {
					return err
				}
				t.say("ok")
			}
		case "assign":
			if err = t.words(&dir, &file, &line, &text); err == nil {
				t.assigned(place{File: absolute(dir, file), Line: number10(line), Dropin: t.stage != t.file}, text)
			}
		case "lost":
			if err = t.words(&dir, &file, &line, &text); err == nil {
				word, _, _ := strings.Cut(text, " ")
				t.res.Lost = append(t.res.Lost, fmt.Sprintf("%s: %s has no effect outside the config", where(absolute(dir, file), number10(line)), word))
			}
		case "source":
			if err = t.words(&dir, &file, &line, &text); err == nil {
				// Before bash opens it: a FIFO would hold it up.
				if path := sourcedLiteral(text); path != "" {
					_, err := t.sh.read(absolute(dir, path))
					if err != nil && !errors.Is(err, fs.ErrNotExist) {
						return err
					}
				}
				t.say("ok")
			}
		case "dropins":
			if err = t.words(&value); err == nil {
				files, err := t.sh.dropins(value, t.at["CONFIG_D"])
				if err != nil {
					return err
				}
				for _, f := range files {
					if _, err := t.sh.read(f); err != nil {
						return err
					}
				}
				t.say(append(files, "")...)
			}
		case "stage":
			err = t.words(&t.stage)
		case "exit":
			var status string
			if err = t.words(&status, &dir, &file, &line, &t.command); err == nil {
				t.left, t.status = true, number10(status)
				t.last = place{File: t.file}
				if file != "" {
					t.last = place{File: absolute(dir, file), Line: number10(line)}
				}
			}
		case "variable":
			if err = t.words(&name, &value); err == nil {
				t.final[name] = variable{Value: value, Set: true}
			}
		case "exported", "arrays", "functions":
			if err = t.words(&value); err == nil {
				m := map[string]map[string]bool{"exported": t.exported, "arrays": t.arrays, "functions": t.res.Funcs}[op]
				for n := range strings.FieldsSeq(value) {
					if !strings.HasPrefix(n, "__arid_") {
						m[n] = true
					}
				}
			}
		case "umask":
			if err = t.words(&mask, &value); err == nil && mask != value {
				if n, err := strconv.ParseInt(value, 8, 32); err == nil {
					t.res.Umask = int(n)
				}
			}
		case "end":
			t.ended = true
			return nil
		default:
			if err == nil {
				return &Error{File: t.file, What: fmt.Sprintf("bash said %q", cut(op))}
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
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
	f, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
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
	f, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
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
	f, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(bytes.NewReader(t.sh.files[path]), "")
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
