package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mvdan.cc/sh/v3/syntax"
)

// evaluationTimeout bounds the reading of all config files, the commands in
// them included.
const evaluationTimeout = time.Minute

// place is a line of a config file. Dropin tells files of CONFIG_D, and what
// they source, from the main file.
type place struct {
	File   string
	Line   int
	Dropin bool
}

func (at place) wrong(what string) *Error { return &Error{File: at.File, Line: at.Line, What: what} }

// variable is what an evaluation left of one name.
type variable struct {
	Value    string
	Set      bool // false: it was unset
	Exported bool
	Array    bool // Value is empty then
	At       place
}

// result is what both evaluators report.
type result struct {
	Vars  map[string]variable // every preset assigned, and everything else that changed
	Funcs map[string]bool     // functions defined
	Used  map[string]bool     // names expanded somewhere in the files
	Said  []string            // lines written to standard error
	Lost  []string            // what was done to the shell itself, and not to us
	Umask int                 // -1: not changed
}

// shell evaluates config files. It is made for one evaluation.
type shell struct {
	Environ []string
	Presets map[string]string
	Dir     string
	Bash    string // path; "": look in PATH
	Dropins bool   // go on with CONFIG_D/*.sh in the same shell
	Failing bool   // a command that fails does not end it: errexit is off
	NoExec  bool   // commands are not run but fail (for fuzzing)
	Timeout time.Duration
	Read    func(path string) ([]byte, error) // opens, checks permissions, reads

	files map[string][]byte
}

// evaluate runs the file inside the process, or by bash where it holds
// something that only bash is known to do right.
func (sh *shell) evaluate(ctx context.Context, file string) (*result, error) {
	if sh.Timeout == 0 {
		sh.Timeout = evaluationTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, sh.Timeout)
	defer cancel()
	r, err := sh.inProcess(ctx, file)
	bash := sh.findBash()
	if fault, ok := errors.AsType[*syntaxFault](err); ok {
		// Text that this parser does not take and bash does is not wrong.
		if bash == "" || !bashParses(ctx, bash, sh.files[fault.err.File]) {
			return nil, fault.err
		}
		return sh.inBash(ctx, bash, file)
	}
	var un *needsBash
	if !errors.As(err, &un) {
		return r, err
	}
	if bash == "" {
		return nil, &Error{File: un.at.File, Line: un.at.Line, What: "cannot be read without bash, which is not installed: " + un.what}
	}
	return sh.inBash(ctx, bash, file)
}

// errexit is the word for it in the options of a shell.
func (sh *shell) errexit() string {
	if sh.Failing {
		return "+e"
	}
	return "-e"
}

// needsBash says that the evaluation must be done by bash from the start.
type needsBash struct {
	at   place
	what string
}

func (e *needsBash) Error() string { return e.what }

func (sh *shell) findBash() string {
	if sh.NoExec {
		return ""
	}
	if sh.Bash != "" {
		if executable(sh.Bash) {
			return sh.Bash
		}
		return ""
	}
	for _, dir := range filepath.SplitList(lookup(sh.Environ, "PATH") + ":/bin:/usr/bin:/usr/local/bin") {
		if filepath.IsAbs(dir) && executable(filepath.Join(dir, "bash")) {
			return filepath.Join(dir, "bash")
		}
	}
	return ""
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// maxDeep bounds how deep a file can be nested.
const maxDeep = 50_000

// read returns a file's checked content. A file is read once, so that what was
// checked is what is run.
func (sh *shell) read(path string) ([]byte, error) {
	if data, ok := sh.files[path]; ok {
		return data, nil
	}
	data, err := sh.Read(path)
	if err != nil {
		return nil, err
	}
	// Parser and interpreter call themselves for each bracket and each operator
	// of a list, and a stack that overflows cannot be caught.
	deep := 0
	for _, c := range []string{"(", "[", "{", "&&", "||", "|"} {
		deep += strings.Count(string(data), c)
	}
	if deep > maxDeep {
		return nil, &Error{File: path, What: fmt.Sprintf("holds more than %d brackets and list operators", maxDeep)}
	}
	if sh.files == nil {
		sh.files = map[string][]byte{}
	}
	sh.files[path] = data
	return data, nil
}

// dropins lists CONFIG_D/*.sh in bytewise order.
func (sh *shell) dropins(dir string, at place) ([]string, error) {
	if !sh.Dropins || dir == "" {
		return nil, nil
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(sh.Dir, dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, &Error{File: at.File, Line: at.Line, What: fmt.Sprintf("CONFIG_D=%q", dir), Err: plainPathError(err)}
	}
	var files []string
	for _, e := range entries { // sorted by os.ReadDir
		// As the shell's *.sh: names with a dot in front are left out.
		if strings.HasSuffix(e.Name(), ".sh") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

// plainPathError takes the path off an error that is reported beside the path.
func plainPathError(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// sink keeps the first bytes written to it and swallows the rest.
type sink struct {
	mu   sync.Mutex
	data []byte
	from int // see mark
}

const sinkSize = 64 << 10

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = append(s.data, p[:min(len(p), sinkSize-len(s.data))]...)
	return len(p), nil
}

// mark remembers the end of what is there.
func (s *sink) mark() { s.from = len(s.String()) }

// since is the last line written since the mark.
func (s *sink) since() string {
	all := strings.Split(strings.TrimSpace(s.String()[s.from:]), "\n")
	return strings.TrimSpace(all[len(all)-1])
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.data)
}

func (s *sink) lines() []string {
	var out []string
	for l := range strings.SplitSeq(s.String(), "\n") {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	return out
}

func lookup(environ []string, name string) string {
	v := ""
	for _, kv := range environ { // the last one counts, as in os/exec
		if k, x, ok := strings.Cut(kv, "="); ok && k == name {
			v = x
		}
	}
	return v
}

// usedNames adds the variables that a file expands.
func usedNames(f *syntax.File, into map[string]bool) {
	arithmetic := func(n syntax.Node) bool {
		if w, ok := n.(*syntax.Word); ok && syntax.ValidName(w.Lit()) {
			into[w.Lit()] = true
		}
		return true
	}
	syntax.Walk(f, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.ParamExp:
			if n.Param != nil {
				into[n.Param.Value] = true
			}
		case *syntax.ArithmExp:
			if n.X != nil {
				syntax.Walk(n.X, arithmetic)
			}
		case *syntax.ArithmCmd:
			if n.X != nil {
				syntax.Walk(n.X, arithmetic)
			}
		}
		return true
	})
}
