package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// process is one evaluation inside the process.
type process struct {
	sh    *shell
	r     *interp.Runner
	check checker
	files []loaded
	line  uint              // lines in use so far
	funcs map[string][]site // assignments in each function
	used  map[string]bool   // variables expanded anywhere
	err   sink
	out   sink

	mu      sync.Mutex // pipelines run two commands at once
	call    syntax.Pos // the command started last
	exited  bool       // that command was exit
	touched map[string][]site
	sourced int
}

// loaded is a file that was read. All files share one count of lines, so that
// a position tells the file too: first is the number of lines before it.
type loaded struct {
	path   string
	first  uint
	dropin bool
	tree   *syntax.File
}

// site is an assignment in the text; value is "" unless it is a literal.
type site struct {
	pos   syntax.Pos
	value string
}

// maxSourced bounds files that source each other in a circle.
const maxSourced = 100

func (sh *shell) inProcess(ctx context.Context, file string) (res *result, err error) {
	p := &process{sh: sh, funcs: map[string][]site{}, used: map[string]bool{}}
	p.check = checker{failing: sh.Failing, funcs: map[string]bool{}, calls: map[string]map[string]bool{}, risky: map[string]bool{}, bad: map[string]*unsupportedError{}}
	defer func() {
		if v := recover(); v != nil {
			res, err = nil, &needsBash{place{File: file}, fmt.Sprintf("something unforeseen (%v)", v)}
		}
	}()
	dir := sh.Dir
	if _, err := os.Stat(dir); err != nil {
		dir = "/" // of another user, as where root has called setuidgid in his own folder
	}
	p.r, err = interp.New(
		interp.Env(p.environ()), interp.Dir(dir), interp.StdIO(nil, &p.out, &p.err),
		interp.Params(sh.errexit(), "-u", "-f", "-o", "pipefail"),
		interp.CallHandler(p.calling),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return p.exec }),
		interp.OpenHandler(p.open),
	)
	if err != nil {
		return nil, &Error{File: file, What: "cannot start the shell evaluator", Err: err}
	}
	if err := p.r.Run(ctx, &syntax.File{}); err != nil { // fills Vars
		return nil, p.failure(err, nil)
	}
	before := maps.Clone(p.r.Vars)
	at := map[string]place{}
	if err := p.run(ctx, file, false, at); err != nil {
		return nil, err
	}
	dropins, err := sh.dropins(p.get("CONFIG_D"), at["CONFIG_D"])
	if err != nil {
		return nil, err
	}
	for _, f := range dropins {
		if err := p.run(ctx, f, true, at); err != nil {
			return nil, err
		}
	}
	final := sh.initial()
	for name, v := range p.r.Vars {
		if old, ok := before[name]; ok && same(old, v) && at[name] == (place{}) {
			continue
		}
		if !v.IsSet() {
			delete(final, name)
			continue
		}
		final[name] = plainVariable(v)
	}
	res = &result{Vars: sh.changed(final, at), Funcs: map[string]bool{}, Used: p.used, Said: p.err.lines(), Umask: -1}
	for f := range p.r.Funcs {
		addNames(res.Funcs, f)
	}
	return res, nil
}

func plainVariable(v expand.Variable) variable {
	x := variable{Set: true, Exported: v.Exported}
	if v.Kind == expand.String {
		x.Value = v.Str
	} else {
		x.Array = true
	}
	return x
}

func same(a, b expand.Variable) bool {
	return a.Set == b.Set && a.Exported == b.Exported && a.Kind == b.Kind && a.Str == b.Str && slices.Equal(a.List, b.List) && maps.Equal(a.Map, b.Map)
}

func (p *process) get(name string) string {
	if v, ok := p.r.Vars[name]; ok {
		return v.Str
	}
	return p.sh.Presets[name]
}

