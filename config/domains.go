package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds on domains.txt. A line of the longest names has room for a thousand.
const (
	maxDomains      = 64 << 20  // bytes of a file
	maxLine         = 256 << 10 // with what goes on after a backslash
	maxCertificates = 500_000
	maxTold         = 100 // mistakes, and warnings, that are told one by one
)

// Domains is what domains.txt asks for.
type Domains struct {
	Lines    []Line
	Bad      []*LineError // the other lines stand
	Warnings []string     // each with file and line: what dehydrated would take otherwise, or silently

	badMore, warningsMore int
}

// Aliases are the certificates that a line is for, good or bad.
func (d *Domains) Aliases() map[string]bool {
	all := map[string]bool{}
	for _, line := range d.Lines {
		all[line.Alias] = true
	}
	for _, b := range d.Bad {
		all[b.Alias] = true
	}
	return all
}

// Line is one certificate of domains.txt.
type Line struct {
	File  string
	Line  int      // the first, where it goes on after a backslash
	Names []string // canonical, the primary name first, none twice
	Words []string // the names as dehydrated hands them on: in lower case, with "ip:", repeated ones too; other letters as A-labels
	Alias string   // the folder: the alias, else the primary name
	Named bool     // the alias is written there
	Twin  string   // FILE:LINE of the first line with the same alias, if an earlier one has it; those two would undo each other
}

// LineError is a line of domains.txt that cannot be used, or a file that cannot
// be read. Err is a *NameError where it is a word that is wrong.
type LineError struct {
	File  string
	Line  int    // 0: the file
	Alias string // of the certificate that the line is meant for; "": not known
	Err   error
}

func (e *LineError) Error() string { return where(e.File, e.Line) + ": " + e.Err.Error() }

func (e *LineError) Unwrap() error { return e.Err }

func where(file string, line int) string { return Origin{File: file, Line: line}.String() }

// ReadDomains reads domains.txt, which must be there, and then the files *.txt of
// the directory that is called like it with ".d" after it, in the order of their
// names. What is wrong in them is in the Domains; the error is a *LineError, and
// says that domains.txt itself cannot be read.
func ReadDomains(path string) (*Domains, error) {
	text, err := readText(path)
	if err != nil {
		return nil, &LineError{File: path, Err: err}
	}
	d := &Domains{}
	d.parse(text, path)
	files, err := companions(path + ".d")
	if err != nil {
		d.bad(&LineError{File: path + ".d", Err: err})
	}
	for _, file := range files {
		text, err := readText(file)
		if err != nil {
			d.bad(&LineError{File: file, Err: err})
			continue
		}
		d.parse(text, file)
	}
	d.end(path)
	return d, nil
}

// ParseDomains reads text of the form of domains.txt. Messages call it file.
func ParseDomains(data []byte, file string) *Domains {
	d := &Domains{}
	d.parse(string(data), file)
	d.end(file)
	return d
}

// companions lists dir/*.txt as a shell would, bytewise sorted.
func companions(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", plainPathError(err))
	}
	var files []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".txt") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

// readText reads a whole file, or what a pipe (<(…) of a shell) holds.
func readText(path string) (string, error) {
	// Not blocking: a FIFO would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", plainPathError(err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot be read: %w", plainPathError(err))
	case info.IsDir():
		return "", errors.New("is a directory, not a list of names")
	case info.Mode()&fs.ModeNamedPipe != 0:
		f.SetReadDeadline(time.Now().Add(time.Minute))
	case !info.Mode().IsRegular() && path != os.DevNull:
		return "", errors.New("is not a regular file")
	}
	var b strings.Builder
	if info.Size() <= maxDomains {
		b.Grow(int(info.Size()))
		_, err = io.Copy(&b, io.LimitReader(f, maxDomains+1))
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot be read: %w", plainPathError(err))
	case info.Size() > maxDomains, b.Len() > maxDomains:
		return "", fmt.Errorf("is larger than %d bytes", maxDomains)
	case b.Len() == 0 && info.Mode()&fs.ModeNamedPipe != 0:
		// Nobody has opened it to write, or what should write has failed.
		return "", errors.New("is a pipe that nothing comes out of")
	}
	return b.String(), nil
}

func (d *Domains) bad(e *LineError) {
	if len(d.Bad) >= maxTold {
		d.badMore++
		return
	}
	d.Bad = append(d.Bad, e)
}

func (d *Domains) warn(file string, line int, format string, a ...any) {
	if len(d.Warnings) >= maxTold {
		d.warningsMore++
		return
	}
	d.Warnings = append(d.Warnings, where(file, line)+": "+fmt.Sprintf(format, a...))
}

// end is called when all files were read; file is the one to name for them all.
func (d *Domains) end(file string) {
	d.compare()
	if d.badMore > 0 {
		d.Bad = append(d.Bad, &LineError{File: file, Err: fmt.Errorf("%d more mistakes", d.badMore)})
	}
	if d.warningsMore > 0 {
		d.Warnings = append(d.Warnings, fmt.Sprintf("%s: %d more warnings", file, d.warningsMore))
	}
}

