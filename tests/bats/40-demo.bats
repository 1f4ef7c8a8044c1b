#!/usr/bin/env bats
# The first thing that a stranger runs.

load helper

@test "make demo shows a verified chain and leaves nothing behind" {
  mkdir "$T/tmp"
  TMPDIR=$T/tmp run -0 make -s -C "$TOP" demo
  [[ $output == *"the chain is verified"* ]]
  [ -z "$(ls -A "$T/tmp")" ]
}