// load reads, parses, checks and rewrites a file.
func (p *process) load(path string, main, dropin bool) (*syntax.File, error) {
	data, err := p.sh.read(path)
	if err != nil {
		return nil, err
	}
	p.files = append(p.files, loaded{path: path, first: p.line, dropin: dropin})
	l := &p.files[len(p.files)-1]
	in := io.MultiReader(strings.NewReader(strings.Repeat("\n", int(p.line))), strings.NewReader(string(data)))
	p.line += uint(strings.Count(string(data), "\n")) + 1
	l.tree, err = parse(in, path)
	if err != nil {
		return nil, p.syntaxError(path, err)
	}
	usedNames(l.tree, p.used)
	p.check.main, p.check.err = main, nil
	if err := p.check.file(l.tree); err != nil {
		un := err.(*unsupportedError)
		return nil, &needsBash{p.place(un.pos), un.what}
	}
	syntax.Walk(l.tree, func(n syntax.Node) bool {
		if d, ok := n.(*syntax.FuncDecl); ok {
			p.funcs[d.Name.Value] = append(p.funcs[d.Name.Value], sites(d.Body)...)
		}
		return true
	})
	return l.tree, nil
}

func parse(in io.Reader, path string) (*syntax.File, error) {
	return syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(in, path)
}

// syntaxFault is a file that could not be parsed; bash may know better.
type syntaxFault struct{ err *Error }

func (e *syntaxFault) Error() string { return e.err.Error() }
func (e *syntaxFault) Unwrap() error { return e.err }

func (p *process) syntaxError(path string, err error) error {
	e := &Error{File: path, What: "syntax error: " + err.Error()}
	var pe syntax.ParseError
	var le syntax.LangError
	switch {
	case errors.As(err, &pe):
		e.Line, e.What = p.place(pe.Pos).Line, "syntax error: "+pe.Text
	case errors.As(err, &le):
		e.Line, e.What = p.place(le.Pos).Line, "syntax error: "+le.Feature
	}
	return &syntaxFault{e}
}

func (p *process) place(pos syntax.Pos) place {
	line := pos.Line()
	for _, l := range slices.Backward(p.files) {
		if line > l.first {
			return place{l.path, int(line - l.first), l.dropin}
		}
	}
	if len(p.files) > 0 {
		return place{File: p.files[0].path}
	}
	return place{}
}

// run evaluates a file statement by statement, noting in at where each
// variable got its value.
func (p *process) run(ctx context.Context, file string, dropin bool, at map[string]place) error {
	tree, err := p.load(file, true, dropin)
	if err != nil {
		return err
	}
	var status error
	for _, s := range tree.Stmts {
		p.touched = map[string][]site{}
		if _, ok := s.Cmd.(*syntax.FuncDecl); !ok {
			p.touch(sites(s))
		}
		p.call, p.exited = syntax.Pos{}, false
		before := maps.Clone(p.r.Vars)
		p.err.mark()
		status = p.r.Run(ctx, s)
		if p.exited || p.r.Exited() || status != nil && !isStatus(status) {
			return p.failure(status, s)
		}
		for name, v := range p.r.Vars {
			if old, ok := before[name]; !ok || !same(old, v) {
				at[name] = p.origin(name, v, s)
			}
		}
	}
	if status != nil && !p.sh.Failing {
		// The file's status is that of its last command, and a dot command that
		// fails ends dehydrated.
		return p.failure(status, tree.Stmts[len(tree.Stmts)-1])
	}
	return nil
}

func isStatus(err error) bool {
	var st interp.ExitStatus
	return errors.As(err, &st)
}

func (p *process) touch(list []site) {
	for _, s := range list {
		name, value, _ := strings.Cut(s.value, "=")
		p.touched[name] = append(p.touched[name], site{s.pos, value})
	}
}

// sites lists the assignments in a node, each value as NAME=literal.
func sites(n syntax.Node) []site {
	var out []site
	syntax.Walk(n, func(n syntax.Node) bool {
		if a, ok := n.(*syntax.Assign); ok && a.Name != nil {
			v := ""
			if a.Value != nil {
				v = literal(a.Value)
			}
			out = append(out, site{a.Pos(), a.Name.Value + "=" + v})
		}
		return true
	})
	return out
}

