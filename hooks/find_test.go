package hooks

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	for _, d := range []string{bin, filepath.Join(dir, "bin2", "isdir"), filepath.Join(dir, "bin3")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string, mode fs.FileMode) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("bin/good", "#!/bin/sh\n", 0o755)
	write("bin/my hook", "#!/bin/sh\n", 0o755)
	write("bin2/plain", "#!/bin/sh\n", 0o644)
	write("bin3/plain", "#! /bin/sh -e\n", 0o755)
	write("here", "echo no shebang\n", 0o755)
	write("lost", "#!/no/such/interpreter -x\n", 0o755)
	write("dos", "#!/bin/sh\r\nexit 0\r\n", 0o755)
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("bin/good", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}

	path := bin + ":" + dir + "/bin2:" + dir + "/bin3"
	for _, c := range []struct {
		what, program, path string
		want                string // program to run, or
		reason, hint        string // parts of the error
		is                  error
	}{
		{what: "relative path stays as it is", program: "./bin/good", want: "./bin/good"},
		{what: "relative path without ./", program: "bin/good", want: "bin/good"},
		{what: "absolute path", program: bin + "/good", want: bin + "/good"},
		{what: "a link is not resolved", program: "./link", want: "./link"},
		{what: "a path with a blank", program: bin + "/my hook", want: bin + "/my hook"},
		{what: "no shebang is fine", program: "./here", want: "./here"},
		{what: "bare word from PATH", program: "good", path: path, want: bin + "/good"},
		{what: "PATH goes on after one that is not executable", program: "plain", path: path, want: dir + "/bin3/plain"},
		{what: "relative PATH entry", program: "good", path: "/none:bin", want: bin + "/good"},
		{what: "empty PATH entry", program: "here", path: "/none::/none", want: dir + "/here"},

		{what: "bare word is not looked for here", program: "here", path: path, reason: "not found in PATH", hint: `"./here"`, is: fs.ErrNotExist},
		{what: "missing", program: "./none", reason: "does not exist", is: fs.ErrNotExist},
		{what: "empty PATH", program: "good", reason: "not found in PATH", is: fs.ErrNotExist},
		{what: "directory", program: "./bin", reason: "is a directory"},
		{what: "directory in PATH", program: "isdir", path: path, reason: "is a directory"},
		{what: "FIFO", program: "./fifo", reason: "is no regular file"},
		{what: "not executable", program: "./bin2/plain", reason: "is not executable", hint: "chmod +x", is: fs.ErrPermission},
		{what: "not executable, in PATH", program: "plain", path: dir + "/bin2", reason: "is not executable", hint: "/bin2/plain", is: fs.ErrPermission},
		{what: "arguments, path", program: "./bin/good --verbose x", reason: "does not exist", hint: "no arguments", is: fs.ErrNotExist},
		{what: "arguments, word", program: "good -v", path: path, reason: "not found", hint: "no arguments", is: fs.ErrNotExist},
		{what: "interpreter missing", program: "./lost", reason: `interpreter "/no/such/interpreter" does not exist`, is: fs.ErrNotExist},
		{what: "DOS line ends", program: "./dos", reason: `interpreter "/bin/sh\r" does not exist`, hint: "DOS", is: fs.ErrNotExist},
		{what: "below a file", program: "./here/x", reason: "not a directory", is: unix.ENOTDIR},
		{what: "name too long", program: "./" + strings.Repeat("x", 300), reason: "name too long", is: unix.ENAMETOOLONG},
		{what: "nothing", program: "", path: path, reason: "not found in PATH", is: fs.ErrNotExist},
	} {
		got, err := Find(c.program, c.path, dir)
		if c.reason == "" {
			if err != nil || got != c.want {
				t.Errorf("%s: got %q, %v; want %q", c.what, got, err, c.want)
			}
			continue
		}
		var e *NotFoundError
		switch {
		case !errors.As(err, &e) || got != "":
			t.Errorf("%s: got %q, %v", c.what, got, err)
		case !strings.Contains(e.Error(), c.reason):
			t.Errorf("%s: %v, want %q", c.what, e, c.reason)
		case !strings.Contains(e.Hint(), c.hint) || c.hint == "" && e.Hint() != "":
			t.Errorf("%s: hint %q, want %q", c.what, e.Hint(), c.hint)
		case c.is != nil && !errors.Is(err, c.is):
			t.Errorf("%s: %v is not %v", c.what, err, c.is)
		}
	}
}
