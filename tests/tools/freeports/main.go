// freeports prints ports of 127.0.0.1 that are free for TCP and UDP, one a line,
// all different: `freeports 3`. Ports that follow are none of them, such as those
// whose servers are yet to start. They are taken by chance from below the range
// that the kernel gives to outgoing connections (32768 and up), so that none
// is lost to one of those before a server has bound it. Tests that run side by side
// each have a TEST_LANE, 0 or 1, whose ports no other lane takes.
package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
)

const lowest, highest = 12000, 32000

func main() {
	count, given := 1, map[int]bool{}
	for i, arg := range os.Args[1:] {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 {
			fmt.Fprintln(os.Stderr, "usage: freeports [COUNT [TAKEN...]]")
			os.Exit(64)
		}
		if i == 0 {
			count = n
		} else {
			given[n] = true
		}
	}
	from, to := lowest, highest
	switch middle := (lowest + highest) / 2; os.Getenv("TEST_LANE") {
	case "0":
		to = middle
	case "1":
		from = middle
	}
	for tries := 0; count > 0; tries++ {
		if tries == 10000 {
			fmt.Fprintln(os.Stderr, "freeports: no free ports found")
			os.Exit(75)
		}
		port := from + rand.IntN(to-from)
		if !given[port] && free(port) {
			given[port] = true
			count--
			fmt.Println(port)
		}
	}
}

func free(port int) bool {
	l, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port))
	if err != nil {
		return false
	}
	defer l.Close()
	p, err := net.ListenPacket("udp4", fmt.Sprintf("0.0.0.0:%d", port))
	if err != nil {
		return false
	}
	p.Close()
	return true
}