// origin picks the assignment that gave a variable its value: among several
// in one statement the one with this very text, else the last.
func (p *process) origin(name string, v expand.Variable, s *syntax.Stmt) place {
	list := p.touched[name]
	if len(list) == 0 {
		return p.place(s.Pos())
	}
	best := list[len(list)-1]
	for _, c := range list {
		if v.Kind == expand.String && c.value == v.Str {
			best = c
		}
	}
	return p.place(best.pos)
}

// failure makes the error for a file that was not read to its end.
func (p *process) failure(status error, s *syntax.Stmt) error {
	var un *needsBash
	var ours *Error
	var fault *syntaxFault
	switch {
	case errors.As(status, &un), errors.As(status, &fault), errors.As(status, &ours):
		return status
	case errors.Is(status, context.DeadlineExceeded):
		return p.place(p.at(s)).wrong("did not come to an end in time")
	case errors.Is(status, context.Canceled):
		return status
	}
	code := 0
	if st, ok := errors.AsType[interp.ExitStatus](status); ok {
		code = int(st)
	}
	pos := p.at(s)
	if p.exited {
		return exitError(p.place(pos), code)
	}
	said := p.err.since()
	if name, _, ok := strings.Cut(said, ": "); ok && syntax.ValidName(name) {
		if u := p.expansion(name, s); u.IsValid() {
			if p.check.risky[name] {
				return &needsBash{p.place(u), fmt.Sprintf("the default value that holds %q, which is not set", name)}
			}
			return p.place(u).wrong(said)
		}
	}
	return commandError(p.place(pos), code, said)
}

func exitError(at place, code int) *Error {
	return &Error{File: at.File, Line: at.Line, What: fmt.Sprintf("the config ends the program: exit %d", code), Exited: true, Status: code}
}

func commandError(at place, code int, said string) *Error {
	what := fmt.Sprintf("a command failed with status %d", code)
	if said != "" {
		what += fmt.Sprintf(" (%q)", cut(said))
	}
	return &Error{File: at.File, Line: at.Line, What: what, Status: code}
}

