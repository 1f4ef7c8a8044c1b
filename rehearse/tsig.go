package rehearse

import (
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// fudge is how many seconds two clocks may differ (RFC 8945 §10).
const fudge = 300

// signatureOf finds the TSIG record. There may be one, the last of all (RFC
// 8945 §5.1): what follows it would not be signed.
func signatureOf(m *dns.Msg) (signature *dns.TSIG, wellFormed bool) {
	for i, rr := range m.Extra {
		if rr.Header().Rrtype != dns.TypeTSIG {
			continue
		}
		t, ok := rr.(*dns.TSIG)
		const least = 10 // bytes of a MAC (§5.2.2.1)
		if !ok || i != len(m.Extra)-1 || len(t.MAC) < 2*least {
			return nil, false
		}
		signature = t
	}
	return signature, true
}

// faultOf is the TSIG error for what came of verifying, 0 where it went well.
func faultOf(verified error) uint16 {
	switch {
	case verified == nil:
		return dns.RcodeSuccess
	case errors.Is(verified, dns.ErrSecret):
		return dns.RcodeBadKey
	case errors.Is(verified, dns.ErrTime):
		return dns.RcodeBadTime
	}
	return dns.RcodeBadSig
}

// sign makes the reply one that is to be signed when it is written.
func sign(reply *dns.Msg, request *dns.TSIG, fault uint16) {
	now := time.Now().Unix()
	reply.SetTsig(request.Hdr.Name, request.Algorithm, fudge, now)
	t := reply.IsTsig()
	t.Error = fault
	if fault == dns.RcodeBadTime { // the asker's time, and ours beside it (RFC 8945 §5.2.3)
		t.TimeSigned = request.TimeSigned
		t.OtherLen, t.OtherData = 6, fmt.Sprintf("%012x", now)
	}
}

// write sends a reply, signed where it is to be. With a bad key or signature it
// cannot be (RFC 8945 §5.3.2): then it is packed here, since the library takes
// the time out as well, and nsupdate speaks of clocks instead of the key.
func write(w dns.ResponseWriter, reply *dns.Msg) error {
	t := reply.IsTsig()
	if t == nil || t.Error != dns.RcodeBadKey && t.Error != dns.RcodeBadSig {
		return w.WriteMsg(reply)
	}
	packed, err := reply.Pack()
	if err == nil {
		_, err = w.Write(packed)
	}
	return err
}

// noKey knows nobody who could have signed.
type noKey struct{}

func (noKey) Generate([]byte, *dns.TSIG) ([]byte, error) { return nil, dns.ErrSecret }
func (noKey) Verify([]byte, *dns.TSIG) error             { return dns.ErrSecret }
