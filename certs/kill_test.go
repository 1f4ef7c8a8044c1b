package certs

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"arid/internal/atomicfile"
	"arid/keys"
)

// These tests end a process before each call that changes files, by strace: once
// by SIGKILL, once by an error of that call. What is shown must be whole, and
// the next run must succeed.

// changing are the system calls by which files change on Linux. Those that only
// open are left out when they are counted.
const changing = "openat,mkdirat,write,pwrite64,fsync,fchmod,fchmodat,fchown,fchownat," +
	"renameat,renameat2,linkat,symlinkat,unlinkat,ftruncate,fsetxattr,flock"

func init() {
	// strace counts calls by thread.
	if os.Getenv("ARID_CERTS_CHILD") != "" {
		runtime.LockOSThread()
	}
}

// childMain is the process that is killed: a run as issue makes it, with the
// material of a file. Hooks and CA are left out.
func childMain(dir string) {
	c, _ := (&Store{Dir: filepath.Join(dir, "certs"), Keep: 2}).Certificate("www.example.org")
	m, err := readMaterial(filepath.Join(dir, "material.json"))
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "begin"), 0o700)
	}
	if err == nil {
		err = runOnce(c, m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runOnce finishes what is owed, or goes on with what is pending, or gets a new
// certificate.
func runOnce(c *Certificate, m Material) error {
	unlock, err := c.Lock(context.Background(), 0)
	if err != nil {
		return err
	}
	defer unlock()
	state, err := c.State()
	var warning *StateWarning
	if err != nil && !errors.As(err, &warning) {
		return err
	}
	var v *Version
	if state.Owed != nil {
		if v, err = c.Version(state.Owed.Version); err != nil {
			return err
		}
	} else {
		p, err := c.Pending()
		if err != nil {
			return err
		}
		if p != nil {
			m.Key, m.CSR = p.Key, p.CSR
			if p.Order.URL != "https://ca.example/order/1" || !keys.Fits(m.Chain[0].PublicKey, m.Key) {
				return fmt.Errorf("the order under way is another: %+v", p.Order)
			}
		} else {
			if err := c.StartPending(m.Key, m.CSR); err != nil {
				return err
			}
			if err := c.SaveOrder(PendingOrder{URL: "https://ca.example/order/1"}); err != nil {
				return err
			}
		}
		if v, err = c.Write(start, m); err != nil {
			return err
		}
		state.Leaf = Fingerprint(m.Chain[0])
		state.Owed = &Owed{Version: v.ID, Step: OwedSync}
		if err := c.SaveState(state); err != nil {
			return err
		}
		if err := c.DropPending(); err != nil {
			return err
		}
	}
	if err := c.Switch(v); err != nil {
		return err
	}
	state.Owed = &Owed{Version: v.ID, Step: OwedDeploy}
	if err := c.SaveState(state); err != nil {
		return err
	}
	state.Owed = nil
	if err := c.SaveState(state); err != nil {
		return err
	}
	if err := c.DropPending(); err != nil { // of a run that was killed between state and this
		return err
	}
	return c.Prune("")
}

type materialFile struct {
	Key   []byte
	CSR   []byte
	Chain [][]byte
}

func writeMaterial(t *testing.T, path string, m Material) {
	key, err := keys.MarshalPEM(m.Key)
	if err != nil {
		t.Fatal(err)
	}
	f := materialFile{Key: key, CSR: m.CSR}
	for _, c := range m.Chain {
		f.Chain = append(f.Chain, c.Raw)
	}
	text, _ := json.Marshal(f)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readMaterial(path string) (m Material, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	var f materialFile
	if err := json.Unmarshal(text, &f); err != nil {
		return m, err
	}
	for _, der := range f.Chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return m, err
		}
		m.Chain = append(m.Chain, c)
	}
	m.CSR = f.CSR
	m.Key, err = keys.Parse(f.Key)
	return m, err
}

// call is the k-th call of a system call in the child's thread.
type call struct {
	name string
	k    int
	line string
}

// straced runs the child in dir.
func straced(t *testing.T, dir string, args ...string) error {
	command := exec.Command("strace", append(append([]string{"-f", "-qq"}, args...), os.Args[0])...)
	command.Env = append(os.Environ(), "ARID_CERTS_CHILD="+dir, "GOMAXPROCS=1")
	command.Stderr = io.Discard
	return command.Run()
}

// countCalls lists the file-changing calls of a run.
func countCalls(t *testing.T, dir string) []call {
	t.Helper()
	log := filepath.Join(dir, "strace.log")
	if err := straced(t, dir, "-o", log, "-e", "trace="+changing); err != nil {
		t.Fatalf("the run that is not disturbed: %v", err)
	}
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var calls []call
	counts, thread, begun := map[string]int{}, "", false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		pid, rest, _ := strings.Cut(lines.Text(), " ")
		rest = strings.TrimSpace(rest)
		name, _, isCall := strings.Cut(rest, "(")
		if thread == "" {
			thread = pid
		}
		if pid != thread || !isCall || strings.HasPrefix(rest, "<") || strings.HasPrefix(rest, "+") || strings.HasPrefix(rest, "-") {
			continue
		}
		counts[name]++
		if begun && (name != "openat" || strings.Contains(rest, "O_CREAT")) {
			calls = append(calls, call{name, counts[name], rest})
		}
		begun = begun || strings.Contains(rest, "/begin\"")
	}
	return calls
}

