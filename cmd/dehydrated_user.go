package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"arid/hooks"
)

// switchUser runs the whole command line once more, by sudo, where DEHYDRATED_USER
// and DEHYDRATED_GROUP name others than those that run it. The *sudoError is that
// run's end; nil is to go on here.
func (a *app) switchUser(ctx context.Context, l *dehydratedLine) error {
	name, group := a.settings.Value("DEHYDRATED_USER"), a.settings.Value("DEHYDRATED_GROUP")
	if name == "" {
		if group != "" {
			return errors.New("DEHYDRATED_GROUP can only be used in combination with DEHYDRATED_USER.")
		}
		return nil
	}
	other, err := a.otherUser(name, group)
	if err != nil || !other {
		return err
	}
	sudo, err := hooks.Find("sudo", a.getenv("PATH"), a.Dir)
	if err != nil {
		return errors.New("DEHYDRATED_USER set but sudo not available. Please install sudo.")
	}
	words, who := []string{"-u", name}, name
	if group != "" {
		words, who = append(words, "-g", group), name+"/"+group
	}
	a.progress(l, "# INFO: Running %s as %s", l.program, who)
	program := a.Args[0]
	if found, err := hooks.Find(program, a.getenv("PATH"), a.Dir); err == nil && !strings.Contains(program, "/") {
		program = found // sudo has a PATH of its own, where the name may be another's
	}
	c := exec.CommandContext(ctx, sudo, slices.Concat(words, []string{program}, a.Args[1:])...)
	c.Env, c.Dir, c.Stdin, c.Stdout, c.Stderr = a.Env, a.Dir, a.Stdin, a.Stdout, a.Stderr
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	err = c.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit) && exit.Exited():
		return &sudoError{exit.ExitCode()}
	case err != nil:
		return fmt.Errorf("sudo: %w", err)
	}
	return &sudoError{0}
}

// rightUser refuses to work as another than the config is for: what root writes there,
// dehydrated could not go on with, and hooks of that user would run as root.
func (a *app) rightUser() error {
	name := a.settings.Value("DEHYDRATED_USER")
	if name == "" {
		return nil
	}
	switch other, err := a.otherUser(name, a.settings.Value("DEHYDRATED_GROUP")); {
	case err != nil:
		return a.settings.Wrong("DEHYDRATED_USER", err)
	case other:
		return &hintedError{a.settings.Wrong("DEHYDRATED_USER", errors.New("the config is for that user, and this is another")), "sudo -u " + name + " arid …"}
	}
	return nil
}

// otherUser tells whether somebody else is to run this.
func (a *app) otherUser(name, group string) (bool, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return false, fmt.Errorf("DEHYDRATED_USER %s is invalid", name)
	}
	if group == "" {
		return u.Uid != strconv.Itoa(a.UID), nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return false, fmt.Errorf("DEHYDRATED_GROUP %s is invalid", group)
	}
	return u.Uid != strconv.Itoa(a.UID) || g.Gid != strconv.Itoa(os.Getegid()), nil
}

// sudoError is the status of a run by another user, which has told everything.
type sudoError struct{ status int }

func (e *sudoError) Error() string { return fmt.Sprintf("sudo: status %d", e.status) }
