package config

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// evaluatorCases are run by both evaluators, which must agree. The text goes
// to "config"; files beside it are named in extra.
var evaluatorCases = []struct {
	name   string
	config string
	extra  map[string]string
	want   map[string]string // "-" in front: exported; value "\x00": unset
	bash   bool              // the evaluator in the process must refuse it
	line   int               // 0: no error
	what   string            // in the error
	exit   int               // status of an exit in the text, -1 none
}{
	{name: "empty", config: ""},
	{name: "comment only", config: "# nothing\n\n"},
	{name: "plain", config: "CA=letsencrypt-test\nHOOK='/etc/hook.sh'\nKEYSIZE=\"3072\"", want: map[string]string{"CA": "letsencrypt-test", "HOOK": "/etc/hook.sh", "KEYSIZE": "3072"}},
	{name: "the default again is an assignment", config: "KEY_ALGO=prime256v1\n", want: map[string]string{"KEY_ALGO": "prime256v1"}},
	{name: "expansion of a preset", config: "WELLKNOWN=\"${BASEDIR}/acme-challenges\"", want: map[string]string{"WELLKNOWN": "/base/acme-challenges"}},
	{name: "defaults", config: "A=${NOPE:-x}/${BASEDIR:-y} B=${NOPE-} C=${NOPE:+z}${CA:+w}", want: map[string]string{"A": "x//base", "B": "", "C": "w"}},
	{name: "assign in expansion", config: ": \"${HOOK:=/hook}\"\nX=$HOOK", want: map[string]string{"HOOK": "/hook", "X": "/hook"}},
	{name: "trimming", config: "P=/a/b/c.d.e\nA=${P##*/} B=${P%/*} C=${P%%.*} D=${P#/} E=${#P} F=${P//\\//_} G=${P:1:3} H=${P/a/x}", want: map[string]string{"P": "/a/b/c.d.e", "A": "c.d.e", "B": "/a/b", "C": "/a/b/c", "D": "a/b/c.d.e", "E": "10", "F": "_a_b_c.d.e", "G": "a/b", "H": "/x/b/c.d.e"}},
	{name: "case", config: "A=Abc\nB=${A^^} C=${A,,} D=${A^} E=${A,}", want: map[string]string{"A": "Abc", "B": "ABC", "C": "abc", "D": "Abc", "E": "abc"}},
	{name: "export", config: "export TOKEN=secret OTHER='a b'\nQUIET=1\nexport QUIET\nexport PATH=\"/opt/bin:$PATH\"", want: map[string]string{"-TOKEN": "secret", "-OTHER": "a b", "-QUIET": "1", "-PATH": "/opt/bin:/usr/bin:/bin"}},
	{name: "exported name, later value", config: "export LATER\nLATER=1\n", want: map[string]string{"-LATER": "1"}},
	{name: "name from the environment stays exported", config: "FROMENV=new\n", want: map[string]string{"-FROMENV": "new"}},
	{name: "setting that is in the environment", config: "CERTDIR=/c\n", want: map[string]string{"-CERTDIR": "/c"}},
	{name: "unset", config: "unset FROMENV HOOK\nunset -v NEVER\n", want: map[string]string{"FROMENV": "\x00", "HOOK": "\x00"}},
	{name: "append", config: "A=1\nA+=2\nCURL_OPTS+=' -4'\n", want: map[string]string{"A": "12", "CURL_OPTS": " -4"}},
	{name: "continuation", config: "A=1\\\n2 B=3; C=4\n", want: map[string]string{"A": "12", "B": "3", "C": "4"}},
	{name: "line break in quotes", config: "A='1\n2'\nB=\"3\n$A\"\n", want: map[string]string{"A": "1\n2", "B": "3\n1\n2"}},
	{name: "dollar quotes", config: "A=$'a\\tb\\n\\x41\\u00e9\\''\n", want: map[string]string{"A": "a\tb\nAé'"}},
	{name: "backslash", config: "A=a\\ b\\$c B=\"\\$x \\\\ \\\" \\a\"\n", want: map[string]string{"A": "a b$c", "B": "$x \\ \" \\a"}},
	{name: "backslash elsewhere", config: "A=\"a\\$b\\\\n\"/\\'x\\'\ncase a\\*c in a\\*c) B=1 ;; esac\n[[ 'a*' == a\\* ]] && C=1\nfor i in x\\ y; do D=$i; done\nE=(p\\ q)\nF=${E[0]} G=\\~/x\n", want: map[string]string{"A": "a$b\\n/'x'", "B": "1", "C": "1", "D": "x y", "E": "()", "F": "p q", "G": "~/x", "i": "x y"}},
	{name: "quotes in a default", config: "A=\"${NOPE:-'x'}\" B=${NOPE:-'y'}\n", bash: true, want: map[string]string{"A": "'x'", "B": "y"}},
	{name: "double quotes in a default", config: "A=\"${NOPE:-\"x $CA\"}\" B=${NOPE:-\"y  z\"} C=${NOPE:-~/k}\n", want: map[string]string{"A": "x letsencrypt", "B": "y  z", "C": "/home/u/k"}},
	{name: "braces in a value", config: "A={a,b}{1..3}\n", want: map[string]string{"A": "{a,b}{1..3}"}},
	{name: "stars in a value", config: "A=/*\nfor i in /* ; do B=$i; done\n", want: map[string]string{"A": "/*", "B": "/*", "i": "/*"}},
	{name: "home", config: "A=~/x B=~ C=\"~/x\" D=a~b\n", want: map[string]string{"A": "/home/u/x", "B": "/home/u", "C": "~/x", "D": "a~b"}},
	{name: "home after a colon", config: "A=x:~/y\n", bash: true, want: map[string]string{"A": "x:/home/u/y"}},
	{name: "splitting", config: "W='a  b c'\nfor i in $W; do R+=[$i]; done\nfor i in \"$W\"; do S+=[$i]; done\n", want: map[string]string{"W": "a  b c", "R": "[a][b][c]", "S": "[a  b c]", "i": "a  b c"}},
	{name: "if", config: "if [ -d / ] && [[ $CA == letsen* ]]; then A=1; elif true; then A=2; else A=3; fi\nif test -f /nonexistent; then B=1; else B=2; fi\n", want: map[string]string{"A": "1", "B": "2"}},
	{name: "double brackets", config: "[[ -z $HOOK && -n $CA ]] && A=1\n[[ $CA = letsencrypt ]] && B=1\n[[ $CA != \"lets*\" ]] && C=1\n[[ 3 -gt 2 ]] && D=1\n[[ -n x ]]\n", want: map[string]string{"A": "1", "B": "1", "C": "1", "D": "1"}},
	{name: "regular expression", config: "[[ $CA =~ ^let ]] && A=1\n:\n", bash: true, want: map[string]string{"A": "1"}},
	{name: "case in", config: "case $CA in zero*) A=z ;; lets*|x) A=l ;; *) A=o ;; esac\ncase x in (y) B=1;; esac\n", want: map[string]string{"A": "l"}},
	{name: "for and continue", config: "A=\nfor i in 1 2 3 4; do if [ $i = 2 ]; then continue; fi; if [ $i = 4 ]; then break; fi; A=$A$i; done\n", want: map[string]string{"A": "13", "i": "4"}},
	{name: "while", config: "A=\nwhile [ \"$A\" != xxx ]; do A=x$A; done\nuntil [ -z \"$A\" ]; do A=${A#x}; done\nB=$A.\n", want: map[string]string{"A": "", "B": "."}},
	{name: "false and in an if goes on", config: "if true; then\n  [ -n \"$HOOK\" ] && A=1\nfi\nfor i in 1; do false && B=1; done\ncase x in x) false && C=1 ;; esac\n{ false && E=1; }\nD=1\n", want: map[string]string{"D": "1", "i": "1"}},
	{name: "and that holds in an if", config: "if true; then\n  [ -z \"$HOOK\" ] && A=1\nfi\n:\n", want: map[string]string{"A": "1"}},
	{name: "failure after and in an if", config: "if true; then\n  true && false\nfi\nA=1\n", line: 2, what: "status 1"},
	{name: "false and at the end of the file", config: "A=1\n[ -n \"$HOOK\" ] && B=1\n", line: 2, what: "status 1"},
	{name: "false and in an if at the end of the file", config: "A=1\nif true; then [ -n \"$HOOK\" ] && B=1; fi\n", bash: true, line: 2, what: "status 1"},
	{name: "or", config: "false || A=1\ntrue || B=1\nfalse || true && C=1\n", want: map[string]string{"A": "1", "C": "1"}},
	{name: "not", config: "! false\n! [ -d / ] || A=1\nif ! [[ -n $HOOK ]]; then B=1; fi\n", want: map[string]string{"A": "1", "B": "1"}},
	{name: "function", config: "f() { local v=$1; R=\"got $v $#\"; return 0; }\nf 'a b' c\n", want: map[string]string{"R": "got a b 2"}},
	{name: "function that fails", config: "f() {\n  false\n  A=1\n}\nf\n", line: 2, what: "status 1"},
	{name: "function that returns without a status", config: "f() { [ -n \"$1\" ] || return; A=1; }\nf x\nf '' || B=1\n", want: map[string]string{"A": "1", "B": "1"}},
	{name: "function word", config: "function f { A=1; }\nf\n", want: map[string]string{"A": "1"}},
	{name: "function as hook, with what only bash knows", config: "HOOK=myhook\nmyhook() {\n  case $1 in deploy_cert) exec 3>&1; coproc cat; esac\n  cat <(echo a)\n}\n", want: map[string]string{"HOOK": "myhook"}},
	{name: "function with what only bash knows, called", config: "f() { printf -v A x; }\nf\n", bash: true, want: map[string]string{"A": "x"}},
	{name: "function that calls itself", config: "f() { if [ \"$1\" != xxx ]; then f x$1; else A=$1; fi; }\nf x\n", bash: true, want: map[string]string{"A": "xxx"}},
	{name: "command substitution", config: "A=$(echo hi; echo there) B=`echo back` C=\"$(printf '%s-%d\\n' a 3)\"\n", want: map[string]string{"A": "hi\nthere", "B": "back", "C": "a-3"}},
	{name: "external command", config: "A=$(/bin/echo x | tr x y)\nB=$(cat config)\n", want: map[string]string{"A": "y", "B": "A=$(/bin/echo x | tr x y)\nB=$(cat config)"}},
	{name: "file substitution", config: "A=$(<data) B=$(< ./data)\n", extra: map[string]string{"data": "d1\nd2\n\n"}, want: map[string]string{"A": "d1\nd2", "B": "d1\nd2"}},
	{name: "environment of a command", config: "export X=1\nY=2\nA=$(env | grep -c '^[XY]=')\nB=$(Z=3 sh -c 'echo $Z')\n", want: map[string]string{"-X": "1", "Y": "2", "A": "1", "B": "3"}},
	{name: "standard input is empty", config: "A=$(cat)\n", want: map[string]string{"A": ""}},
	{name: "output at the top goes nowhere", config: "echo hello\nprintf '%s\\n' x\nls / >/dev/null\nA=1\n", want: map[string]string{"A": "1"}},
	{name: "failing substitution", config: "A=1\nB=$(false)\n", line: 2, what: "status 1"},
	{name: "failure within a substitution", config: "A=$(false; echo x)\n", want: map[string]string{"A": "x"}},
	{name: "failure hidden by export", config: "export A=$(false)\n", want: map[string]string{"-A": ""}},
	{name: "pipe that fails", config: "A=$(false | cat)\n", line: 1, what: "status 1"},
	{name: "failing command", config: "A=1\n\nfalse\nB=2\n", line: 3, what: "status 1"},
	{name: "command that is not there", config: "A=$(nonexistent-command-x)\n", line: 1, what: "status 127"},
	{name: "command that is allowed to fail", config: "false || true\nA=$(nonexistent-command-x 2>/dev/null) || A=none\n", want: map[string]string{"A": "none"}},
	{name: "unset variable", config: "A=1\nB=\"$NOPE/x\"\nC=2\n", line: 2, what: "NOPE: unbound variable"},
	{name: "unset variable in a block", config: "if true; then\n  A=1\n  B=$NOPE\nfi\n", line: 3, what: "NOPE: unbound variable"},
	{name: "error in an expansion", config: "A=1\n: ${NOPE:?must be given}\n", line: 2, what: "NOPE: must be given"},
	{name: "unset variable in a default that is not needed", config: "A=1\nB=${A:-$NOPE}\n", bash: true, want: map[string]string{"A": "1", "B": "1"}},
	{name: "exit", config: "A=1\nexit 3\nB=2\n", line: 2, what: "exit 3", exit: 3},
	{name: "exit 0", config: "if true; then\n  exit 0\nfi\n", line: 2, what: "exit 0", exit: 0},
	{name: "exit in a function", config: "die() { echo \"$*\" >&2; exit 4; }\n\ndie not here\n", line: 1, what: "exit 4", exit: 4},
	{name: "arithmetic", config: "A=$((60 * 60 * 24 + 1)) N=7\nB=$((N * 2 - (3 + $N) % 4)) C=$((N > 3 && N < 9)) D=$((-N))\nif ((N == 7)); then E=1; fi\n", want: map[string]string{"A": "86401", "N": "7", "B": "12", "C": "1", "D": "-7", "E": "1"}},
	{name: "arithmetic on an unset name", config: "A=$((NOPE + 1))\n", line: 1, what: "NOPE: unbound variable"},
	{name: "arithmetic on an expression", config: "N=1+2\nA=$((N * 2))\n", bash: true, want: map[string]string{"N": "1+2", "A": "6"}},
	{name: "octal", config: "A=$((010))\n", bash: true, want: map[string]string{"A": "8"}},
	{name: "division by nothing", config: "Z=0\nA=$((1 / Z))\n", bash: true, line: 2},
	{name: "here-document", config: "A=$(cat <<EOF\nca is $CA\n$(echo sub)\nEOF\n)\nB=$(cat <<'EOF'\n$CA\nEOF\n)\nC=$(cat <<<\"s $CA\")\n", want: map[string]string{"A": "ca is letsencrypt\nsub", "B": "$CA", "C": "s letsencrypt"}},
	{name: "source", config: "source ./other\n. \"$DIRECTORY/sub/third\"\nB=$A$T\n", extra: map[string]string{"other": "A=1\nHOOK=/h\n", "sub/third": "T=3\nexport U=4\ndeclare V=5\n"}, want: map[string]string{"A": "1", "B": "13", "T": "3", "-U": "4", "V": "5", "HOOK": "/h"}},
	{name: "source that returns", config: ". ./other\n", extra: map[string]string{"other": "A=1\n[ -z \"$HOOK\" ] && return 0\nA=2\n"}, want: map[string]string{"A": "1"}},
	{name: "source with a function", config: ". ./lib\nset_it HOOK\nA=$(say x)\n", extra: map[string]string{"lib": "set_it() { R=$1; }\nsay() { echo \"<$1>\"; }\n"}, want: map[string]string{"R": "HOOK", "A": "<x>"}},
	{name: "source of nothing", config: "A=1\n. ./missing\n", line: 2},
	{name: "source if there", config: "[ ! -f ./missing ] || . ./missing\nif [ -r ./other ]; then . ./other; fi\n", extra: map[string]string{"other": "A=1"}, want: map[string]string{"A": "1"}},
	{name: "source of what only bash knows", config: ". ./other\n", extra: map[string]string{"other": "printf -v A x\n"}, bash: true, want: map[string]string{"A": "x"}},
	{name: "array", config: "L=(a 'b c' $CA)\nA=${L[1]} B=${#L[@]} C=\"${L[@]}\"\nL+=(d)\nfor i in \"${L[@]}\"; do D=$i; done\n", want: map[string]string{"L": "()", "A": "b c", "B": "3", "C": "a b c letsencrypt", "D": "d", "i": "d"}},
	{name: "associative array", config: "declare -A M=([a]=1 [b]=2)\nX=${M[a]}\n", bash: true, want: map[string]string{"M": "()", "X": "1"}},
	{name: "array for a setting", config: "HOOK=(a b)\n", want: map[string]string{"HOOK": "()"}},
	{name: "readonly", config: "readonly A=1\ndeclare -x B=2\ndeclare C=3\n", want: map[string]string{"A": "1", "-B": "2", "C": "3"}},
	{name: "readonly again", config: "readonly A=1\nA=2\nB=3\n", line: 2},
	{name: "set -a", config: "set -a\nA=1\nset +a\nB=2\n", want: map[string]string{"-A": "1", "B": "2"}},
	{name: "set +e", config: "set +e\nfalse\nA=1\nset -e\n", want: map[string]string{"A": "1"}},
	{name: "set +u", config: "set +u\nA=$NOPE.\nset -o nounset\n", want: map[string]string{"A": "."}},
	{name: "positional", config: "f() { A=$1; shift; B=$*; C=$#; }\nf 1 2 3\n", want: map[string]string{"A": "1", "B": "2 3", "C": "2"}},
	{name: "umask", config: "umask 027\nA=1\n", bash: true, want: map[string]string{"A": "1"}},
	{name: "printf -v", config: "printf -v A %05d 42\n", bash: true, want: map[string]string{"A": "00042"}},
	{name: "declare -i", config: "declare -i N=1+1\n", bash: true, want: map[string]string{"N": "2"}},
	{name: "eval", config: "eval 'A=1'\n", bash: true, want: map[string]string{"A": "1"}},
	{name: "process substitution", config: "A=$(cat <(echo x))\n", bash: true, want: map[string]string{"A": "x"}},
	{name: "read", config: "read -r A B <<<'1 2 3'\n", bash: true, want: map[string]string{"A": "1", "B": "2 3"}},
	{name: "own directory", config: "A=\"$(dirname \"${BASH_SOURCE[0]}\")\"\n", bash: true, want: map[string]string{"A": "DIR"}},
	{name: "indirect", config: "N=CA\nA=${!N}\n", bash: true, want: map[string]string{"N": "CA", "A": "letsencrypt"}},
	{name: "trap", config: "trap 'true' EXIT\nA=1\n", bash: true, want: map[string]string{"A": "1"}},
	{name: "subshell", config: "(A=1)\nB=2\n", bash: true, want: map[string]string{"B": "2"}},
	{name: "pipe into a loop", config: "A=\necho x | while read -r l; do A=$l; done\n", bash: true, want: map[string]string{"A": ""}},
	{name: "brace loop", config: "A=\nfor i in {1..3}; do A+=$i; done\n", bash: true, want: map[string]string{"A": "123", "i": "3"}},
	{name: "regexp and exit in bash", config: "eval :\nif true; then\n  exit 5\nfi\n", bash: true, line: 3, what: "exit 5", exit: 5},
	{name: "drop-ins", config: "CONFIG_D=$DIRECTORY/conf.d\nA=main\nlate() { L=$1; }\n", extra: map[string]string{"conf.d/b.sh": "A=$A-b\nlate b\n", "conf.d/a.sh": "A=$A-a\nHOOK=/h\n", "conf.d/C.sh": "A=$A-C\n", "conf.d/no.txt": "A=never\n", "conf.d/.x.sh": "A=never\n"},
		want: map[string]string{"CONFIG_D": "DIR/conf.d", "A": "main-C-a-b", "HOOK": "/h", "L": "b"}},
	{name: "failing drop-in", config: "CONFIG_D=conf.d\n", extra: map[string]string{"conf.d/a.sh": "\nfalse\n"}, line: 2},
	{name: "drop-ins are not there", config: "\nCONFIG_D=conf.d\n", line: 2, what: "CONFIG_D"},
}

