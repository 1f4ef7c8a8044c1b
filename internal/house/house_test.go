// The rules of the house, held against the code: docs/architecture.md says which
// rooms there are and what each may import, docs/dependencies.md what is linked.
// It stands apart from main, so that it speaks up while the rest does not build.
package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "arid"

// outside names the modules as the rank table does.
var outside = map[string]string{
	"cobra":         "github.com/spf13/cobra",
	"color":         "github.com/fatih/color",
	"go-jose":       "github.com/go-jose/go-jose/v4",
	"go-proxyproto": "github.com/pires/go-proxyproto",
	"go-systemd":    "github.com/coreos/go-systemd/v22",
	"miekg/dns":     "github.com/miekg/dns",
	"mvdan.cc/sh":   "mvdan.cc/sh/v3",
	"pflag":         "github.com/spf13/pflag",
	"pebble":        "github.com/letsencrypt/pebble/v2",
	"x/crypto":      "golang.org/x/crypto",
	"x/net":         "golang.org/x/net",
	"x/sys":         "golang.org/x/sys",
	"x/term":        "golang.org/x/term",
}

const (
	rankTests = -2 // imported by tests alone
	rankBelow = -1 // imported by every room
)

func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil { // the repository
		panic(err)
	}
	os.Exit(m.Run())
}

// room is one line of the rank table.
type room struct {
	rank    int
	ours    []string // rooms it may import
	modules []string // modules it may import
}

func TestImports(t *testing.T) {
	rooms := readRanks(t)
	for _, p := range listPackages(t) {
		name := roomOf(p.ImportPath)
		if notRoom(name) {
			continue
		}
		r, ok := rooms[name]
		if !ok {
			t.Errorf("room %q is missing from the rank table of docs/architecture.md", name)
			continue
		}
		for _, path := range p.Imports {
			switch ours, isOurs := strings.CutPrefix(path, module+"/"); {
			case isOurs && (slices.Contains(r.ours, ours) || rooms[ours].rank == rankBelow):
			case isOurs:
				t.Errorf("%s imports %s, and the rank table does not let it", name, path)
			case isStandard(path) || withinAny(path, r.modules):
			default:
				t.Errorf("%s imports %s, and the rank table does not let it", name, path)
			}
		}
		for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
			ours, isOurs := strings.CutPrefix(path, module+"/")
			if !isOurs || ours == name {
				continue
			}
			if rooms[ours].rank >= r.rank && r.rank >= 0 {
				t.Errorf("a test of %s imports %s, which is not below it", name, path)
			}
			if r.rank == rankTests {
				t.Errorf("a test of %s imports %s: it must stand on the RFC alone", name, path)
			}
		}
	}
}

func TestRanks(t *testing.T) {
	rooms := readRanks(t)
	for name, r := range rooms {
		for _, below := range r.ours {
			b, ok := rooms[below]
			if !ok {
				t.Errorf("%s may import %q, of which the rank table knows nothing", name, below)
			} else if b.rank >= r.rank || b.rank == rankTests {
				t.Errorf("%s (rank %d) may not import %s (rank %d)", name, r.rank, below, b.rank)
			}
		}
	}
}

func TestMap(t *testing.T) {
	rooms := readRanks(t)
	toCome := map[string]bool{}
	for line := range strings.Lines(readBlock(t, "docs/architecture.md", "## Rooms")) {
		name, text, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		name = strings.TrimSuffix(strings.TrimSuffix(name, "/"), ".go")
		toCome[name] = strings.HasPrefix(strings.TrimSpace(text), "(to come)")
	}
	if len(toCome) < 10 {
		t.Fatalf("only %d rooms read from the map", len(toCome))
	}
	built := map[string]bool{}
	for _, p := range listPackages(t) {
		if name := roomOf(p.ImportPath); !notRoom(name) && len(p.GoFiles) > 0 {
			built[name] = true
		}
	}
	for name := range built {
		if planned, ok := toCome[name]; !ok {
			t.Errorf("room %q is missing from the map", name)
		} else if planned {
			t.Errorf("room %q is marked as to come, and is there", name)
		}
	}
	for name, planned := range toCome {
		if !planned && !built[name] {
			t.Errorf("room %q is on the map, and not there", name)
		}
		if _, ok := rooms[name]; !ok {
			t.Errorf("room %q is on the map, and has no rank", name)
		}
	}
	for name := range rooms {
		if _, ok := toCome[name]; !ok {
			t.Errorf("room %q has a rank, and is not on the map", name)
		}
	}
}

