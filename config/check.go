package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/syntax"
)

// unsupportedError names a construct that the evaluator inside the process does
// not know to mean exactly what it means to bash.
type unsupportedError struct {
	pos  syntax.Pos
	what string
}

func (e *unsupportedError) Error() string { return e.what }

// level says what becomes of a failing command where a statement stands. The
// interpreter tests errexit once more at the end of a compound command; bash
// does not (it exits only for the command that failed itself), so an "a && b"
// whose left side fails must not be what a compound command ends with.
type level int

const (
	plain    level = iota // of a file, or the statements of a function
	body                  // inside a compound command: "a && b" becomes "if a; then b; fi"
	strict                // the same, where the status matters (function, end of file): refused
	ignoring              // conditions, and command substitutions: errexit is off
)

// checker walks the syntax tree of one file against the list of what the
// interpreter and bash are known to do alike, and rewrites the few places where
// they differ in a way that can be put right.
type checker struct {
	funcs   map[string]bool            // functions of this file and those read before
	calls   map[string]map[string]bool // function -> commands it calls
	risky   map[string]bool            // expanded within a default, which the interpreter expands even when not needed
	failing bool                       // a command that fails ends nothing
	main    bool                       // run statement by statement, so that "return" cannot work
	fn      string                     // the function we are in
	inSubst bool
	bad     map[string]*unsupportedError // functions that only bash can run: refused when called
	err     *unsupportedError
}

func (c *checker) no(at syntax.Node, format string, a ...any) {
	if c.err == nil {
		c.err = &unsupportedError{at.Pos(), fmt.Sprintf(format, a...)}
	}
}

// file checks a whole file; the first refusal is returned.
func (c *checker) file(f *syntax.File) error {
	syntax.Walk(f, func(n syntax.Node) bool {
		if d, ok := n.(*syntax.FuncDecl); ok && d.Name != nil {
			c.funcs[d.Name.Value] = true
		}
		return true
	})
	for i, s := range f.Stmts {
		inner := body
		if i == len(f.Stmts)-1 {
			inner = strict
		}
		c.stmt(s, plain, inner)
	}
	if name := c.recursive(); name != "" {
		c.bad[name] = &unsupportedError{f.Pos(), fmt.Sprintf("the function %q that calls itself", name)}
	}
	if c.err != nil {
		return c.err
	}
	return nil
}

func (c *checker) recursive() string {
	const visiting, done = 1, 2
	state := map[string]int{}
	var visit func(string) bool
	visit = func(f string) bool {
		if state[f] == visiting {
			return true
		}
		if state[f] == done || !c.funcs[f] {
			return false
		}
		state[f] = visiting
		for g := range c.calls[f] {
			if visit(g) {
				return true
			}
		}
		state[f] = done
		return false
	}
	for f := range c.calls {
		if visit(f) {
			return f
		}
	}
	return ""
}

// stmts checks a list that stands at lv inside a compound command.
func (c *checker) stmts(list []*syntax.Stmt, lv level) {
	for _, s := range list {
		c.stmt(s, lv, lv)
	}
}

