package hooks

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// groupAlive says whether a process group, whose leader we have waited for, has
// a process that still does something. Zombies count for kill(2); they stay
// where process 1 does not wait for orphans, as in many a container.
func groupAlive(group int) bool {
	if unix.Kill(-group, 0) != nil {
		return false
	}
	list, err := os.ReadDir("/proc")
	if err != nil || len(list) == 0 {
		return true
	}
	for _, entry := range list {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		// pid (name) state ppid pgrp …; a name may hold blanks and ")" (proc(5)).
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) > 2 && string(fields[2]) == strconv.Itoa(group) && !bytes.ContainsAny(fields[0], "ZX") {
			return true
		}
	}
	return false
}
