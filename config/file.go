package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// maxFile bounds a config file.
const maxFile = 1 << 20

// find returns the config file to read, absolute, "" if there is none; /dev/null
// stands for none.
func (o *Options) find() (string, error) {
	for _, f := range []string{o.File, lookup(o.Environ, "ARID_CONFIG")} {
		switch f {
		case "":
		case os.DevNull:
			return "", nil
		default:
			return o.absolute(f), nil
		}
	}
	var list []string
	if home := o.home(); o.UID != 0 && home != "" {
		list = append(list, filepath.Join(home, ".config/arid/config"))
	}
	for _, f := range []string{"/etc/arid/config", "/usr/local/etc/arid/config", "/etc/dehydrated/config", "/usr/local/etc/dehydrated/config"} {
		list = append(list, o.root+f)
	}
	for _, f := range list {
		_, err := os.Stat(f)
		if err == nil {
			return f, nil
		}
		// One that is there and closed to us is not passed over: another would
		// be taken for it.
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return "", &Error{File: f, What: "cannot be read", Err: plainPathError(err)}
		}
	}
	return "", nil
}

func (o *Options) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(o.Dir, path)
}

// baseDir is BASEDIR as the config file finds it: beside the file, as dehydrated
// has it, unless the file is one of arid's own places.
func (o *Options) baseDir(file string) (string, error) {
	if file != "" && filepath.Base(filepath.Dir(file)) != "arid" {
		return filepath.Dir(file), nil
	}
	if o.UID == 0 {
		return "/var/lib/arid", nil
	}
	if state := lookup(o.Environ, "XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "arid"), nil
	}
	if home := o.home(); home != "" {
		return filepath.Join(home, ".local/state/arid"), nil
	}
	return "", &Error{What: "BASEDIR is not set, and without HOME there is no default for it"}
}

// home is where the user's own files are, "" if nobody knows. s6-setuidgid, setuidgid
// and chpst leave HOME as it was before: another user's that is closed to us is not
// meant, and the password file has ours.
func (o *Options) home() string {
	home := lookup(o.Environ, "HOME")
	info, err := os.Stat(home)
	foreign := errors.Is(err, fs.ErrPermission) ||
		err == nil && info.Sys().(*syscall.Stat_t).Uid != uint32(o.UID) && !o.mayEnter(home, info)
	if filepath.IsAbs(home) && !foreign {
		return home
	}
	u, err := user.LookupId(strconv.Itoa(o.UID))
	if err != nil || !filepath.IsAbs(u.HomeDir) {
		return ""
	}
	return u.HomeDir
}

// mayEnter says whether a directory of another user's is open to us, by a group maybe.
func (o *Options) mayEnter(dir string, info fs.FileInfo) bool {
	return info.Mode()&0o001 != 0 || o.UID == os.Geteuid() && syscall.Access(dir, 1) == nil // 1: X_OK
}

// readConfig reads a file that will be run as a program: what others could
// have written is refused. It looks at the descriptor, not at the path again.
func (o *Options) readConfig(path string) (data []byte, warning string, err error) {
	// Not blocking: a FIFO would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, "", &Error{File: path, What: "cannot be read", Err: plainPathError(err)}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, "", &Error{File: path, What: "cannot be read", Err: plainPathError(err)}
	}
	switch {
	case info.IsDir():
		return nil, "", &Error{File: path, What: "is a directory, not a config file"}
	case !info.Mode().IsRegular():
		return nil, "", &Error{File: path, What: "is not a regular file"}
	case info.Size() > maxFile:
		return nil, "", &Error{File: path, What: fmt.Sprintf("is larger than %d bytes", maxFile)}
	}
	others, everybody := writableBy(info, o.UID)
	if everybody || others != "" && !o.Dehydrated {
		return nil, "", &Error{File: path, What: fmt.Sprintf("can be written by %s, and would be run as a program (chmod go-w, chown)", others)}
	}
	if others != "" {
		warning = fmt.Sprintf("%s: can be written by %s, and is run as a program", path, others)
	}
	data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, "", &Error{File: path, What: "cannot be read", Err: plainPathError(err)}
	case len(data) > maxFile:
		return nil, "", &Error{File: path, What: fmt.Sprintf("is larger than %d bytes", maxFile)}
	}
	if i := strings.IndexByte(string(data), 0); i >= 0 {
		return nil, "", &Error{File: path, Line: 1 + strings.Count(string(data[:i]), "\n"), What: "holds a NUL byte"}
	}
	if i := strings.Index(string(data), "\r\n"); i >= 0 {
		return nil, "", &Error{File: path, Line: 1 + strings.Count(string(data[:i]), "\n"), What: "the line ends in CR LF: a shell would take the CR for part of the value"}
	}
	return data, warning, nil
}

// writableBy tells who besides root and ourselves can change a file. Root's
// group may: whoever is in it is trusted with more.
func writableBy(info fs.FileInfo, uid int) (who string, everybody bool) {
	mode := info.Mode().Perm()
	if mode&0o002 != 0 {
		return "everybody", true
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", false
	}
	if st.Uid != 0 && int(st.Uid) != uid {
		return fmt.Sprintf("another user (uid %d)", st.Uid), false
	}
	if mode&0o020 != 0 && st.Gid != 0 {
		return fmt.Sprintf("a group (gid %d)", st.Gid), false
	}
	return "", false
}