// stmt checks one statement; inner is the level of a compound command's own
// statements.
func (c *checker) stmt(s *syntax.Stmt, lv, inner level) {
	if s.Background || s.Coprocess || s.Disown {
		c.no(s, "a command in the background")
	}
	for _, r := range s.Redirs {
		c.redirect(r)
	}
	if s.Negated {
		if lv == body || lv == strict {
			c.no(s, `"!" inside a compound command`)
		}
		switch cmd := s.Cmd.(type) {
		case *syntax.TestClause:
		case *syntax.CallExpr:
			if len(cmd.Args) == 0 || c.funcs[cmd.Args[0].Lit()] {
				c.no(s, `"!" before anything but a plain command`)
			}
		default:
			c.no(s, `"!" before anything but a plain command`)
		}
	}
	if lv == ignoring {
		inner = ignoring
	}
	switch cmd := s.Cmd.(type) {
	case nil:
		if len(s.Redirs) > 0 && !c.inSubst {
			c.no(s, "a redirection without a command")
		}
	case *syntax.CallExpr:
		c.call(cmd)
	case *syntax.BinaryCmd:
		c.binary(s, cmd, lv, inner)
	case *syntax.Block:
		c.stmts(cmd.Stmts, inner)
	case *syntax.IfClause:
		c.ifClause(cmd, inner)
	case *syntax.WhileClause:
		c.stmts(cmd.Cond, ignoring)
		c.stmts(cmd.Do, inner)
	case *syntax.ForClause:
		w, ok := cmd.Loop.(*syntax.WordIter)
		if !ok || cmd.Select {
			c.no(s, `"select" or "for (("`)
			return
		}
		c.assigned(w, w.Name.Value)
		c.words(w.Items)
		c.stmts(cmd.Do, inner)
	case *syntax.CaseClause:
		c.word(cmd.Word, true)
		for _, i := range cmd.Items {
			c.words(i.Patterns)
			c.stmts(i.Stmts, inner)
		}
	case *syntax.TestClause:
		c.test(cmd.X)
	case *syntax.ArithmCmd:
		if cmd.Unsigned {
			c.no(s, "unsigned arithmetic")
		}
		cmd.X = c.arithm(cmd.X)
	case *syntax.DeclClause:
		c.declare(cmd)
	case *syntax.FuncDecl:
		c.function(s, cmd)
	case *syntax.Subshell:
		c.no(s, "a subshell in parentheses")
	case *syntax.CoprocClause:
		c.no(s, "coproc")
	case *syntax.LetClause:
		c.no(s, "let")
	case *syntax.TimeClause:
		c.no(s, "time")
	default:
		c.no(s, "%T", cmd)
	}
}

func (c *checker) ifClause(i *syntax.IfClause, inner level) {
	for ; i != nil; i = i.Else {
		c.stmts(i.Cond, ignoring)
		c.stmts(i.Then, inner)
	}
}

func (c *checker) binary(s *syntax.Stmt, b *syntax.BinaryCmd, lv, inner level) {
	switch b.Op {
	case syntax.AndStmt, syntax.OrStmt:
		c.stmt(b.X, ignoring, ignoring)
		right := inner
		if right == plain {
			right = body
		}
		c.stmt(b.Y, lv, right)
		if b.Op == syntax.AndStmt {
			switch lv {
			case strict:
				c.no(s, `"&&" at the end of a compound command in a function, or at the end of the file`)
			case body:
				s.Cmd = &syntax.IfClause{Position: s.Position, ThenPos: b.OpPos, FiPos: b.OpPos, Cond: []*syntax.Stmt{b.X}, Then: []*syntax.Stmt{b.Y}}
			}
		}
	case syntax.Pipe:
		// The interpreter runs the last command of a pipeline in the shell
		// itself, bash in a subshell: only commands that leave no trace are alike.
		for _, side := range []*syntax.Stmt{b.X, b.Y} {
			if deep, ok := side.Cmd.(*syntax.BinaryCmd); ok && deep.Op == syntax.Pipe && !side.Negated {
				c.stmt(side, lv, inner)
				continue
			}
			call, ok := side.Cmd.(*syntax.CallExpr)
			if !ok || len(call.Args) == 0 || !c.traceless(call.Args[0].Lit()) || side.Negated {
				c.no(side, "a pipeline of anything but plain commands")
				return
			}
			c.stmt(side, lv, inner)
		}
	default:
		c.no(s, "%q", b.Op.String())
	}
}

func (c *checker) traceless(name string) bool {
	return slices.Contains([]string{"echo", "printf", "true", "false", "test", "["}, name) ||
		name != "" && !c.funcs[name] && !bashBuiltins[name]
}