// token is a word of domains.txt: a name, or ">" and an alias.
type token struct {
	text string
	line int
}

// entry is one certificate's words as they are collected.
type entry struct {
	file   string
	line   int
	size   int
	tokens []token
	wrong  bool // told already
}

// parse reads one file.
func (d *Domains) parse(text, file string) {
	text, marked := strings.CutPrefix(text, "\ufeff")
	if marked {
		d.warn(file, 1, "a byte order mark, which dehydrated takes for part of the first name")
	}
	seen := map[string]bool{}
	e := entry{file: file}
	n := 0
	for line := range strings.Lines(text) {
		n++
		if len(e.tokens) == 0 {
			e.line = n
		}
		if d.collect(&e, line, n) {
			continue
		}
		d.add(&e, seen)
		e = entry{file: file, tokens: e.tokens[:0]}
		if len(seen) > 1000 { // one long line would make every other one slow
			seen = map[string]bool{}
		}
		if len(d.Lines) >= maxCertificates {
			d.bad(&LineError{File: file, Line: n, Err: fmt.Errorf("the lines after %d certificates are not read", maxCertificates)})
			return
		}
	}
	d.add(&e, seen) // after a backslash at the very end
}

// blanks are what dehydrated's tools take for blanks in any locale. It deletes
// every CR; one inside a line is no blank here, but an error in a name.
const blanks = " \t\v\f"

// collect takes the words of one line, and tells whether the next one belongs to
// it.
func (d *Domains) collect(e *entry, line string, n int) (more bool) {
	line = strings.Trim(line, blanks+"\r\n")
	if line == "" || line[0] == '#' {
		return false
	}
	e.size += len(line)
	if e.size > maxLine {
		if !e.wrong {
			d.bad(&LineError{File: e.file, Line: n, Err: fmt.Errorf("the line is longer than %d bytes", maxLine)})
		}
		e.wrong = true
		return strings.HasSuffix(line, `\`)
	}
	for line != "" {
		if line[0] == '#' {
			d.warn(e.file, n, `what follows the "#" is left out as a comment; dehydrated takes it for names`)
			return false
		}
		var word string
		word, line = cutWord(line)
		if line == "" && strings.HasSuffix(word, `\`) {
			d.warn(e.file, n, "goes on in the next line, which dehydrated does not know")
			more, word = true, strings.TrimRight(strings.TrimSuffix(word, `\`), blanks)
		}
		if word != "" {
			e.tokens = append(e.tokens, token{word, n})
		}
	}
	return more
}

// cutWord takes the first word off a line. A ">" ends the word before it, and
// takes the word after it to itself.
func cutWord(line string) (word, rest string) {
	if line[0] == '>' {
		alias := strings.TrimLeft(line[1:], blanks)
		end := strings.IndexAny(alias, blanks+">")
		if end < 0 {
			end = len(alias)
		}
		return ">" + alias[:end], strings.TrimLeft(alias[end:], blanks)
	}
	end := strings.IndexAny(line, blanks+">")
	if end < 0 {
		end = len(line)
	}
	return line[:end], strings.TrimLeft(line[end:], blanks)
}

// add makes a Line of what was collected, or tells why it is none. seen is room
// to work in.
func (d *Domains) add(e *entry, seen map[string]bool) {
	if e.wrong || len(e.tokens) == 0 {
		return
	}
	l := Line{File: e.file, Line: e.line}
	refused := d.alias(e, &l)
	refused = append(refused, d.names(e, &l, seen)...)
	switch {
	case len(refused) > 0:
	case len(l.Names) == 0:
		refused = append(refused, &LineError{Line: e.line, Err: &NameError{e.tokens[0].text, "there is no name in the line"}})
	case !l.Named && strings.HasPrefix(l.Names[0], "*."):
		refused = append(refused, &LineError{Line: e.line, Err: &NameError{l.Names[0], `a wildcard cannot name a folder: put a plain name first, or add "> ALIAS"`}})
	}
	if !l.Named && len(l.Names) > 0 && !strings.HasPrefix(l.Names[0], "*.") {
		l.Alias = l.Names[0]
		if strings.HasPrefix(l.Words[0], "ip:") {
			l.Alias = l.Words[0]
		}
	}
	for _, r := range refused {
		r.File, r.Alias = e.file, l.Alias
		d.bad(r)
	}
	if len(refused) == 0 {
		d.Lines = append(d.Lines, l)
	}
}

// alias fills in the alias that is written in the line.
func (d *Domains) alias(e *entry, l *Line) (refused []*LineError) {
	for _, t := range e.tokens {
		if t.text[0] != '>' {
			continue
		}
		alias, why := lower(t.text[1:]), ""
		switch {
		case alias == "" || alias == "#":
			alias, why = ">", "no alias follows it"
		case l.Named:
			why = "a second alias in the line"
		default:
			why = badAlias(alias)
		}
		if why != "" {
			refused = append(refused, &LineError{Line: t.line, Err: &NameError{alias, why}})
			continue
		}
		l.Alias, l.Named = alias, true
		if strings.ContainsAny(alias, `,"'#\`) {
			d.warn(e.file, t.line, "the folder's name will be %q, as the alias has it", alias)
		}
	}
	return refused
}