// What of the standard library is left to which rooms.
func TestProcessBelongsToMain(t *testing.T) {
	allowed := map[string][]string{
		"os.Exit": {"main"}, "os.Args": {"main"}, "os.Stdin": {"main"}, "os.Stdout": {"main"}, "os.Stderr": {"main"},
		"os.Environ": {"main"}, "os.Getenv": {"main"}, "os.ExpandEnv": nil,
		"os.LookupEnv": {"main", "rehearse"}, "os.Setenv": {"rehearse"}, "os.Unsetenv": {"rehearse"}, "os.Clearenv": nil,
		"os.Chdir":  nil,
		"fmt.Print": nil, "fmt.Printf": nil, "fmt.Println": nil,
		"log.Print": nil, "log.Printf": nil, "log.Println": nil, "log.Default": nil,
		"log.Fatal": nil, "log.Fatalf": nil, "log.Fatalln": nil, "log.Panic": nil, "log.Panicf": nil, "log.Panicln": nil,
	}
	for _, p := range listPackages(t) {
		name := roomOf(p.ImportPath)
		if notRoom(name) {
			continue
		}
		for _, file := range p.GoFiles {
			files := token.NewFileSet()
			f, err := parser.ParseFile(files, filepath.Join(p.Dir, file), nil, 0)
			if err != nil {
				t.Error(err)
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				x, ok := s.X.(*ast.Ident)
				if !ok || x.Obj != nil { // a variable of that name
					return true
				}
				what := x.Name + "." + s.Sel.Name
				if rooms, ruled := allowed[what]; ruled && !slices.Contains(rooms, name) {
					t.Errorf("%s: %s is not for %s", files.Position(s.Pos()), what, name)
				}
				return true
			})
		}
	}
}

func TestFormat(t *testing.T) {
	for _, file := range files(t, ".go") {
		source := read(t, file)
		if want, err := format.Source(source); err != nil {
			t.Errorf("%s: %v", file, err)
		} else if !bytes.Equal(source, want) {
			t.Errorf("%s is not as gofmt has it", file)
		}
	}
}

// Example hooks are POSIX sh; our own scripts are what their first line says.
func TestShell(t *testing.T) {
	scripts := slices.Concat(files(t, ".sh"), files(t, ".bash"), files(t, ".bats"))
	for _, extra := range []string{".ci/run"} {
		if _, err := os.Stat(extra); err == nil {
			scripts = append(scripts, extra)
		}
	}
	for _, file := range scripts {
		first, _, _ := strings.Cut(string(read(t, file)), "\n")
		dialect := "bash"
		switch {
		case strings.HasSuffix(file, ".bats"):
			dialect = "bats"
		case strings.HasPrefix(file, "examples/hooks/"), strings.HasPrefix(first, "#!/bin/sh"):
			dialect = "sh"
		}
		t.Run(file, func(t *testing.T) {
			if dialect == "sh" {
				run(t, "dash", "-n", file)
			}
			severity := "style"
			if dialect == "bats" { // each test is a subshell, and an inner script is quoted
				severity = "warning"
			}
			run(t, "shellcheck", "-x", "-S", severity, "-s", dialect, file)
		})
	}
}

func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range files(t, ".md") {
		for _, m := range link.FindAllStringSubmatch(string(read(t, page)), -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %v", page, err)
			} else if u.Scheme == "" && u.Path != "" {
				if _, err := os.Stat(filepath.Join(filepath.Dir(page), u.Path)); err != nil {
					t.Errorf("%s links to %s: %v", page, m[1], err)
				}
			}
		}
	}
}

// README.md is the way to every page, and tells how to build and to test.
func TestReadme(t *testing.T) {
	text := string(read(t, "README.md"))
	for _, page := range files(t, ".md") {
		if strings.HasPrefix(page, "docs/") && !strings.Contains(text, "("+page+")") {
			t.Errorf("README.md does not link to %s", page)
		}
	}
	for _, words := range []string{"make demo", "make test"} {
		if !strings.Contains(text, words) {
			t.Errorf("README.md does not mention %q", words)
		}
	}
}