// cut bounds text of other programs that goes into a message.
func cut(s string) string {
	if len(s) > 300 {
		return strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}

// at is the position of the command that ran last, else of the statement.
func (p *process) at(s *syntax.Stmt) syntax.Pos {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.call.IsValid() || s == nil {
		return p.call
	}
	return s.Pos()
}

// expansion finds where a variable that turned out unset is expanded.
func (p *process) expansion(name string, s *syntax.Stmt) syntax.Pos {
	nodes := []syntax.Node{}
	if s != nil {
		nodes = append(nodes, s)
	}
	for _, l := range p.files {
		nodes = append(nodes, l.tree)
	}
	for _, n := range nodes {
		var found syntax.Pos
		syntax.Walk(n, func(n syntax.Node) bool {
			if e, ok := n.(*syntax.ParamExp); ok && e.Param != nil && e.Param.Value == name && !found.IsValid() {
				if e.Exp == nil || e.Exp.Op != syntax.DefaultUnset && e.Exp.Op != syntax.DefaultUnsetOrNull {
					found = e.Pos()
				}
			}
			return true
		})
		if found.IsValid() {
			return found
		}
	}
	return syntax.Pos{}
}

// calling sees every simple command before it runs.
func (p *process) calling(ctx context.Context, args []string) ([]string, error) {
	hc := interp.HandlerCtx(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	name := args[0]
	if name == numberCall {
		return args, nil
	}
	p.call = hc.Pos
	if bad := p.check.bad[name]; bad != nil {
		return nil, &needsBash{p.place(bad.pos), bad.what}
	}
	p.touch(p.funcs[name])
	switch name {
	case "exit":
		p.exited = true
	case "source", ".":
		if len(args) == 2 {
			return p.source(hc, args)
		}
	}
	return args, nil
}

// source replaces the builtin: the file is checked and rewritten as the
// others are, then run as a function, so that its lines are known.
func (p *process) source(hc interp.HandlerContext, args []string) ([]string, error) {
	path := p.sourcePath(hc, args[1])
	if path == "" {
		return args, nil // the builtin says that it is not there, and fails
	}
	if p.sourced++; p.sourced > maxSourced {
		return nil, p.place(hc.Pos).wrong(fmt.Sprintf("more than %d files sourced", maxSourced))
	}
	tree, err := p.load(path, false, p.place(hc.Pos).Dropin)
	if errors.Is(err, fs.ErrNotExist) {
		return args, nil
	}
	if err != nil {
		return nil, err
	}
	for _, s := range tree.Stmts {
		if _, ok := s.Cmd.(*syntax.FuncDecl); !ok {
			p.touch(sites(s))
		}
	}
	if len(tree.Stmts) == 0 {
		return []string{"true"}, nil
	}
	if p.r.Funcs == nil {
		p.r.Funcs = map[string]*syntax.Stmt{}
	}
	name := fmt.Sprintf("__arid_source_%d", p.sourced)
	p.r.Funcs[name] = &syntax.Stmt{Position: hc.Pos, Cmd: &syntax.Block{Lbrace: hc.Pos, Rbrace: hc.Pos, Stmts: tree.Stmts}}
	return append([]string{name}, p.r.Params...), nil
}

// sourcePath finds a sourced file as bash does: without a slash in PATH
// first, then here. "" if there is none.
func (p *process) sourcePath(hc interp.HandlerContext, name string) string {
	try := []string{name}
	if !strings.Contains(name, "/") {
		try = nil
		for _, dir := range filepath.SplitList(hc.Env.Get("PATH").String()) {
			try = append(try, filepath.Join(dir, name))
		}
		try = append(try, name)
	}
	for _, f := range try {
		if !filepath.IsAbs(f) {
			f = filepath.Join(hc.Dir, f)
		}
		info, err := os.Stat(f)
		if err == nil && (info.Mode().IsRegular() || strings.Contains(name, "/")) || errors.Is(err, fs.ErrPermission) {
			return f
		}
	}
	return ""
}

// open serves redirections: reading regular files, and /dev/null.
func (p *process) open(ctx context.Context, path string, flag int, perm os.FileMode) (io.ReadWriteCloser, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(interp.HandlerCtx(ctx).Dir, path)
	}
	if path == "/dev/null" {
		return os.OpenFile(path, flag&(os.O_RDONLY|os.O_WRONLY|os.O_RDWR), 0)
	}
	if flag != os.O_RDONLY || p.sh.NoExec {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	return f, nil
}

// maxOutput bounds what one command in a config may write.
const maxOutput = 1 << 20

// exec runs an external command.
func (p *process) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	if args[0] == numberCall {
		if len(args) != 2 || !decimal(strings.TrimPrefix(args[1], "-")) {
			return &needsBash{p.place(hc.Pos), fmt.Sprintf("arithmetic with %q", args[1:])}
		}
		_, err := io.WriteString(hc.Stdout, args[1])
		return err
	}
	if p.sh.NoExec {
		fmt.Fprintf(hc.Stderr, "%s: not run\n", args[0])
		return interp.ExitStatus(127)
	}
	path, err := interp.LookPathDir(hc.Dir, hc.Env, args[0])
	if err != nil {
		fmt.Fprintf(hc.Stderr, "%s: command not found\n", args[0])
		return interp.ExitStatus(127)
	}
	argv := args
	for {
		cmd := exec.CommandContext(ctx, path)
		cmd.Args = argv
		cmd.Env = p.execEnv(hc.Env)
		cmd.Dir = hc.Dir
		cmd.Stdin, cmd.Stdout, cmd.Stderr = hc.Stdin, hc.Stdout, hc.Stderr
		if _, isFile := hc.Stdout.(*os.File); !isFile {
			cmd.Stdout = &limited{w: hc.Stdout, left: maxOutput}
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = 2 * time.Second
		err = cmd.Run()
		if errors.Is(err, syscall.ENOEXEC) && path != "/bin/sh" {
			// A script without #!: shells run it themselves.
			argv = append([]string{"sh", path}, args[1:]...)
			path = "/bin/sh"
			continue
		}
		break
	}
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit):
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return interp.ExitStatus(128 + uint8(ws.Signal()))
		}
		return interp.ExitStatus(uint8(exit.ExitCode()))
	default:
		fmt.Fprintf(hc.Stderr, "%s: %v\n", args[0], err)
		return interp.ExitStatus(126)
	}
}