func TestKilledAtAnyCall(t *testing.T) {
	needs(t, "strace")
	if err := exec.Command("strace", "-o", "/dev/null", "true").Run(); err != nil {
		t.Skipf("strace may not trace here: %v", err)
	}
	a := newAuthority(t)
	type scenario struct {
		name  string
		build func(t *testing.T, c *Certificate)
		how   []string
	}
	all := []string{"signal=KILL", "error=ENOSPC"}
	scenarios := []scenario{
		{"first certificate", func(t *testing.T, c *Certificate) {}, all},
		{"renewal", func(t *testing.T, c *Certificate) {
			for i := range 3 {
				publish(t, c, start.Add(time.Duration(i-9)*time.Hour), a.material(t))
			}
		}, all},
	}
	for i, tree := range oddTrees {
		if testing.Short() && i > 0 {
			break
		}
		how := all[:1]
		switch tree.name {
		case "dehydrated's":
			how = all
		case "regular files (cp -L)", "a copy of arid's with every link followed",
			"a copy of arid's with live a directory under the links", "arid's, taken back by dehydrated with the key kept":
		default:
			continue // their way through the code is the same as one of these
		}
		scenarios = append(scenarios, scenario{"take-over: " + tree.name, func(t *testing.T, c *Certificate) {
			dehydratedTree(t, c, 1_690_000_000, a.material(t))
			tree.change(t, c, a)
		}, how})
	}
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			template := t.TempDir()
			c, _ := (&Store{Dir: filepath.Join(template, "certs")}).Certificate("www.example.org")
			s.build(t, c)
			m := a.material(t)
			writeMaterial(t, filepath.Join(template, "material.json"), m)
			k := &killer{template: template, m: m, next: a.material(t), old: content(t, c)}
			calls := countCalls(t, k.copy(t))
			if len(calls) < 40 {
				t.Fatalf("only %d calls found: %v", len(calls), calls)
			}
			t.Logf("%d calls", len(calls))
			var wait sync.WaitGroup
			slots := make(chan bool, 4)
			for i, call := range calls {
				if testing.Short() && i%7 != 0 {
					continue
				}
				for _, how := range s.how {
					if how == "error=ENOSPC" && call.name == "fsync" {
						how = "error=EIO"
					}
					slots <- true
					wait.Go(func() {
						k.run(t, i, call, how)
						<-slots
					})
				}
			}
			wait.Wait()
		})
	}
}

