package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// show is a line as the tables below write it: names, and the alias where it is
// not the first of them.
func show(l Line) string {
	s := strings.Join(l.Names, " ")
	if l.Named || l.Alias != l.Names[0] {
		s += " > " + l.Alias
	}
	return s
}

func showAll(d *Domains) []string {
	var list []string
	for _, l := range d.Lines {
		list = append(list, show(l))
	}
	return list
}

func TestDomainsLines(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"\n \n\t\n\r\n", ""},
		{"# a.example\n  # b.example\n\t#c.example\n#", ""},
		{"a.example\n", "a.example"},
		{"a.example", "a.example"},
		{"a.example\nb.example\n", "a.example; b.example"},
		{"a.example\r\n\r\nb.example c.example\r\n# x\r\n", "a.example; b.example c.example"},
		{"a.example\r\r\n", "a.example"},
		{"  a.example\t\tb.example \v c.example\f\n", "a.example b.example c.example"},
		{"A.Example WWW.a.example\n", "a.example www.a.example"},
		{"a.example > Foo_BAR\n", "a.example > foo_bar"},
		{"a.example >x b.example\n", "a.example b.example > x"},
		{"a.example>x\n", "a.example > x"},
		{"> x a.example\n", "a.example > x"},
		{"a.example > x y\n", "a.example y > x"},
		{"a.example >\t x\n", "a.example > x"},
		{"a.example > a.example\n", "a.example > a.example"},
		{"*.a.example > star_a.example\n", "*.a.example > star_a.example"},
		{"a.example *.a.example\n", "a.example *.a.example"},
		{"ip:192.0.2.1\n", "192.0.2.1 > ip:192.0.2.1"},
		{"IP:2001:DB8:0:0:1::1\n", "2001:db8::1:0:0:1 > ip:2001:db8:0:0:1::1"},
		{"ip:2001:db8::1 ip:192.0.2.1 > IP:x\n", "2001:db8::1 192.0.2.1 > ip:x"},
		{"192.0.2.1 a.example\n", "192.0.2.1 a.example"},
		{"Bücher.example\n", "xn--bcher-kva.example"},
		{"a.example > Ü\n", "a.example > Ü"}, // as dehydrated: of ASCII alone
		{"a.example > -x\n", "a.example > -x"},
		{"a.example > ...\n", "a.example > ..."},
		{"a.example b.example > rsa\na.example b.example > ecdsa\na.example b.example\n", "a.example b.example > rsa; a.example b.example > ecdsa; a.example b.example"},
	} {
		d := ParseDomains([]byte(c.text), "domains.txt")
		if got := strings.Join(showAll(d), "; "); got != c.want || len(d.Bad) > 0 || len(d.Warnings) > 0 {
			t.Errorf("%q gives %q with %v %q, want %q", c.text, got, d.Bad, d.Warnings, c.want)
		}
	}
}

