package respond

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
)

// Connections that are answered, and that are forwarded, at once, where there are
// descriptors enough.
const (
	maxAnswers  = 256
	maxForwards = 2048
)

// limits are those numbers within this process's descriptors: an answer takes up to
// three, a forwarded connection two.
func limits() (answers, forwards int) {
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) != nil {
		return maxAnswers, maxForwards
	}
	soft := int(min(uint64(files.Cur), 1<<20))
	return max(1, min(maxAnswers, soft/8)), max(1, min(maxForwards, soft/4))
}

// source is where connections come from, for a fair share: an IPv4 address, the /64
// of an IPv6 address, or the zero value for all else.
type source = netip.Prefix

func sourceOf(a net.Addr) source {
	ip := addrOf(a)
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	s, err := ip.Prefix(bits)
	if err != nil {
		return source{}
	}
	return s
}

// addrOf is an address as it is compared: an IPv4 address is one also where it
// came in by IPv6, and no zone is kept.
func addrOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// crowd is the connections that are answered, or of which nobody knows yet what they
// want. There is always room for one more: when it is full, the source with the most
// of them loses its oldest. So those who connect and are silent, however many, do
// not keep a CA out.
type crowd struct {
	mu      sync.Mutex
	max     int
	members []*member // the oldest first
}

type member struct {
	peer *peer
	source
}

// join takes a peer in. full tells that another was cut off for it.
func (c *crowd) join(p *peer) (full bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.members) >= c.max {
		full = true
		i := c.loser()
		c.members[i].peer.Close()
		c.members = slices.Delete(c.members, i, i+1)
	}
	c.members = append(c.members, &member{p, sourceOf(p.from)})
	return full
}

// loser is the oldest of the source that has the most.
func (c *crowd) loser() int {
	held := map[source]int{}
	most := 0
	for _, m := range c.members {
		held[m.source]++
		most = max(most, held[m.source])
	}
	return slices.IndexFunc(c.members, func(m *member) bool { return held[m.source] == most })
}

// rename counts a peer under the address that its proxy has told.
func (c *crowd) rename(p *peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.peer == p {
			m.source = sourceOf(p.from)
		}
	}
}

// leave is for one that is closed or forwarded; it may have been cut off before.
func (c *crowd) leave(p *peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members = slices.DeleteFunc(c.members, func(m *member) bool { return m.peer == p })
}

// counter bounds the forwarded connections, of which each source gets half at most.
type counter struct {
	mu    sync.Mutex
	max   int
	total int
	held  map[source]int
}

func (c *counter) enter(s source) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total >= c.max || c.held[s] >= (c.max+1)/2 {
		return false
	}
	c.total++
	c.held[s]++
	return true
}

func (c *counter) leave(s source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.held[s]--; c.held[s] == 0 {
		delete(c.held, s)
	}
}
