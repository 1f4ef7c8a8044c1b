//go:build linux

package main

import "time"

// scenario is one thing that is measured of every client.
type scenario struct {
	name      string // for --case
	title     string
	manner    manner
	distances []time.Duration // round trips
	names     int             // in each certificate
	calls     int             // of the client, for as many certificates; 0: one
	held      int             // certificates that stand in domains.txt and are not due
	due       int             // and some that are
	kind      kind

	// How long the CA's look takes, one run each; none: no time. Where the polls of
	// a client meet such a time well by chance, they meet the next one badly.
	validations []time.Duration
}

func (t attempt) validation() time.Duration {
	if len(t.validations) == 0 {
		return 0
	}
	return t.validations[t.round%len(t.validations)]
}

type kind int

const (
	signing  kind = iota
	starting      // version or help
	again         // the certificate is there, and not due
	daily         // as many as held are there, and none is due
	renewing      // some are due besides
)

const millisecond = time.Millisecond

var near, middle, far = 0 * millisecond, 50 * millisecond, 150 * millisecond

var scenarios = []scenario{
	{name: "start", title: "Start-up: version or help", kind: starting, distances: []time.Duration{near}},
	{name: "one", title: "One name", names: 1, distances: []time.Duration{near, middle, far}},
	{name: "five", title: "Five names in one certificate", names: 5, distances: []time.Duration{near, middle, far}},
	{name: "many", title: "100 names in one certificate", names: 100, distances: []time.Duration{near, middle, far}},
	{name: "calls", title: "100 certificates, one call after another", names: 1, calls: 100, distances: []time.Duration{near, middle, far}},
	{name: "again", title: "Nothing to do: the certificate is not due", names: 1, kind: again, distances: []time.Duration{middle}},
	{name: "thousand", title: "1000 certificates in domains.txt, none due", kind: daily, held: 1000, distances: []time.Duration{near}},
	{name: "tenthousand", title: "10,000 certificates in domains.txt, none due", kind: daily, held: 10000, distances: []time.Duration{near}},
	{name: "renewal", title: "1000 certificates in domains.txt, 100 of them due", kind: renewing, held: 900, due: 100, distances: []time.Duration{middle}},
	{name: "nonces", title: "One name, half of the nonces refused", manner: refusing, names: 1, distances: []time.Duration{near}},
	{name: "slow", title: "One name, a CA that takes its time", manner: slow, names: 1, distances: []time.Duration{30 * millisecond},
		validations: []time.Duration{400 * millisecond, 700 * millisecond, 1000 * millisecond}},
}

// What takes long is done less often, and what would take very long is measured in
// part and extrapolated.
const (
	manyBelow      = time.Second      // nine runs
	oftenBelow     = 3 * time.Second  // five
	sometimesBelow = 6 * time.Second  // three
	part           = 10               // names, of 100 …
	partIsEnough   = 6 * time.Second  // … where they take longer than that
	calls          = 5                // of 100 …
	callsAreEnough = 60 * time.Second // … where 100 would take longer than that
	ownAreEnough   = 2 * time.Minute  // … and with floor and arid
	held           = 100              // of 1000 or 10,000, with a client that takes seconds for them
)

// runs is how many are wanted, given how long the first took.
func (s *scenario) runs(first time.Duration, quick bool) int {
	switch {
	case quick:
		return 1
	case s.validations != nil:
		return len(s.validations)
	case first < manyBelow:
		return 9
	case first < oftenBelow:
		return 5
	case first < sometimesBelow:
		return 3
	}
	return 1
}

// sample is what one run cost; of many calls all together.
type sample struct {
	wall, cpu                         time.Duration
	memory                            int64 // KiB
	requests, connections, handshakes float64
	processes, programs               float64    // of a run that is not timed
	guessed                           bool       // from a part
	exchanges                         []exchange // of the last call
	log                               string
}

// plus adds f times another sample.
func (s sample) plus(t sample, f float64) sample {
	return sample{
		wall:        s.wall + time.Duration(f*float64(t.wall)),
		cpu:         s.cpu + time.Duration(f*float64(t.cpu)),
		memory:      max(s.memory, t.memory),
		requests:    s.requests + f*t.requests,
		connections: s.connections + f*t.connections,
		handshakes:  s.handshakes + f*t.handshakes,
		processes:   s.processes + f*t.processes,
		programs:    s.programs + f*t.programs,
		guessed:     s.guessed || t.guessed,
		exchanges:   t.exchanges,
		log:         s.log + t.log,
	}
}
