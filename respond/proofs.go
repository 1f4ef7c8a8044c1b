package respond

import (
	"crypto/sha256"
	"crypto/tls"
	"strings"
	"sync"
	"time"

	"arid/alpn"
)

// Proofs are shown from memory, each until it is removed. Safe for concurrent use;
// the zero value is empty.
type Proofs struct {
	mu     sync.Mutex
	tokens map[string]*string          // key authorizations, by token
	pairs  map[string]*tls.Certificate // by server name
}

// PutToken shows the key authorization of an http-01 challenge. What another order put
// for the same token since then, remove lets alone.
func (p *Proofs) PutToken(token, keyAuth string) (remove func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tokens == nil {
		p.tokens = map[string]*string{}
	}
	return put(&p.mu, p.tokens, token, &keyAuth)
}

// PutName shows a validation certificate for the name, made for a tls-alpn-01
// challenge. What another order put for the same name since then, remove lets alone.
func (p *Proofs) PutName(name, keyAuth string, now time.Time) (remove func(), err error) {
	certPEM, keyPEM, err := alpn.Make(name, sha256.Sum256([]byte(keyAuth)), now)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pairs == nil {
		p.pairs = map[string]*tls.Certificate{}
	}
	return put(&p.mu, p.pairs, alpn.ServerName(name), &pair), nil
}

// put is called with mu held.
func put[V any](mu *sync.Mutex, all map[string]*V, key string, v *V) (remove func()) {
	all[key] = v
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if all[key] == v {
			delete(all, key)
		}
	}
}

// token is the key authorization of a token, if there is one. p may be nil.
func (p *Proofs) token(token string) (keyAuth string, found bool) {
	if p == nil {
		return "", false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	text, found := p.tokens[token]
	if !found {
		return "", false
	}
	return *text, true
}

// pair is what is shown for a server name, nil for nothing. p may be nil.
func (p *Proofs) pair(serverName string) *tls.Certificate {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pairs[strings.ToLower(serverName)]
}
