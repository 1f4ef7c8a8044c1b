package acme

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
)

// Limits of a chain. Honest ones are far below (100 names, five intermediates,
// ML-DSA signatures make 50 KiB).
const (
	maxChain        = 1 << 20
	maxCertificates = 32
	maxNames        = 1000
	maxAlternates   = 20
)

// Chain is a certificate and what signed it, leaf first. Alternates are where
// the same certificate is to be had under other issuers.
type Chain struct {
	Certificates []*x509.Certificate
	Alternates   []string
}

// FetchCertificate downloads a chain (RFC 8555 §7.4.2). That it fits key and
// names is for the caller to check.
func (c *Client) FetchCertificate(ctx context.Context, at string) (*Chain, error) {
	r, err := c.send(ctx, &call{what: "certificate", url: at, account: c.signer(), payload: []byte{}, again: true,
		accept: "application/pem-certificate-chain", limit: maxChain})
	if err != nil {
		return nil, err
	}
	chain, err := parseChain(r.body)
	if err != nil {
		if looksLikeHTML(r) {
			err = errors.New("an HTML page")
		}
		return nil, r.wrong("no good chain", err)
	}
	page, err := url.Parse(at)
	if err != nil {
		return nil, err
	}
	alternates := links(page, r.header.Values("Link"), "alternate", maxAlternates)
	return &Chain{chain, slices.DeleteFunc(alternates, func(u string) bool { return u == page.String() })}, nil
}

// FetchAlternates downloads the chain's alternates, one after another as they are
// asked for. One that cannot be had comes as its error, and the next may be good.
func (c *Client) FetchAlternates(ctx context.Context, chain *Chain) iter.Seq2[*Chain, error] {
	return func(yield func(*Chain, error) bool) {
		for _, at := range chain.Alternates {
			if !yield(c.FetchCertificate(ctx, at)) {
				return
			}
		}
	}
}

var (
	beginCertificate = []byte("-----BEGIN CERTIFICATE-----")
	endCertificate   = []byte("-----END CERTIFICATE-----")
)

// parseChain takes CERTIFICATE blocks with blanks around and between them, and
// nothing else: what a CA smuggles in would end up in files that servers read
// (RFC 8555 §11.4).
func parseChain(data []byte) (chain []*x509.Certificate, err error) {
	for data = bytes.TrimSpace(data); len(data) > 0; data = bytes.TrimSpace(data) {
		if len(chain) == maxCertificates {
			return nil, fmt.Errorf("more than %d certificates", maxCertificates)
		}
		end := bytes.Index(data, endCertificate)
		if !bytes.HasPrefix(data, beginCertificate) || end < 0 {
			return nil, fmt.Errorf("something other than certificates in the chain: %s", quote(string(data), 60))
		}
		end += len(endCertificate)
		block, rest := pem.Decode(data[:end])
		if block == nil || len(block.Headers) > 0 || len(rest) > 0 || bytes.Count(data[:end], []byte("-----BEGIN")) != 1 {
			return nil, fmt.Errorf("certificate %d of the chain is no good PEM", len(chain)+1)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", len(chain)+1, err)
		}
		if n := len(certificate.DNSNames) + len(certificate.IPAddresses) + len(certificate.EmailAddresses) + len(certificate.URIs); n > maxNames {
			return nil, fmt.Errorf("certificate %d of the chain has %d names", len(chain)+1, n)
		}
		chain = append(chain, certificate)
		data = data[end:]
	}
	if len(chain) == 0 {
		return nil, errors.New("the chain is empty")
	}
	return chain, nil
}
