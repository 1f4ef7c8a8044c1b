#!/usr/bin/env bash
# Everything that `make test` does: format, vet, Go tests with the race detector,
# then the binary with real servers. It goes on after a failure, ends with a
# summary, and with status 1 when anything failed.
cd "$(dirname "$0")/.." || exit

# Some tests run arid as another user, who must be able to get to it.
if [ "$(id -u)" -eq 0 ] && [ -z "${TEST_COPY:-}" ] &&
  ! setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$PWD/tests/run.sh"; then
  copy=$(mktemp -d) && chmod 755 "$copy" && cp -a . "$copy/arid" && chmod 755 "$copy/arid" || exit
  TEST_COPY=1 "$copy/arid/tests/run.sh"
  status=$?
  rm -rf "$copy"
  exit "$status"
fi

tests/setup.sh || exit
export ARID_TEST_ALL=1 # a missing tool is a failure, not a skipped test
export CGO_ENABLED=1   # for the race detector

failed=() skipped=() at_first=()
step() {
  printf '\n== %s\n' "$1"
  shift
  "$@" || failed+=("$*")
}

formatted() {
  local files
  files=$(gofmt -l .)
  [ -z "$files" ] || { printf 'not as gofmt has it: %s\n' "$files"; return 1; }
}

# Shows a line for each package; where one failed, what it said; and remembers
# what was skipped.
go_test() {
  local log status
  log=$(mktemp) || return
  go test -v "$@" >"$log" 2>&1
  status=$?
  if [ "$status" -eq 0 ]; then
    grep -E '^(ok|\?) ' "$log"
  else
    grep -vE '^(=== |\s*--- (PASS|SKIP)|PASS)' "$log"
  fi
  # A test says why right before it is said to be skipped.
  mapfile -t -O "${#skipped[@]}" skipped < <(awk '/^ *--- SKIP/ { sub(/^ */, ""); print $0 before } { before = $0 }' "$log")
  rm -f "$log"
  return "$status"
}

# What root cannot see: files that are closed to the user.
as_user() {
  local dir
  [ "$(id -u)" -eq 0 ] || return 0 # then it was seen already
  dir=$(mktemp -d) && chmod 755 "$dir" &&
    CGO_ENABLED=0 go test -c -o "$dir/config.test" ./config &&
    (cd / && setpriv --reuid 65534 --regid 65534 --clear-groups "$dir/config.test" -test.run Permission)
  local status=$?
  rm -rf "$dir"
  return "$status"
}

# bats_file FILE: what bats says of it, when it is done, not mixed with what it says of others.
bats_file() {
  local log status
  log=$(mktemp) || return
  TEST_BUILT=1 bats --tap --print-output-on-failure "$1" >"$log" 2>&1
  status=$?
  {
    flock 9
    printf '# %s\n' "$1"
    cat "$log"
  } 9<tests/run.sh
  rm -f "$log"
  [ "$status" -eq 0 ] || printf '%s\n' "$1" >>"$TEST_FAILED"
}
export -f bats_file

# at_a_time N FILE...: N of them, each in a lane of its own (tests/tools/freeports).
at_a_time() {
  # shellcheck disable=SC2016  # the inner shell expands it
  printf '%s\n' "${@:2}" | xargs -n 1 -P "$1" --process-slot-var=TEST_LANE bash -c 'bats_file "$1"' bats_file
}

# count N FILE...: runs them, and counts what bats says of each test as it comes by. Sets
# bats_result, and failing, the files that failed.
count() {
  local line status passed=0 failures=0 left=0
  TEST_FAILED=$(mktemp) || return
  export TEST_FAILED
  while IFS= read -r line; do
    printf '%s\n' "$line"
    case $line in
      "not ok "*) failures=$((failures + 1)) ;;
      "ok "*" # skip"*) skipped+=("$line") left=$((left + 1)) ;;
      "ok "*) passed=$((passed + 1)) ;;
    esac
  done < <(at_a_time "$@")
  wait $!
  status=$?
  mapfile -t failing <"$TEST_FAILED"
  rm -f "$TEST_FAILED"
  bats_result="$passed passed, $failures failed"
  [ "$left" -eq 0 ] || bats_result+=", $left skipped"
  [ "$status" -eq 0 ] && [ "${#failing[@]}" -eq 0 ] && [ "$failures" -eq 0 ] && [ "$passed" -gt 0 ]
}

# Two files at a time, since much of their time is waiting. What a server does in its
# first moments, two at a time on a busy machine, can fail a test once; so up to three
# files that failed are run a second time, alone, and what fails then has failed. The
# summary names them all: a test that needs it is to be mended.
bats_run() {
  make -s test-tools || return
  count 2 "$@" && return
  at_first=("${failing[@]}")
  [ "${#at_first[@]}" -gt 0 ] && [ "${#at_first[@]}" -le 3 ] || return
  local first=$bats_result status
  printf '\n== bats, once more and alone: %s\n' "${at_first[*]}"
  count 1 "${at_first[@]}"
  status=$?
  bats_result="$first; once more and alone: $bats_result"
  return "$status"
}

step "gofmt" formatted
step "go vet" go vet ./...
# The sweeps that kill arid at every call, or fail every call, run a binary of
# their own: the race detector would only slow down the test around it.
step "go test -race" go_test -race -short -timeout 20m ./...
step "go test, killed at every call" go_test -timeout 20m -run 'Kill|BadDisk' ./certs ./cmd
step "as an ordinary user" as_user
# Of tests/servers what needs no more packages; `make servers` has the rest.
step "bats" bats_run tests/bats/*.bats tests/servers/nginx.bats tests/servers/lighttpd.bats

echo
[ "${#skipped[@]}" -eq 0 ] || printf 'skipped: %s\n' "${skipped[@]}"
[ "${#at_first[@]}" -eq 0 ] || printf 'failed at first: %s\n' "${at_first[@]}"
[ "${#failed[@]}" -eq 0 ] || printf 'failed: %s\n' "${failed[@]}"
printf '%s\n' "$bats_result"
[ "${#failed[@]}" -eq 0 ]