func TestDomainsWarnings(t *testing.T) {
	for _, c := range []struct{ text, want, warning string }{
		{"\na.example b.example # note\n", "a.example b.example", `f:2: what follows the "#" is left out as a comment`},
		{"a.example > x #note # more\n", "a.example > x", `f:1: what follows the "#"`},
		{"a.example,b.example\n", "a.example b.example", `f:1: names are separated by blanks; dehydrated takes the comma in "a.example,b.example"`},
		{"a.example, b.example,\n", "a.example b.example", `the comma in "a.example,"`},
		{"\"a.example\"\n", "a.example", `f:1: names have no quotes; dehydrated takes those of "\"a.example\""`},
		{"'a.example b.example'\n", "a.example b.example", `names have no quotes`},
		{"a.example A.example a.example\n", "a.example", `f:1: the name "a.example" stands in the line twice`},
		{"bücher.example xn--bcher-kva.example\n", "xn--bcher-kva.example", `"xn--bcher-kva.example" stands in the line twice`},
		{"a.example *.a.example www.a.example\n", "a.example *.a.example www.a.example", `f:1: "www.a.example" is covered by "*.a.example"`},
		{"a.example \\\n  b.example \\\r\n c.example\nd.example\n", "a.example b.example c.example; d.example", `f:1: goes on in the next line`},
		{"a.example\\\nb.example\n", "a.example b.example", `f:1: goes on`},
		{"a.example > x\\\nb.example\n", "a.example b.example > x", `f:1: goes on`},
		{"a.example > \\\nb.example\n", "", `f:1: goes on`},
		{"a.example \\\n# note\nb.example\n", "a.example; b.example", `f:1: goes on`},
		{"a.example \\\n\nb.example\n", "a.example; b.example", `f:1: goes on`},
		{"a.example \\", "a.example", `f:1: goes on`},
		{"a.example # x \\\nb.example\n", "a.example; b.example", `f:1: what follows`},
		{"# x \\\na.example \\\n", "a.example", `f:2: goes on`},
		{"\ufeffa.example\n", "a.example", `f:1: a byte order mark`},
		{"a.example > it's\n", "a.example > it's", `f:1: the folder's name will be "it's"`},
		{"a.example > #x\n", "a.example > #x", `f:1: the folder's name will be "#x"`},
		{"a.example > x, b.example\n", "a.example b.example > x,", `f:1: the folder's name will be "x,"`},

		{"a.example\n#\nb.example > a.example\n", "a.example; b.example > a.example", `f:3: the alias "a.example" is that of f:1 too: the two`},
		{"a.example b.example > x\nb.example a.example > X\n", "a.example b.example > x; b.example a.example > x", `f:2: the same certificate as in f:1`},
		{"a.example\na.example\n", "a.example; a.example", `f:2: the same certificate as in f:1`},
		{"a.example b.example\nb.example a.example\n", "a.example b.example; b.example a.example", `f:2: the same names as in f:1, in another order`},
	} {
		d := ParseDomains([]byte(c.text), "f")
		if got := strings.Join(showAll(d), "; "); got != c.want && (c.want != "" || len(d.Bad) == 0) {
			t.Errorf("%q gives %q, want %q (%v)", c.text, got, c.want, d.Bad)
		}
		if len(d.Warnings) == 0 || !strings.Contains(d.Warnings[0], c.warning) {
			t.Errorf("%q warns %q, want %q", c.text, d.Warnings, c.warning)
		}
	}
}

func TestDomainsBadLines(t *testing.T) {
	for _, c := range []struct{ text, alias, want string }{
		{"a.example > dir/../x\n", "a.example", `f:1: name "dir/../x": an alias with a slash`},
		{"a.example > /etc\n", "a.example", `f:1: name "/etc": an alias with a slash`},
		{"a.example > ..\n", "a.example", `f:1: name "..": an alias of dots`},
		{"a.example > .\n", "a.example", `f:1: name ".": an alias of dots`},
		{"a.example > *.x\n", "a.example", `begins with "*."`},
		{"a.example > x\x1b[2J\n", "a.example", `a character that cannot be seen`},
		{"a.example > x\ry\n", "a.example", `a character that cannot be seen`},
		{"a.example > x\u202ey\n", "a.example", `a character that cannot be seen`},
		{"a.example > x\xff\n", "a.example", `not UTF-8`},
		{"a.example > " + strings.Repeat("x", 256) + "\n", "a.example", `longer than 255 bytes`},
		{"a.example >\n", "a.example", `f:1: name ">": no alias follows it`},
		{"a.example > # note\n", "a.example", `f:1: name ">": no alias follows it`},
		{"a.example > x > y\n", "x", `f:1: name "y": a second alias in the line`},
		{"a.example >>y\n", "y", `f:1: name ">": no alias follows it`},
		{"a.example >x>y\n", "x", `f:1: name "y": a second alias`},
		{"> x\n", "x", `f:1: name ">x": there is no name`},
		{"\"\"\n", "", `there is no name`},
		{"*.a.example\n", "", `f:1: name "*.a.example": a wildcard cannot name a folder`},
		{"*.a.example a.example\n", "", `a wildcard cannot name a folder`},
		{"*.a.example > *.x\n", "", `begins with "*."`},
		{"\n\na.example b_c.example > x\n", "x", `f:3: name "b_c.example": a name with an underscore`},
		{"a.example \\\n b.example \\\n ../c\n", "a.example", `f:3: name "../c": a name with a slash`},
		{"a.example#note\n", "", `a name with a #`},
		{"a.example\rb.example\n", "", `a line break`},
		{"a.example\x00b\n", "", `a control character`},
		{"a\u00a0b.example\n", "", `a name with a blank`},
		{"\xff.example > x\n", "x", `not UTF-8`},
		{"a.example ip:example.org\n", "a.example", `not an IP address`},
		{strings.Repeat("a.example ", 30_000) + "\n", "", `f:1: the line is longer than 262144 bytes`},
		{strings.Repeat("a.example \\\n", 30_000) + "\n", "", `f:23832: the line is longer than 262144 bytes`},
	} {
		d := ParseDomains([]byte(c.text+"good.example\n"), "f")
		if len(d.Bad) != 1 || !strings.Contains(d.Bad[0].Error(), c.want) || d.Bad[0].Alias != c.alias {
			t.Errorf("%.80q gives %+v, want %q with the alias %q", c.text, d.Bad, c.want, c.alias)
		}
		if got := strings.Join(showAll(d), "; "); got != "good.example" {
			t.Errorf("%.80q leaves %q", c.text, got)
		}
	}
}