// docs/dependencies.md names what is linked into the binary, with versions.
func TestDependencies(t *testing.T) {
	page := string(read(t, "docs/dependencies.md"))
	row := regexp.MustCompile("(?m)^\\| `([^` ]+)` \\| (v[^ |]+) \\|")
	told := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(page, -1) {
		told[m[1]] = m[2]
	}
	linked := map[string]string{}
	for line := range strings.Lines(output(t, "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", ".")) {
		if path, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			linked[path] = version
		}
	}
	for path, version := range linked {
		if told[path] != version {
			t.Errorf("linked: %s %s; docs/dependencies.md has %q", path, version, told[path])
		}
	}
	for path := range told {
		if _, ok := linked[path]; !ok {
			t.Errorf("docs/dependencies.md has %s, which is not linked", path)
		}
	}
	count := regexp.MustCompile(`(\d+) modules are linked`).FindStringSubmatch(page)
	if count == nil || count[1] != strconv.Itoa(len(linked)) {
		t.Errorf("%d modules are linked; docs/dependencies.md says %q", len(linked), count)
	}
}

// readRanks reads the rank table of docs/architecture.md.
func readRanks(t *testing.T) map[string]room {
	t.Helper()
	rooms := map[string]room{}
	for line := range strings.Lines(section(t, "docs/architecture.md", "## Ranks")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		var r room
		switch rank, err := strconv.Atoi(cells[0]); {
		case err == nil:
			r.rank = rank
		case cells[0] == "below":
			r.rank = rankBelow
		case cells[0] == "tests":
			r.rank = rankTests
		default:
			continue // the head
		}
		r.ours = words(cells[2])
		for _, word := range words(cells[3]) {
			path, ok := outside[word]
			if !ok {
				t.Errorf("rank table: %s: no module is called %q", cells[1], word)
			}
			r.modules = append(r.modules, path)
		}
		rooms[cells[1]] = r
	}
	if len(rooms) < 10 {
		t.Fatalf("only %d rooms read from the rank table", len(rooms))
	}
	for name, r := range rooms {
		if slices.Equal(r.ours, []string{"all below"}) {
			r.ours = nil
			for _, below := range slices.Sorted(maps.Keys(rooms)) {
				if rooms[below].rank < r.rank && rooms[below].rank >= 0 {
					r.ours = append(r.ours, below)
				}
			}
			rooms[name] = r
		}
	}
	return rooms
}

// words splits a cell of the rank table at its commas; "–" is none.
func words(cell string) []string {
	if cell == "–" {
		return nil
	}
	return strings.Split(cell, ", ")
}

// section is the text under one heading of a page.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	_, text, ok := strings.Cut(string(read(t, page)), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s: no %q", page, heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// readBlock is the first fenced block under one heading of a page.
func readBlock(t *testing.T, page, heading string) string {
	t.Helper()
	parts := strings.SplitN(section(t, page, heading), "```\n", 3)
	if len(parts) < 3 {
		t.Fatalf("%s: no block under %q", page, heading)
	}
	return parts[1]
}

// listed is what we need of `go list`.
type listed struct {
	ImportPath, Dir                             string
	GoFiles, Imports, TestImports, XTestImports []string
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(output(t, "go", "list", "-e", "-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports", "./...")))
	var all []listed
	for {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func roomOf(importPath string) string {
	if importPath == module {
		return "main"
	}
	return strings.TrimPrefix(importPath, module+"/")
}

// notRoom tells this package and the programs for the tests from the rooms.
func notRoom(name string) bool { return name == "internal/house" || strings.HasPrefix(name, "tests/") }

func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func withinAny(path string, modules []string) bool {
	return slices.ContainsFunc(modules, func(m string) bool { return path == m || strings.HasPrefix(path, m+"/") })
}

// files lists ours with the given ending, build products and the corpora of
// fuzzing aside.
func files(t *testing.T, ending string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (path == ".git" || path == "build" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, ending) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// run checks with a tool. Where the tool is missing, a bare `go test` skips the
// check; under `make test` (ARID_TEST_ALL set) that is a failure.
func run(t *testing.T, tool string, args ...string) {
	t.Helper()
	out, err := exec.Command(tool, args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) && os.Getenv("ARID_TEST_ALL") == "" {
		t.Skipf("%s is not installed", tool)
	}
	if err != nil {
		t.Errorf("%s: %v\n%s", tool, err, out)
	}
}

func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	c := exec.Command(program, args...)
	c.Stderr = new(bytes.Buffer)
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, c.Stderr)
	}
	return string(out)
}