func testShell(t *testing.T, dir string) *shell {
	t.Helper()
	return &shell{
		Environ: []string{"PATH=/usr/bin:/bin", "HOME=/home/u", "FROMENV=old", "CERTDIR=/env", "DIRECTORY=" + dir, "LC_ALL=C.UTF-8"},
		Presets: map[string]string{"BASEDIR": "/base", "CA": "letsencrypt", "HOOK": "", "KEY_ALGO": "prime256v1", "KEYSIZE": "4096", "WELLKNOWN": "", "CERTDIR": "", "CURL_OPTS": "", "CONFIG_D": ""},
		Dir:     dir, Dropins: true, Timeout: 20 * time.Second,
		Read: os.ReadFile,
	}
}

func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		f := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEvaluators(t *testing.T) {
	bash := (&shell{Environ: os.Environ()}).findBash()
	for _, c := range evaluatorCases {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"config": c.config}
			maps.Copy(files, c.extra)
			dir := writeFiles(t, files)
			t.Run("in-process", func(t *testing.T) {
				res, err := testShell(t, dir).inProcess(context.Background(), filepath.Join(dir, "config"))
				var un *needsBash
				if errors.As(err, &un) != c.bash {
					t.Fatalf("needs bash: %v, want %v (%v)", !c.bash, c.bash, err)
				}
				if !c.bash {
					checkResult(t, c.want, c.line, c.what, c.exit, dir, res, err)
				}
			})
			t.Run("bash", func(t *testing.T) {
				if bash == "" {
					t.Skip("no bash")
				}
				res, err := testShell(t, dir).inBash(context.Background(), bash, filepath.Join(dir, "config"))
				checkResult(t, c.want, c.line, c.what, c.exit, dir, res, err)
			})
		})
	}
}

