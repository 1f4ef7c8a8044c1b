package issue

import (
	"arid/certs"
	"arid/renew"
)

// weigh decides whether the chain that the caller has from an earlier run goes on
// serving, where there is no folder that would tell. The CA is not asked when it
// wants it renewed: nothing would remember for how long not to ask again.
func (r *run) weigh() error {
	leaf := r.Current[0]
	r.current = &certs.Live{Leaf: leaf, Chain: r.Current}
	if err := r.guardTestCA(); err != nil {
		return err
	}
	if err := renew.CheckClock(r.Now, r.Built, leaf.NotBefore); err != nil {
		return err
	}
	facts := renew.Facts{Force: r.Force, Wanted: r.Names}
	r.compare(&facts)
	if _, err := certs.CheckChain(r.Current, leaf.PublicKey, nil, r.Now); err != nil && r.Now.Before(leaf.NotAfter) {
		facts.Unusable = err.Error()
	}
	r.due = renew.Due(r.Now, facts, r.Policy)
	return nil
}