func TestDomainsTellsEveryBadName(t *testing.T) {
	d := ParseDomains([]byte("a.example a_.example -b.example\nok.example\n-c.example > x/y\n"), "f")
	var got []string
	for _, e := range d.Bad {
		got = append(got, fmt.Sprintf("%s:%d", e.File, e.Line))
		var name *NameError
		if !errors.As(e, &name) {
			t.Errorf("%v is no *NameError", e)
		}
	}
	if !slices.Equal(got, []string{"f:1", "f:1", "f:3", "f:3"}) || len(d.Lines) != 1 {
		t.Error(d.Bad, d.Lines)
	}
	d = ParseDomains(bytes.Repeat([]byte("a_.example b.example b.example\n"), 1000), "f")
	if len(d.Bad) != 101 || d.Bad[100].Error() != "f: 900 more mistakes" || len(d.Warnings) != 101 || d.Warnings[100] != "f: 900 more warnings" {
		t.Error(len(d.Bad), d.Bad[len(d.Bad)-1], len(d.Warnings), d.Warnings[len(d.Warnings)-1])
	}
}

func TestDomainsThatNeverEnd(t *testing.T) {
	d := ParseDomains(bytes.Repeat([]byte("a.example\n"), maxCertificates+10), "f")
	if len(d.Lines) != maxCertificates || len(d.Bad) != 1 || d.Bad[0].Error() != "f:500000: the lines after 500000 certificates are not read" {
		t.Error(len(d.Lines), d.Bad)
	}
}

func TestDomainsWords(t *testing.T) {
	d := ParseDomains([]byte("A.example IP:2001:DB8:0::1 > X\na.example a.example, \"B.example\"\nb.example > x\n"), "f")
	if got := d.Lines[0].Words; !slices.Equal(got, []string{"a.example", "ip:2001:db8:0::1"}) {
		t.Errorf("%q", got)
	}
	if got := d.Lines[1].Words; !slices.Equal(got, []string{"a.example", "a.example", "b.example"}) {
		t.Errorf("%q", got)
	}
	if got := ParseDomains([]byte("Bücher.example *.Ä.example W.example\n"), "f").Lines[0].Words; !slices.Equal(got, []string{"xn--bcher-kva.example", "*.xn--4ca.example", "w.example"}) {
		t.Errorf("%q", got)
	}
	if d.Lines[0].Twin != "" || d.Lines[2].Twin != "f:1" || !d.Lines[0].Named || d.Lines[1].Named {
		t.Errorf("%+v", d.Lines)
	}
}

