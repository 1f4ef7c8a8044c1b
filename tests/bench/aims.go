//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// results are those of one client by scenario and distance.
type results map[string]map[time.Duration]*figures

func (r results) add(s *scenario, roundTrip time.Duration, f *figures) {
	if r[s.name] == nil {
		r[s.name] = map[time.Duration]*figures{}
	}
	r[s.name][roundTrip] = f
}

// aim is a number that arid is not to go over.
type aim struct {
	what     string
	limit    float64
	measured float64
	unit     string
}

// aims are those of what was measured, of docs/performance.md's list.
func aims(ours, floor results, bin string) (list []aim) {
	both := func(scenario string, roundTrip time.Duration, compare func(f, to *figures)) {
		f, to := ours[scenario][roundTrip], floor[scenario][roundTrip]
		if f.good() && to.good() {
			compare(f, to)
		}
	}
	for _, d := range []time.Duration{near, middle, far} {
		both("one", d, func(f, to *figures) {
			at := fmt.Sprintf("one name, %d ms: ", d.Milliseconds())
			list = append(list,
				aim{at + "requests", 9, f.requests(), ""},
				aim{at + "connections", 1, f.connections(), ""},
				aim{at + "wall beside the floor", 1.05, f.wall().Seconds() / to.wall().Seconds(), "×"},
				aim{at + "CPU", 40, ms(f.cpu()), "ms"},
				aim{at + "peak memory", 25, f.memory(), "MB"})
		})
	}
	for d := range ours["slow"] {
		both("slow", d, func(f, to *figures) {
			list = append(list, aim{"a CA that takes its time: wall beside the floor", 1.1, f.wall().Seconds() / to.wall().Seconds(), "×"})
		})
	}
	if one, many := ours["one"][far], ours["many"][far]; one.good() && many.good() {
		list = append(list, aim{"100 names in one certificate, 150 ms: wall beside one name", 3, many.wall().Seconds() / one.wall().Seconds(), "×"})
	}
	both("nonces", near, func(f, to *figures) {
		list = append(list, aim{"half of the nonces refused: requests beside the floor", 1.5, f.requests() / to.requests(), "×"})
	})
	if f := ours["thousand"][near]; f.good() {
		list = append(list, aim{"1000 certificates, none due: CPU", 120, ms(f.cpu()), "ms"},
			aim{"1000 certificates, none due: peak memory", 30, f.memory(), "MB"})
	}
	if f := ours["tenthousand"][near]; f.good() {
		list = append(list, aim{"10,000 certificates, none due: wall", 1, f.wall().Seconds(), "s"})
	}
	if f := ours["start"][near]; f.good() {
		list = append(list, aim{"start-up: CPU", 10, ms(f.cpu()), "ms"})
		if info, err := os.Stat(filepath.Join(bin, ourName)); err == nil {
			list = append(list, aim{"size of the binary", 16, float64(info.Size()) / 1e6, "MB"})
		}
	}
	return list
}

func printAims(w io.Writer, list []aim) {
	rows := [][]string{{"aim", "at most", "measured", "reached"}}
	for _, a := range list {
		reached := "yes"
		if a.measured > a.limit {
			reached = "no"
		}
		rows = append(rows, []string{a.what, fmt.Sprintf("%v %s", a.limit, a.unit), fmt.Sprintf("%.4g %s", a.measured, a.unit), reached})
	}
	if len(rows) > 1 {
		fmt.Fprintf(w, "\n### Aims\n\n")
		printRows(w, rows)
	}
}