func checkResult(t *testing.T, want map[string]string, line int, what string, exit int, dir string, res *result, err error) {
	t.Helper()
	if line > 0 {
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("error %v, want one in line %d", err, line)
		}
		if e.Line != line || !strings.Contains(e.What, what) || !strings.HasPrefix(e.File, dir) {
			t.Errorf("error %q at %s:%d, want %q at line %d", e.What, e.File, e.Line, what, line)
		}
		if e.Exited != strings.HasPrefix(what, "exit ") || e.Exited && e.Status != exit {
			t.Errorf("exited %v with %d, want %d", e.Exited, e.Status, exit)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, v := range res.Vars {
		if v.Exported {
			name = "-" + name
		}
		switch {
		case !v.Set:
			got[name] = "\x00"
		case v.Array:
			got[name] = "()"
		default:
			got[name] = strings.ReplaceAll(v.Value, dir, "DIR")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if w, ok := want[name]; !ok || w != got[name] {
			t.Errorf("%s=%q, want %q %v", name, got[name], w, ok)
		}
	}
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
}

// A certificate's config is read where errexit is off: the evaluators agree there too.
func TestEvaluatorsAgreeWhereCommandsMayFail(t *testing.T) {
	bash := (&shell{Environ: os.Environ()}).findBash()
	if bash == "" {
		t.Skip("no bash")
	}
	for _, c := range evaluatorCases {
		files := map[string]string{"config": c.config}
		maps.Copy(files, c.extra)
		dir := writeFiles(t, files)
		lax := func() *shell {
			sh := testShell(t, dir)
			sh.Failing = true
			return sh
		}
		ours, err := lax().inProcess(context.Background(), filepath.Join(dir, "config"))
		var un *needsBash
		if errors.As(err, &un) {
			continue
		}
		theirs, bashErr := lax().inBash(context.Background(), bash, filepath.Join(dir, "config"))
		if (err == nil) != (bashErr == nil) {
			t.Errorf("%s: %v, and bash %v", c.name, err, bashErr)
		}
		if err != nil || bashErr != nil {
			continue
		}
		for _, vars := range []map[string]variable{ours.Vars, theirs.Vars} {
			for name, v := range vars {
				v.At = place{} // bash knows it less well
				vars[name] = v
			}
		}
		if !maps.Equal(ours.Vars, theirs.Vars) {
			t.Errorf("%s: %v, and bash %v", c.name, ours.Vars, theirs.Vars)
		}
	}
}