func (c *checker) function(s *syntax.Stmt, d *syntax.FuncDecl) {
	if d.Name == nil || len(d.Names) > 0 {
		c.no(s, "a function without one name")
		return
	}
	name := d.Name.Value
	if bashBuiltins[name] || !syntax.ValidName(strings.NewReplacer("-", "_", ".", "_", ":", "_").Replace(name)) {
		c.no(s, "a function called %q", name)
		return
	}
	b, ok := d.Body.Cmd.(*syntax.Block)
	if !ok || len(d.Body.Redirs) > 0 || d.Body.Negated || c.fn != "" || c.inSubst {
		c.no(s, "the function %q, which is not a plain { … } at the top of the file", name)
		return
	}
	// What a function holds matters only once it is called: one that serves
	// as HOOK is run by bash anyway.
	was := c.err
	c.err = nil
	defer func() {
		if c.err != nil {
			c.bad[name] = c.err
		}
		c.err = was
	}()
	c.fn = name
	if c.calls[name] == nil {
		c.calls[name] = map[string]bool{}
	}
	for _, s := range b.Stmts {
		c.stmt(s, plain, strict)
	}
	c.fn = ""
}

func (c *checker) call(x *syntax.CallExpr) {
	for _, a := range x.Assigns {
		c.assign(a)
	}
	if len(x.Args) == 0 {
		return
	}
	name := x.Args[0].Lit()
	c.words(x.Args)
	if name == "" || strings.ContainsAny(name, "\\~") {
		c.no(x, "a command whose name is not written out")
		return
	}
	if c.fn != "" {
		c.calls[c.fn][name] = true
	}
	known := c.funcs[name] || bashBuiltins[name]
	if len(x.Assigns) > 0 && known {
		c.no(x, "an assignment before %q", name)
	}
	if !bashBuiltins[name] {
		return
	}
	var lits []string
	for _, a := range x.Args[1:] {
		lits = append(lits, literal(a))
	}
	c.builtin(x, name, lits)
}

// builtin checks the words of a command that is built in: x has them as they stand,
// words the literal ones, "" for what is none.
func (c *checker) builtin(x *syntax.CallExpr, name string, words []string) {
	switch name {
	case "true", "false", ":":
	case "break", "continue", "shift":
		if len(words) > 0 {
			c.no(x, "%s with an argument", name)
		}
		if name == "shift" && (c.fn == "" || c.inSubst) {
			c.no(x, "shift outside a function")
		}
	case "echo":
		c.echo(x)
	case "printf":
		if len(words) == 0 || !plainFormat(words[0]) {
			c.no(x, "printf with anything but %%s and %%d in its format")
		}
	case "test", "[":
		if len(words) > 5 {
			c.no(x, "test with more than four arguments")
		}
		for _, l := range words {
			if len(l) > 1 && l[0] == '-' && !testOperators[l] {
				c.no(x, "test %s", l)
			}
		}
	case "set":
		c.set(x, words)
	case "unset":
		c.unset(x, words)
	case "return", "exit":
		c.leave(x, name, words)
	case "source", ".":
		if len(words) != 1 || c.inSubst {
			c.no(x, "%s with arguments, or in a command substitution", name)
		}
	default:
		c.no(x, "%q", name)
	}
}

func (c *checker) echo(x *syntax.CallExpr) {
	for _, a := range x.Args[1:] {
		l := a.Lit()
		if l == "-n" {
			continue
		}
		if strings.HasPrefix(l, "-") {
			c.no(x, "echo %s", l)
		}
		return
	}
}

func (c *checker) set(x *syntax.CallExpr, words []string) {
	for _, l := range words {
		switch l {
		case "-e", "+e", "-u", "+u", "-a", "+a", "-f", "-eu", "-o", "+o", "errexit", "nounset", "allexport", "pipefail":
		default:
			c.no(x, "set %s", l)
		}
	}
	if len(words) == 0 || c.inSubst {
		c.no(x, "set here")
	}
}