// limited refuses what comes after the first bytes.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, fmt.Errorf("more than %d bytes of output", maxOutput)
	}
	l.left -= len(p)
	return l.w.Write(p)
}

// environment is what the interpreter starts from. Presets are found by Get
// but not listed by Each, so that what Each lists in the end was assigned.
type environment struct {
	env, presets map[string]expand.Variable
}

func (p *process) environ() environment {
	e := environment{map[string]expand.Variable{}, map[string]expand.Variable{}}
	for name, v := range p.sh.initial() {
		x := expand.Variable{Set: true, Kind: expand.String, Str: v.Value, Exported: v.Exported}
		if _, ok := p.sh.Presets[name]; ok {
			e.presets[name] = x
		} else {
			e.env[name] = x
		}
	}
	if host, err := os.Hostname(); err == nil && !e.env["HOSTNAME"].Set {
		e.presets["HOSTNAME"] = expand.Variable{Set: true, Kind: expand.String, Str: host}
	}
	if !e.env["PATH"].Set {
		e.presets["PATH"] = expand.Variable{Set: true, Kind: expand.String, Str: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	}
	return e
}

func (e environment) Get(name string) expand.Variable {
	if v, ok := e.presets[name]; ok {
		return v
	}
	return e.env[name]
}

func (e environment) Each(f func(string, expand.Variable) bool) {
	for name, v := range e.env {
		if !f(name, v) {
			return
		}
	}
}

// execEnv is the environment of an external command.
func (p *process) execEnv(env expand.Environ) []string {
	m := map[string]string{}
	for name := range p.sh.Presets {
		if v := env.Get(name); v.Set && v.Exported && v.Kind == expand.String {
			m[name] = v.Str
		}
	}
	env.Each(func(name string, v expand.Variable) bool {
		delete(m, name)
		if v.Set && v.Exported && v.Kind == expand.String {
			m[name] = v.Str
		}
		return true
	})
	var list []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, name+"="+m[name])
	}
	return list
}

// initial returns the variables before the first line: the environment, and
// the presets, which are exported where the environment has the name.
func (sh *shell) initial() map[string]variable {
	m := map[string]variable{}
	for _, kv := range sh.Environ {
		name, v, ok := strings.Cut(kv, "=")
		if ok && syntax.ValidName(name) {
			m[name] = variable{Value: v, Set: true, Exported: true}
		}
	}
	for name, v := range sh.Presets {
		m[name] = variable{Value: v, Set: true, Exported: m[name].Exported}
	}
	return m
}

// changed compares the variables at the end with those at the beginning. at
// tells those that were certainly assigned.
func (sh *shell) changed(final map[string]variable, at map[string]place) map[string]variable {
	first := sh.initial()
	out := map[string]variable{}
	for name, v := range final {
		v.At = at[name]
		old, was := first[name]
		if v.At == (place{}) && (shellsOwn(name) || was && old.Value == v.Value && old.Exported == v.Exported && !v.Array) {
			continue
		}
		if slices.Contains([]string{"_", "SHLVL", "PWD", "OLDPWD"}, name) {
			continue
		}
		_, preset := sh.Presets[name]
		if was && !preset && old.Value == v.Value && old.Exported == v.Exported && !v.Array {
			continue
		}
		out[name] = v
	}
	for name := range first {
		if _, ok := final[name]; !ok && !slices.Contains([]string{"_", "SHLVL", "PWD", "OLDPWD"}, name) {
			out[name] = variable{At: at[name]}
		}
	}
	return out
}

// shellsOwn tells variables that a shell sets without being asked.
func shellsOwn(name string) bool {
	return special(name) || slices.Contains([]string{"IFS", "PATH", "HOME", "UID", "EUID", "HOSTNAME", "COLUMNS", "LINES"}, name)
}