func TestReadDomains(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"domains.txt":            "a.example\n\nb.example",
		"domains.txt.d/20.txt":   "d.example > a.example\n",
		"domains.txt.d/10.txt":   "c.example",
		"domains.txt.d/.x.txt":   "hidden.example\n",
		"domains.txt.d/x.conf":   "other.example\n",
		"domains.txt.d/zz.txt/x": "",
		"alone":                  "a.example\n",
		"alone.d":                "a file\n",
	})
	path := filepath.Join(dir, "domains.txt")
	d, err := ReadDomains(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(showAll(d), "; "); got != "a.example; b.example; c.example; d.example > a.example" {
		t.Error(got)
	}
	if l := d.Lines[2]; l.File != path+".d/10.txt" || l.Line != 1 {
		t.Errorf("%+v", l)
	}
	if len(d.Warnings) != 1 || !strings.HasPrefix(d.Warnings[0], path+".d/20.txt:1: the alias \"a.example\" is that of "+path+":1 too") {
		t.Errorf("%q", d.Warnings)
	}
	if len(d.Bad) != 1 || d.Bad[0].Error() != path+".d/zz.txt: is a directory, not a list of names" {
		t.Error(d.Bad)
	}
	if d, err := ReadDomains(filepath.Join(dir, "alone")); err != nil || len(d.Lines) != 1 || len(d.Bad) > 0 {
		t.Error(d, err)
	}
	if d, err := ReadDomains(os.DevNull); err != nil || len(d.Lines) > 0 {
		t.Error(d, err)
	}

	// domains.txt itself must be there, whatever the directory holds.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = ReadDomains(path)
	var e *LineError
	if !errors.As(err, &e) || !errors.Is(err, fs.ErrNotExist) || err.Error() != path+": cannot be read: no such file or directory" {
		t.Error(err)
	}
	if _, err = ReadDomains(dir); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Error(err)
	}
	if _, err = ReadDomains("/dev/zero"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error(err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, maxDomains+1); err != nil {
		t.Fatal(err)
	}
	if _, err = ReadDomains(big); err == nil || !strings.Contains(err.Error(), "larger than 67108864 bytes") {
		t.Error(err)
	}
}

func TestReadDomainsFromPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w.WriteString("a.example\n")
	w.Close()
	d, err := ReadDomains(fmt.Sprintf("/dev/fd/%d", r.Fd()))
	if err != nil || strings.Join(showAll(d), "; ") != "a.example" {
		t.Error(d, err)
	}
	// Nobody writes: that does not hold the run up, and is no empty list.
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := ReadDomains(fifo); err == nil || err.Error() != fifo+": is a pipe that nothing comes out of" {
		t.Error(d, err)
	}
}

var (
	squeeze    = regexp.MustCompile(`[ \t\v\f]+`)
	gluedAlias = regexp.MustCompile(`([^ ])>`)
	aliasWord  = regexp.MustCompile(`>[^ ]+`)
)