func (c *checker) unset(x *syntax.CallExpr, words []string) {
	for i, l := range words {
		if i == 0 && l == "-v" {
			continue
		}
		if !syntax.ValidName(l) || c.funcs[l] {
			c.no(x, "unset %s", l)
			continue
		}
		c.assigned(x, l)
	}
	if c.fn != "" || len(words) == 0 {
		c.no(x, "unset here")
	}
}

// leave checks "return" and "exit".
func (c *checker) leave(x *syntax.CallExpr, name string, words []string) {
	if c.inSubst || name == "return" && c.main && c.fn == "" {
		c.no(x, "%s here", name)
	}
	switch {
	case len(words) == 0:
		// The interpreter returns 0, bash the last command's status.
		x.Args = append(x.Args, &syntax.Word{Parts: []syntax.WordPart{
			&syntax.ParamExp{Dollar: x.Pos(), Short: true, Param: &syntax.Lit{ValuePos: x.Pos(), ValueEnd: x.Pos(), Value: "?"}}}})
	case len(words) > 1 || !digits(words[0]) || len(words[0]) > 3:
		c.no(x, "%s with anything but a number", name)
	}
}

// literal returns a word of plain or quoted text, "" if anything in it is expanded.
func literal(w *syntax.Word) string {
	var b strings.Builder
	var add func([]syntax.WordPart) bool
	add = func(parts []syntax.WordPart) bool {
		for _, p := range parts {
			switch p := p.(type) {
			case *syntax.Lit:
				b.WriteString(p.Value)
			case *syntax.SglQuoted:
				b.WriteString(p.Value)
			case *syntax.DblQuoted:
				if !add(p.Parts) {
					return false
				}
			default:
				return false
			}
		}
		return true
	}
	if !add(w.Parts) {
		return ""
	}
	return b.String()
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func plainFormat(f string) bool {
	if strings.HasPrefix(f, "-") {
		return false
	}
	for i := 0; i < len(f); i++ {
		switch f[i] {
		case '%':
			i++
			if i == len(f) || !strings.ContainsRune("sd%", rune(f[i])) {
				return false
			}
		case '\\':
			i++
			if i == len(f) || !strings.ContainsRune(`nt\`, rune(f[i])) {
				return false
			}
		}
	}
	return f != ""
}

func (c *checker) declare(d *syntax.DeclClause) {
	variant := d.Variant.Value
	switch variant {
	case "export", "readonly":
	case "local":
		if c.fn == "" {
			c.no(d, "local outside a function")
		}
	case "declare", "typeset":
		if c.fn != "" && variant == "typeset" {
			c.no(d, "typeset in a function")
		}
	default:
		c.no(d, "%s", variant)
	}
	local := variant == "local" || c.fn != "" && variant == "declare"
	for _, a := range d.Args {
		if a.Name == nil {
			flag := ""
			if a.Value != nil {
				flag = a.Value.Lit()
			}
			if variant == "export" || variant == "readonly" || flag != "-x" && flag != "-r" && flag != "-a" {
				c.no(d, "%s %s", variant, flag)
			}
			continue
		}
		if a.Naked {
			if local {
				c.no(d, "%s of a name without a value", variant)
			}
			c.assigned(a, a.Name.Value)
			continue
		}
		if a.Append {
			c.no(d, "%s with +=", variant)
		}
		c.assign(a)
	}
	if len(d.Args) == 0 {
		c.no(d, "%s without arguments", variant)
	}
	// A sourced file is run as a function, where a plain declare would be local.
	if variant == "declare" && c.fn == "" && !c.main {
		at := d.Pos()
		d.Args = append([]*syntax.Assign{{Naked: true, Value: &syntax.Word{Parts: []syntax.WordPart{
			&syntax.Lit{ValuePos: at, ValueEnd: at, Value: "-g"}}}}}, d.Args...)
	}
}

func (c *checker) assign(a *syntax.Assign) {
	c.assigned(a, a.Name.Value)
	if a.Index != nil {
		if w, ok := a.Index.(*syntax.Word); !ok || !digits(w.Lit()) || len(w.Lit()) > 4 {
			c.no(a, "an array index that is not a number")
		}
	}
	if a.Value != nil {
		c.word(a.Value, true)
	}
	if a.Array != nil {
		for _, e := range a.Array.Elems {
			if e.Index != nil || e.Value == nil {
				c.no(a, "an array with indices")
				continue
			}
			c.word(e.Value, false)
		}
	}
}

func (c *checker) assigned(at syntax.Node, name string) {
	if special(name) || slices.Contains([]string{"IFS", "PWD", "OLDPWD", "UID", "EUID", "POSIXLY_CORRECT", "GLOBIGNORE", "FUNCNEST", "HOSTNAME"}, name) {
		c.no(at, "an assignment to %s", name)
	}
}

// special tells the variables that bash itself gives a value.
func special(name string) bool {
	if strings.HasPrefix(name, "BASH") || strings.HasPrefix(name, "COMP_") || strings.HasPrefix(name, "EPOCH") || strings.HasPrefix(name, "__arid_") {
		return true
	}
	return slices.Contains([]string{"_", "LINENO", "SECONDS", "RANDOM", "SRANDOM", "PPID", "SHELLOPTS", "PIPESTATUS", "FUNCNAME", "GROUPS", "GID", "DIRSTACK",
		"HOSTTYPE", "MACHTYPE", "OSTYPE", "OPTIND", "OPTARG", "OPTERR", "SHLVL", "PS4", "SHELL", "TERM", "REPLY", "HISTCMD", "MAPFILE", "COPROC"}, name)
}

func (c *checker) words(ws []*syntax.Word) {
	for _, w := range ws {
		c.word(w, false)
	}
}

// word checks a word; braces and tildes are special only in some places.
func (c *checker) word(w *syntax.Word, assignment bool) {
	if w == nil {
		return
	}
	if assignment {
		unescape(w)
	}
	for i, p := range w.Parts {
		if l, ok := p.(*syntax.Lit); ok {
			if !assignment && strings.ContainsRune(l.Value, '{') {
				c.no(l, "a brace outside quotes")
			}
			if i == 0 && strings.HasPrefix(l.Value, "~") && !(l.Value == "~" && len(w.Parts) == 1) && !strings.HasPrefix(l.Value, "~/") ||
				assignment && strings.Contains(l.Value, ":~") {
				c.no(l, `a "~" other than one's own at the beginning`)
			}
		}
		c.part(p)
	}
}

// unescape turns "\ " outside quotes into "' '": where a word is not split the
// interpreter leaves such backslashes in the value.
func unescape(w *syntax.Word) {
	var parts []syntax.WordPart
	for _, p := range w.Parts {
		l, ok := p.(*syntax.Lit)
		if !ok || !strings.Contains(l.Value, `\`) {
			parts = append(parts, p)
			continue
		}
		at, rest := l.Pos(), l.Value
		for rest != "" {
			i := strings.IndexByte(rest, '\\')
			if i < 0 || i == len(rest)-1 {
				break
			}
			if i > 0 {
				parts = append(parts, &syntax.Lit{ValuePos: at, ValueEnd: at, Value: rest[:i]})
			}
			_, n := utf8.DecodeRuneInString(rest[i+1:])
			if c := rest[i+1 : i+1+n]; c != "\n" {
				parts = append(parts, &syntax.SglQuoted{Left: at, Right: at, Value: c})
			}
			rest = rest[i+1+n:]
		}
		if rest != "" {
			parts = append(parts, &syntax.Lit{ValuePos: at, ValueEnd: at, Value: rest})
		}
	}
	w.Parts = parts
}

func (c *checker) part(p syntax.WordPart) {
	switch p := p.(type) {
	case *syntax.Lit:
	case *syntax.SglQuoted:
	case *syntax.DblQuoted:
		if p.Dollar {
			c.no(p, `a translated string $"…"`)
		}
		for _, q := range p.Parts {
			c.part(q)
		}
	case *syntax.ParamExp:
		c.param(p)
	case *syntax.CmdSubst:
		c.subst(p)
	case *syntax.ArithmExp:
		if p.Bracket || p.Unsigned {
			c.no(p, "old arithmetic")
		}
		p.X = c.arithm(p.X)
	case *syntax.ProcSubst:
		c.no(p, "process substitution")
	case *syntax.ExtGlob:
		c.no(p, "an extended pattern")
	default:
		c.no(p, "%T", p)
	}
}

func (c *checker) subst(s *syntax.CmdSubst) {
	if s.TempFile || s.ReplyVar {
		c.no(s, "a foreign command substitution")
	}
	was := c.inSubst
	c.inSubst = true
	c.stmts(s.Stmts, ignoring)
	c.inSubst = was
	if len(s.Stmts) == 0 || len(s.Stmts) == 1 && s.Stmts[0].Cmd == nil {
		return // $(<file)
	}
	for _, st := range s.Stmts {
		if st.Cmd == nil {
			c.no(st, "a redirection without a command")
		}
	}
	// bash turns errexit off in command substitutions, the interpreter does not.
	s.Stmts = append([]*syntax.Stmt{command(s.Pos(), "set", "+e")}, s.Stmts...)
}

// command makes a statement of literal words.
func command(at syntax.Pos, words ...string) *syntax.Stmt {
	x := &syntax.CallExpr{}
	for _, w := range words {
		x.Args = append(x.Args, &syntax.Word{Parts: []syntax.WordPart{&syntax.Lit{ValuePos: at, ValueEnd: at, Value: w}}})
	}
	return &syntax.Stmt{Position: at, Cmd: x}
}

func (c *checker) param(p *syntax.ParamExp) {
	if p.Param == nil || p.Flags != nil || p.NestedParam != nil || p.Excl || p.Names != 0 || p.Width || p.IsSet || p.Split != 0 || p.GlobSubst != 0 || p.RcExpand != 0 || p.Modifiers != nil {
		c.no(p, "an indirect or foreign expansion")
		return
	}
	name := p.Param.Value
	switch {
	case name == "#" || name == "@" || name == "*" || len(name) == 1 && digits(name) && name != "0":
		if p.Length || p.Slice != nil || p.Repl != nil {
			c.no(p, "an expansion of ${%s…}", name)
		}
	case !syntax.ValidName(name) || special(name):
		c.no(p, "$%s", name)
	}
	if p.Index != nil {
		w, ok := p.Index.(*syntax.Word)
		if !ok || w.Lit() != "@" && w.Lit() != "*" && (!digits(w.Lit()) || len(w.Lit()) > 4) {
			c.no(p, "an array index that is not a number")
		}
	}
	if p.Slice != nil {
		for _, x := range []syntax.ArithmExpr{p.Slice.Offset, p.Slice.Length} {
			if w, ok := x.(*syntax.Word); x != nil && (!ok || !decimal(w.Lit()) || p.Index != nil) {
				c.no(p, "a slice by anything but numbers")
			}
		}
	}
	if p.Repl != nil {
		c.replacement(p)
	}
	if p.Exp == nil {
		return
	}
	switch p.Exp.Op {
	case syntax.AlternateUnset, syntax.AlternateUnsetOrNull, syntax.DefaultUnset, syntax.DefaultUnsetOrNull,
		syntax.ErrorUnset, syntax.ErrorUnsetOrNull, syntax.AssignUnset, syntax.AssignUnsetOrNull:
		c.defaultOf(p)
	case syntax.RemSmallPrefix, syntax.RemLargePrefix, syntax.RemSmallSuffix, syntax.RemLargeSuffix:
		c.word(p.Exp.Word, false)
	case syntax.UpperFirst, syntax.UpperAll, syntax.LowerFirst, syntax.LowerAll:
		if p.Exp.Word != nil {
			c.no(p, "a change of case by pattern")
		}
	default:
		c.no(p, "${%s@…}", name)
	}
}

// replacement checks ${NAME/PATTERN/TEXT}.
func (c *checker) replacement(p *syntax.ParamExp) {
	c.word(p.Repl.Orig, false)
	c.word(p.Repl.With, false)
	if p.Repl.With == nil {
		return
	}
	for _, part := range p.Repl.With.Parts {
		switch part := part.(type) {
		case *syntax.Lit:
			if !strings.ContainsAny(part.Value, `&\~`) {
				continue
			}
		case *syntax.SglQuoted, *syntax.DblQuoted:
			continue
		}
		c.no(p, "a replacement that is neither plain nor quoted")
	}
}

// defaultOf checks ${NAME:-WORD} and its like.
func (c *checker) defaultOf(p *syntax.ParamExp) {
	if p.Index != nil {
		c.no(p, "a default for an array")
	}
	if p.Exp.Word == nil {
		return
	}
	for _, part := range p.Exp.Word.Parts {
		if l, ok := part.(*syntax.Lit); ok && strings.Contains(l.Value, `\`) {
			c.no(p, "a backslash within a default")
		}
	}
	c.word(p.Exp.Word, true)
	syntax.Walk(p.Exp.Word, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.SglQuoted:
			c.no(n, "single quotes within a default")
		case *syntax.CmdSubst:
			c.no(n, "a command substitution within a default")
		case *syntax.ArithmExp:
			c.no(n, "arithmetic within a default")
		case *syntax.ParamExp:
			if n.Param != nil {
				c.risky[n.Param.Value] = true
			}
			if n.Exp != nil && (n.Exp.Op == syntax.AssignUnset || n.Exp.Op == syntax.AssignUnsetOrNull || n.Exp.Op == syntax.ErrorUnset || n.Exp.Op == syntax.ErrorUnsetOrNull) {
				c.no(n, "an assignment or an error within a default")
			}
		}
		return true
	})
}

func decimal(s string) bool {
	return digits(s) && len(s) < 19 && (s == "0" || s[0] != '0')
}

// arithm checks an expression. Variables are led through numberCall, which
// stops at values that are no plain integers: bash evaluates those as
// expressions, the interpreter takes them for 0.
func (c *checker) arithm(x syntax.ArithmExpr) syntax.ArithmExpr {
	switch e := x.(type) {
	case nil:
	case *syntax.Word:
		if l := e.Lit(); l != "" && decimal(l) {
			return e
		}
		if c.failing {
			// What numberCall stops at would go on as an empty word.
			c.no(e, "arithmetic on anything but numbers")
			return e
		}
		if l := e.Lit(); l != "" {
			if !syntax.ValidName(l) {
				c.no(e, "the number %s", l)
				return e
			}
			p := &syntax.ParamExp{Dollar: e.Pos(), Short: true, Param: &syntax.Lit{ValuePos: e.Pos(), ValueEnd: e.End(), Value: l}}
			c.param(p)
			return number(p)
		}
		if len(e.Parts) == 1 {
			switch p := e.Parts[0].(type) {
			case *syntax.ParamExp:
				c.param(p)
				return number(p)
			case *syntax.CmdSubst:
				c.subst(p)
				return number(p)
			}
		}
		c.no(e, "arithmetic on anything but numbers and variables")
	case *syntax.ParenArithm:
		e.X = c.arithm(e.X)
	case *syntax.UnaryArithm:
		if e.Op != syntax.Minus && e.Op != syntax.Plus && e.Op != syntax.Not {
			c.no(e, "the arithmetic operator %s", e.Op)
		}
		e.X = c.arithm(e.X)
	case *syntax.BinaryArithm:
		switch e.Op {
		case syntax.Add, syntax.Sub, syntax.Mul, syntax.Eql, syntax.Neq, syntax.Lss, syntax.Gtr, syntax.Leq, syntax.Geq, syntax.AndArit, syntax.OrArit:
		case syntax.Quo, syntax.Rem:
			if w, ok := e.Y.(*syntax.Word); !ok || !decimal(w.Lit()) || w.Lit() == "0" {
				c.no(e, "a division by anything but a number")
			}
		default:
			c.no(e, "the arithmetic operator %s", e.Op)
		}
		e.X, e.Y = c.arithm(e.X), c.arithm(e.Y)
	default:
		c.no(x, "%T", x)
	}
	return x
}

// numberCall is the name of the command that lets a plain integer through.
const numberCall = "__arid_number"

func number(p syntax.WordPart) *syntax.Word {
	s := command(p.Pos(), numberCall)
	call := s.Cmd.(*syntax.CallExpr)
	call.Args = append(call.Args, &syntax.Word{Parts: []syntax.WordPart{&syntax.DblQuoted{Left: p.Pos(), Right: p.Pos(), Parts: []syntax.WordPart{p}}}})
	return &syntax.Word{Parts: []syntax.WordPart{&syntax.CmdSubst{Left: p.Pos(), Right: p.End(), Stmts: []*syntax.Stmt{s}}}}
}

var testOperators = map[string]bool{
	"-e": true, "-f": true, "-d": true, "-r": true, "-w": true, "-x": true, "-s": true, "-L": true, "-h": true, "-z": true, "-n": true,
	"-eq": true, "-ne": true, "-lt": true, "-le": true, "-gt": true, "-ge": true,
}

func (c *checker) test(x syntax.TestExpr) {
	switch e := x.(type) {
	case *syntax.Word:
		c.word(e, true)
	case *syntax.ParenTest:
		c.test(e.X)
	case *syntax.UnaryTest:
		if op := e.Op.String(); op != "!" && !testOperators[op] {
			c.no(e, "[[ %s ]]", op)
		}
		c.test(e.X)
	case *syntax.BinaryTest:
		switch e.Op {
		case syntax.TsMatch, syntax.TsMatchShort, syntax.TsNoMatch, syntax.TsEql, syntax.TsNeq, syntax.TsLeq, syntax.TsGeq, syntax.TsLss, syntax.TsGtr, syntax.AndTest, syntax.OrTest:
		default:
			c.no(e, "[[ %s ]]", e.Op)
		}
		c.test(e.X)
		c.test(e.Y)
	default:
		c.no(x, "%T", x)
	}
}

func (c *checker) redirect(r *syntax.Redirect) {
	fd := ""
	if r.N != nil {
		fd = r.N.Value
	}
	target := r.Word.Lit()
	ok := false
	switch r.Op {
	case syntax.RdrOut, syntax.AppOut, syntax.RdrAll, syntax.AppAll:
		ok = target == "/dev/null" && (fd == "" || fd == "1" || fd == "2")
	case syntax.DplOut:
		ok = (target == "1" || target == "2") && (fd == "" || fd == "1" || fd == "2")
	case syntax.RdrIn, syntax.WordHdoc:
		ok = fd == "" || fd == "0"
		c.word(r.Word, true)
	case syntax.Hdoc, syntax.DashHdoc:
		ok = fd == "" && len(r.Word.Parts) == 1
		if l, is := r.Word.Parts[0].(*syntax.Lit); is && strings.Contains(l.Value, `\`) {
			ok = false
		}
		if r.Hdoc != nil {
			for _, p := range r.Hdoc.Parts {
				c.part(p)
			}
		}
	}
	if !ok {
		c.no(r, "the redirection %s%s%s", fd, r.Op, target)
	}
}

// bashBuiltins are all commands that bash has built in (5.2, compgen -b).
var bashBuiltins = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`. : [ alias bg bind break builtin caller cd command compgen complete compopt continue
		declare dirs disown echo enable eval exec exit export false fc fg getopts hash help history jobs kill let local logout
		mapfile popd printf pushd pwd read readarray readonly return set shift shopt source suspend test times trap true type
		typeset ulimit umask unalias unset wait newgrp nameref foreach noglob nocorrect`) {
		m[w] = true
	}
	return m
}()
