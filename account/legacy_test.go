package account

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arid/keys"
)

const (
	newCA = "https://ca.example/v2"
	oldCA = "https://ca.example/v1"
)

func TestAdopt(t *testing.T) {
	old, folder := FolderName(oldCA), "accounts/"+FolderName(newCA)
	key := newKeyPEM(t)
	for _, c := range []struct {
		name  string
		there map[string]string // "" is a directory
		old   string
		done  string
		after map[string]string // what must be there
		gone  []string
	}{
		{"nothing", nil, oldCA, "", nil, []string{"accounts"}},
		{"the account of the first protocol version", map[string]string{"accounts/" + old + "/account_key.pem": key}, oldCA,
			"Reusing account from " + oldCA, map[string]string{folder + "/account_key.pem": key, "accounts/" + old + "/account_key.pem": key}, nil},
		{"that one, and one of today", map[string]string{"accounts/" + old + "/account_key.pem": "old", folder + "/account_key.pem": key}, oldCA,
			"", map[string]string{folder + "/account_key.pem": key}, nil},
		{"that one, and nobody asks for it", map[string]string{"accounts/" + old + "/account_key.pem": key}, "", "", nil, []string{folder}},
		{"key and object in BASEDIR", map[string]string{"private_key.pem": key, "private_key.json": "{}"}, "",
			"Moving private_key.pem to DIR/" + folder + "/account_key.pem\nMoving private_key.json to DIR/" + folder + "/registration_info.json",
			map[string]string{folder + "/account_key.pem": key, folder + "/registration_info.json": "{}"}, []string{"private_key.pem", "private_key.json"}},
		{"a key in both places", map[string]string{"private_key.pem": "old", folder + "/account_key.pem": key}, "",
			"", map[string]string{"private_key.pem": "old", folder + "/account_key.pem": key}, nil},
		{"both migrations", map[string]string{"accounts/" + old + "/registration_info.json": "1", "private_key.pem": key, "private_key.json": "2"}, oldCA,
			"Reusing account from " + oldCA + "\nMoving private_key.pem to DIR/" + folder + "/account_key.pem",
			map[string]string{"accounts/" + old + "/account_key.pem": key, folder + "/registration_info.json": "1", "private_key.json": "2"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, c.there)
			s := &Store{Dir: filepath.Join(dir, "accounts"), CA: newCA, Base: dir}
			done, err := s.Adopt(t.Context(), c.old, 0)
			if got := strings.ReplaceAll(strings.Join(done, "\n"), dir, "DIR"); err != nil || got != c.done {
				t.Fatalf("%v; done %q, want %q", err, got, c.done)
			}
			for name, want := range c.after {
				if got := read(t, dir, name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			for _, name := range c.gone {
				if exists(filepath.Join(dir, name)) {
					t.Errorf("%s is there", name)
				}
			}
			if again, err := s.Adopt(t.Context(), c.old, 0); err != nil || len(again) > 0 {
				t.Errorf("a second time: %q, %v", again, err)
			}
			if c.done != "" {
				if a, err := s.Open(); err != nil || a.Key == nil {
					t.Errorf("the account cannot be used: %+v, %v", a, err)
				}
			}
		})
	}
}

func TestAdoptLeavesAKeyOutsideTheTreeAlone(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"private_key.pem": "x"})
	s := &Store{Dir: filepath.Join(dir, "accounts"), CA: newCA, Base: dir, KeyFile: filepath.Join(dir, "key")}
	if done, err := s.Adopt(t.Context(), oldCA, 0); len(done) > 0 || err != nil || exists(s.Path()) {
		t.Errorf("%q, %v", done, err)
	}
}

// The link is relative: the tree can be moved.
func TestAdoptedLinkIsRelative(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{FolderName(oldCA) + "/x": ""})
	s := &Store{Dir: dir, CA: newCA}
	if _, err := s.Adopt(t.Context(), oldCA, 0); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(s.Path()); err != nil || target != FolderName(oldCA) {
		t.Errorf("%q, %v", target, err)
	}
}

func newKeyPEM(t *testing.T) string {
	t.Helper()
	k, err := keys.Generate(keys.P256)
	if err != nil {
		t.Fatal(err)
	}
	text, err := keys.MarshalPEM(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
