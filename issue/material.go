package issue

import (
	"context"
	"slices"
	"time"

	"arid/acme"
	"arid/alpn"
	"arid/challenge"
)

// material is where arid itself puts proofs: the directories of http-01 and
// tls-alpn-01, and the name server where no hook is to write dns-01 records.
type material struct {
	*run
	http *challenge.HTTPDir // nil where no name needs it
	alpn *alpn.Dir
	put  []task
	show []func() // take away what Proofs shows
	told error    // why the records could not be added
}

// put shows the proofs. The returned function takes them away.
func (r *run) put(ctx context.Context, tasks []task) (remove func(), err error) {
	m := &material{run: r}
	if len(tasks) == 0 {
		return func() {}, nil
	}
	if err := m.open(func(typ string) bool {
		return slices.ContainsFunc(tasks, func(t task) bool { return t.typ == typ })
	}); err != nil {
		m.close()
		return func() {}, err
	}
	remove = func() {
		m.removeAll(ctx)
		m.close()
	}
	for _, t := range tasks {
		if err := m.putFile(t); err != nil {
			return remove, err
		}
	}
	return remove, m.putRecords(ctx, tasks)
}

// open opens the directories of the types that are needed.
func (m *material) open(needed func(typ string) bool) (err error) {
	if needed(challenge.HTTP01) && (m.Proofs == nil || m.WellKnown != "") {
		if m.http, err = challenge.OpenHTTPDir(m.WellKnown); err != nil {
			return err
		}
		m.http.Mode = m.TokenMode
	}
	if needed(challenge.TLSALPN01) && (m.Proofs == nil || m.ALPNDir != "") {
		made := false
		if m.alpn, made, err = alpn.OpenDir(m.ALPNDir, m.ALPNGroup); err != nil {
			return err
		}
		if made {
			m.tell(StepWarning, "made the directory %q: the server that answers tls-alpn-01 must be able to read it (chgrp and chmod 2750)", m.ALPNDir)
		}
	}
	return nil
}

func (m *material) close() {
	if m.http != nil {
		m.http.Close()
	}
	if m.alpn != nil {
		m.alpn.Close()
	}
}

func (m *material) putFile(t task) error {
	m.put = append(m.put, t)
	if err := m.putProof(t); err != nil {
		return err
	}
	switch {
	case t.typ == challenge.HTTP01 && m.http != nil:
		if err := m.http.Put(t.hook.Token, t.keyAuth); err != nil {
			return err
		}
		m.tell(StepPut, "%s: wrote %s/%s", t.name, m.WellKnown, t.hook.Token)
	case t.typ == challenge.TLSALPN01 && m.alpn != nil:
		if err := m.alpn.Put(t.name, t.keyAuth, time.Now()); err != nil {
			return err
		}
		m.tell(StepPut, "%s: wrote a certificate for acme-tls/1, %s/%s.crt.pem, and its key", t.name, m.ALPNDir, alpn.ServerName(t.name))
	}
	return nil
}

// putProof shows a proof from memory, where arid itself answers.
func (m *material) putProof(t task) error {
	if m.Proofs == nil {
		return nil
	}
	switch t.typ {
	case challenge.HTTP01:
		m.show = append(m.show, m.Proofs.PutToken(t.hook.Token, t.keyAuth))
	case challenge.TLSALPN01:
		remove, err := m.Proofs.PutName(t.name, t.keyAuth, time.Now())
		if err != nil {
			return err
		}
		m.show = append(m.show, remove)
	default:
		return nil
	}
	m.tell(StepPut, "%s: arid itself shows the proof", t.name)
	return nil
}

// putRecords adds all TXT records at once.
func (m *material) putRecords(ctx context.Context, tasks []task) error {
	records := txtRecords(tasks)
	if m.Updater == nil || len(records) == 0 {
		return nil
	}
	defer m.notCounted(time.Now())
	if err := m.Updater.Add(ctx, records...); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m.told = err
		return err
	}
	for _, record := range records {
		m.tell(StepPut, "added the TXT record %s %q", record.Name, record.Value)
	}
	return nil
}

// removeAll takes away what was put, also after a signal.
func (m *material) removeAll(ctx context.Context) {
	for _, remove := range m.show {
		remove()
	}
	for _, t := range m.put {
		var err error
		switch {
		case t.typ == challenge.HTTP01 && m.http != nil:
			err = m.http.Remove(t.hook.Token)
		case t.typ == challenge.TLSALPN01 && m.alpn != nil:
			err = m.alpn.Remove(t.name)
		}
		if err != nil {
			m.tell(StepWarning, "%v", err)
		}
	}
	m.removeRecords(ctx, m.put)
}

// removeRecords takes away just the values that were added.
func (m *material) removeRecords(ctx context.Context, tasks []task) {
	records := txtRecords(tasks)
	if m.Updater == nil || len(records) == 0 {
		return
	}
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	err := m.Updater.Delete(own, records...)
	if err != nil && (m.told == nil || m.told.Error() != err.Error()) {
		m.tell(StepWarning, "%v", err)
	}
}

// removeStale takes away what a killed run put for authorizations on which the
// CA has its verdict. What is still pending may be looked at just now, and is put
// anew. It is no reason to fail.
func (r *run) removeStale(ctx context.Context, o *acme.Order) {
	m := &material{run: r}
	defer m.close()
	if m.open(func(typ string) bool { return r.Types.Uses(typ, r.Names) }) != nil {
		return // said later, if it matters
	}
	if m.alpn == nil && m.Updater == nil && (m.http == nil || m.http.Empty()) {
		return // no request for nothing
	}
	_ = each(ctx, len(o.Authorizations), func(ctx context.Context, i int) error {
		a, err := r.Client.FetchAuthorization(ctx, o.Authorizations[i])
		if err != nil || a.Status == "pending" {
			return err
		}
		name, typ, err := r.ordered(a)
		if err != nil {
			return err
		}
		for _, ch := range a.Challenges {
			if ch.Type == typ && ch.Token != "" {
				m.removeLeft(ctx, name, ch)
			}
		}
		return nil
	})
}

// removeLeft takes away what answers one challenge, whoever put it there.
func (m *material) removeLeft(ctx context.Context, name string, ch acme.Challenge) {
	keyAuth, err := m.keyAuthorization(ch.Token)
	if err != nil {
		return
	}
	switch {
	case ch.Type == challenge.HTTP01 && m.http != nil:
		err = m.http.RemoveStale(ch.Token, keyAuth)
	case ch.Type == challenge.TLSALPN01 && m.alpn != nil:
		err = m.alpn.RemoveStale(name, keyAuth)
	case ch.Type == challenge.DNS01:
		t := task{name: name, typ: ch.Type}
		t.hook.Value = challenge.Value(ch.Type, keyAuth)
		m.removeRecords(ctx, []task{t})
	}
	if err != nil {
		m.tell(StepWarning, "%v", err)
	}
}