type killer struct {
	template string
	m, next  Material
	old      map[string]string
}

func (k *killer) copy(t *testing.T) string {
	dir, err := os.MkdirTemp(filepath.Dir(k.template), "run")
	if err == nil {
		var out []byte
		out, err = exec.Command("cp", "-a", k.template+"/.", dir).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s: %w", out, err)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// run disturbs one call, looks at what is shown, and lets the next run finish.
func (k *killer) run(t *testing.T, i int, call call, how string) {
	dir := k.copy(t)
	defer os.RemoveAll(dir)
	at := fmt.Sprintf("%s at call %d (%s %d: %s)", how, i, call.name, call.k, call.line)
	err := straced(t, dir, "-o", "/dev/null", "-e", "trace="+call.name, "-e", fmt.Sprintf("inject=%s:%s:when=%d", call.name, how, call.k))
	c, _ := (&Store{Dir: filepath.Join(dir, "certs"), Keep: 2}).Certificate("www.example.org")
	shown, isNew := content(t, c), false
	switch {
	case fmt.Sprint(shown) == fmt.Sprint(encoded(t, k.m)):
		isNew = true
	case fmt.Sprint(shown) != fmt.Sprint(k.old):
		t.Errorf("%s: neither the old set nor the new one is shown: %d files", at, len(shown))
		return
	}
	if err == nil && !isNew {
		t.Errorf("%s: success, and the old set is shown", at)
	}
	if err == nil && how == "signal=KILL" {
		t.Errorf("%s: was not killed", at)
	}
	if isNew || k.old[certName] != "" {
		if live, err := c.Live(); err != nil || !keys.Fits(live.Leaf.PublicKey, live.Key) {
			t.Errorf("%s: %+v, %v", at, live, err)
		}
	}
	// The CA would give the same certificate to an order under way.
	if err := runOnce(c, k.m); err != nil {
		t.Errorf("%s: the next run: %v", at, err)
		return
	}
	if fmt.Sprint(content(t, c)) != fmt.Sprint(encoded(t, k.m)) {
		t.Errorf("%s: the next run shows something else", at)
	}
	if err := runOnce(c, k.next); err != nil {
		t.Errorf("%s: the run after that: %v", at, err)
	}
	if fmt.Sprint(content(t, c)) != fmt.Sprint(encoded(t, k.next)) {
		t.Errorf("%s: the run after that shows something else", at)
	}
	k.checkLitter(t, at, c)
}

// checkLitter looks for what two good runs should have taken away.
func (k *killer) checkLitter(t *testing.T, at string, c *Certificate) {
	versions := list(t, c.file(versionsName))
	if len(versions) != 2 {
		t.Errorf("%s: versions left: %v", at, versions)
	}
	for _, name := range list(t, c.Path()) {
		if strings.HasPrefix(name, tempPrefix) || name == pendingName {
			t.Errorf("%s: %s is left", at, name)
		}
	}
	for _, name := range list(t, c.Path()) {
		id, found := strings.CutPrefix(name, "privkey-")
		id = strings.TrimSuffix(id, ".pem")
		if found && strings.HasPrefix(id, "1795") && (len(versions) != 2 || id != versions[0] && id != versions[1]) {
			t.Errorf("%s: %s is left", at, name)
		}
	}
}

func TestAHundredRunsAtOnce(t *testing.T) {
	c, m := newCertificate(t), newAuthority(t).material(t)
	var wait sync.WaitGroup
	var mu sync.Mutex
	done, busy := 0, 0
	for range 100 {
		wait.Go(func() {
			err := runOnce(c, m)
			mu.Lock()
			defer mu.Unlock()
			var locked *atomicfile.LockedError
			switch {
			case err == nil:
				done++
			case errors.As(err, &locked):
				busy++
			default:
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if done == 0 || done+busy != 100 {
		t.Errorf("%d done, %d busy", done, busy)
	}
	same(t, "content", content(t, c), encoded(t, m))
}