// badAlias says why a word cannot name a folder.
func badAlias(alias string) string {
	unfit := func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }
	switch {
	case strings.Contains(alias, "/"):
		return "an alias with a slash: it names a folder, not a path"
	case alias == "" || alias == "." || alias == "..":
		return "an alias of dots cannot name a folder"
	case strings.HasPrefix(alias, "*."):
		return `an alias that begins with "*."`
	case len(alias) > 255:
		return "an alias longer than 255 bytes"
	case !utf8.ValidString(alias):
		return "an alias that is not UTF-8"
	case strings.ContainsFunc(alias, unfit):
		return "an alias with a character that cannot be seen"
	}
	return ""
}

// names fills in the names.
func (d *Domains) names(e *entry, l *Line, seen map[string]bool) (refused []*LineError) {
	clear(seen)
	l.Names, l.Words = make([]string, 0, len(e.tokens)), make([]string, 0, len(e.tokens))
	var commas, quotes, repeated, wildcards bool
	for _, t := range e.tokens {
		if t.text[0] == '>' {
			continue
		}
		if strings.Contains(t.text, ",") && !commas {
			commas = true
			d.warn(e.file, t.line, "names are separated by blanks; dehydrated takes the comma in %q for part of a name", cut(t.text))
		}
		for word := range strings.SplitSeq(t.text, ",") {
			bare := strings.Trim(word, `"'`)
			if bare != word && !quotes {
				quotes = true
				d.warn(e.file, t.line, "names have no quotes; dehydrated takes those of %q for part of the name", cut(word))
			}
			if bare == "" {
				continue
			}
			name := bare
			if !canonical(name) {
				var err error
				if name, err = CanonicalName(bare); err != nil {
					refused = append(refused, &LineError{Line: t.line, Err: err})
					continue
				}
			}
			l.Words = append(l.Words, handed(bare, name))
			if seen[name] {
				if !repeated {
					d.warn(e.file, t.line, "the name %q stands in the line twice", name)
				}
				repeated = true
				continue
			}
			seen[name] = true
			wildcards = wildcards || name[0] == '*'
			l.Names = append(l.Names, name)
		}
	}
	if wildcards {
		d.covered(l, seen)
	}
	return refused
}

// handed is a name as hooks get it. One with other letters than ASCII's, which
// dehydrated does not know, they get as they get its challenges.
func handed(word, name string) string {
	if strings.ContainsFunc(word, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return name
	}
	return lower(word)
}

// covered warns of a name beside a wildcard that holds for it too.
func (d *Domains) covered(l *Line, seen map[string]bool) {
	for _, name := range l.Names {
		_, parent, _ := strings.Cut(name, ".")
		if name[0] != '*' && seen["*."+parent] {
			d.warn(l.File, l.Line, "%q is covered by %q, and Let's Encrypt refuses the two together", name, "*."+parent)
			return
		}
	}
}

// compare looks for lines that stand in each other's way.
func (d *Domains) compare() {
	aliases := make(map[string]int, len(d.Lines))
	sets := map[string]int{}
	for i := range d.Lines {
		l := &d.Lines[i]
		if first, ok := aliases[l.Alias]; ok {
			f := d.Lines[first]
			l.Twin = where(f.File, f.Line)
			if sameNames(f.Names, l.Names) {
				d.warn(l.File, l.Line, "the same certificate as in %s", l.Twin)
			} else {
				d.warn(l.File, l.Line, "the alias %q is that of %s too: the two certificates would replace each other", l.Alias, l.Twin)
			}
			continue
		}
		aliases[l.Alias] = i
		// Two aliases for the same names are how one has keys of two types.
		if l.Named || len(l.Names) < 2 {
			continue
		}
		set := strings.Join(slices.Sorted(slices.Values(l.Names)), " ")
		if first, ok := sets[set]; ok {
			f := d.Lines[first]
			d.warn(l.File, l.Line, "the same names as in %s, in another order", where(f.File, f.Line))
			continue
		}
		sets[set] = i
	}
}

func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// canonical tells most names that are canonical as they stand: CanonicalName, which
// looks at addresses and at every script, would say so too and takes longer.
func canonical(name string) bool {
	label, letter := 0, false // where the label begins; whether it has a letter
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z':
			letter = true
		case c >= '0' && c <= '9':
		case c == '-' && i > label && name[i-1] != '-':
		case c == '.' && i > label && i-label <= 63 && name[i-1] != '-':
			label, letter = i+1, false
		default:
			return false
		}
	}
	return letter && len(name) <= 253 && len(name)-label <= 63 && name[len(name)-1] != '-'
}

// lower is lower case as dehydrated has it: of ASCII alone.
func lower(s string) string {
	var b []byte
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			if b == nil {
				b = []byte(s)
			}
			b[i] += 'a' - 'A'
		}
	}
	if b == nil {
		return s
	}
	return string(b)
}