// dehydrated reads one line as dehydrated's pipeline does. ok is false where it
// stops with an error.
func dehydrated(line string) (words []string, alias string, ok bool) {
	line = lower(strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\r", ""))
	line = strings.Trim(squeeze.ReplaceAllString(line, " "), " ")
	line = gluedAlias.ReplaceAllString(line, "$1 >")
	line = strings.ReplaceAll(line, "> ", ">")
	if line == "" || line[0] == '#' {
		return nil, "", true
	}
	found := aliasWord.FindAllString(line, -1)
	words = strings.Fields(aliasWord.ReplaceAllString(line, ""))
	switch {
	case len(found) > 1 || len(found) == 1 && strings.Count(found[0], ">") > 1 || len(words) == 0:
		return nil, "", false
	case len(found) == 1:
		alias = found[0][1:]
	default:
		alias = words[0]
	}
	return words, alias, !strings.HasPrefix(alias, "*.")
}

// FuzzDomains: whatever is read without a warning is what dehydrated reads.
func FuzzDomains(f *testing.F) {
	for _, s := range []string{
		"a.example b.example > x\r\n# c\n\n*.a.example >y\n", "ip:2001:DB8::1\nIP:192.0.2.1 a.example", "> x a.example > y\na.example>x\n>",
		"a.example, 'b.example'\na.example # c\na.example \\\nb.example\n", "a > ../x\na_ > b\n\"a\"\n", "bücher.example Ä.example\n\ufeffa",
		"a b\nb a\na > b\n*.a b.a > c\n", "a\v>\f\tB\\\n\\\n# \\\n", "a>>b\na > > b\n>a>b c\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := ParseDomains([]byte(text), "f")
		physical := strings.SplitAfter(text, "\n")
		last := 0
		for _, l := range d.Lines {
			if l.File != "f" || l.Line <= last || l.Line > len(physical) {
				t.Fatalf("%q: line %d after %d", text, l.Line, last)
			}
			last = l.Line
			if why := badAlias(l.Alias); why != "" || l.Alias != filepath.Base(l.Alias) || lower(l.Alias) != l.Alias {
				t.Fatalf("%q: alias %q: %s", text, l.Alias, why)
			}
			seen := map[string]bool{}
			for _, n := range l.Names {
				if c, err := CanonicalName(n); err != nil || c != n || seen[n] {
					t.Fatalf("%q: name %q: %q, %v", text, n, c, err)
				}
				seen[n] = true
			}
			if len(l.Names) == 0 || len(l.Words) < len(l.Names) {
				t.Fatalf("%q: %+v", text, l)
			}
			again := ParseDomains([]byte(strings.Join(l.Words, " ")+" > "+l.Alias), "g")
			if len(again.Lines) != 1 || !slices.Equal(again.Lines[0].Names, l.Names) || again.Lines[0].Alias != l.Alias {
				t.Fatalf("%q: %+v is read again as %+v", text, l, again)
			}
			told := slices.ContainsFunc(d.Warnings, func(w string) bool { return strings.HasPrefix(w, fmt.Sprintf("f:%d: ", l.Line)) })
			if told || d.warningsMore > 0 {
				continue
			}
			words, alias, ok := dehydrated(physical[l.Line-1])
			if !ok || len(words) != len(l.Words) {
				t.Fatalf("%q: %q, dehydrated's %q (%v)", text, l.Words, words, ok)
			}
			// Other letters, and an address without "ip:", have never worked there.
			for i, word := range words {
				if word != l.Words[i] && (isASCII(word) || !isASCII(l.Words[i])) {
					t.Fatalf("%q: %q, dehydrated's %q", text, l.Words, words)
				}
			}
			works := isASCII(words[0]) && (strings.HasPrefix(words[0], "ip:") || !strings.Contains(words[0], ":"))
			if alias != l.Alias && (l.Named || works) {
				t.Fatalf("%q: alias %q, dehydrated's %q", text, l.Alias, alias)
			}
		}
		if len(d.Lines) == 0 && len(d.Bad) == 0 {
			for _, line := range physical {
				if words, _, _ := dehydrated(line); len(words) > 0 && len(d.Warnings) == 0 {
					t.Fatalf("%q: nothing read, and nothing said of %q", text, words)
				}
			}
		}
		for _, e := range d.Bad {
			if e.File == "" || !strings.HasPrefix(e.Error(), "f") || e.Line > len(physical) || strings.ContainsAny(e.Error(), "\n\r\x1b") {
				t.Fatalf("%q: %q", text, e.Error())
			}
		}
		if strings.ContainsAny(strings.Join(d.Warnings, ""), "\n\r\x1b") {
			t.Fatalf("%q: %q", text, d.Warnings)
		}
	})
}

func BenchmarkDomains(b *testing.B) {
	var text bytes.Buffer
	for i := range 10_000 {
		fmt.Fprintf(&text, "host%d.example.org www.host%d.example.org mail.host%d.example.org > site_%d\n", i, i, i, i)
	}
	for b.Loop() {
		if d := ParseDomains(text.Bytes(), "domains.txt"); len(d.Lines) != 10_000 || len(d.Warnings) > 0 {
			b.Fatal(d.Bad, d.Warnings)
		}
	}
}

// FuzzCanonical: the short way to a name's form and the long one agree.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"a.example", "a-b.c1.2d", "1.2.3.4", "a.1", "a--b.c", "xn--a.b", "-a.b", "a-.b", "a.b-", "a..b", ".a", "a.", "", "-", "ab--c.d", strings.Repeat("a", 64), strings.Repeat("a", 64) + ".b", strings.Repeat("a.", 127)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got, err := CanonicalName(name); canonical(name) && (err != nil || got != name) {
			t.Errorf("%q is canonical, and %q, %v", name, got, err)
		}
	})
}
