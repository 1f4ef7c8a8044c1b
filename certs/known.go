package certs

import (
	"bytes"
	"crypto/x509"
	"path/filepath"
	"strings"

	"arid/internal/atomicfile"
)

// VersionOf is the version, shown or not, that has this certificate: "1795000000".
// "" is none that is still there.
func (c *Certificate) VersionOf(leaf *x509.Certificate) string {
	// The second form is dehydrated's; arid's versions have both.
	for _, pattern := range []string{c.file(versionsName, "*", certName), c.file(flat(certName, "*"))} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			continue // a folder with a bad pattern in its name
		}
		for _, file := range files {
			data, err := atomicfile.ReadFile(file, maxPEM)
			if err != nil {
				continue
			}
			if chain, err := parseChain(data); err == nil && len(chain) > 0 && bytes.Equal(chain[0].Raw, leaf.Raw) {
				id := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "cert-"), ".pem")
				if filepath.Base(file) == certName {
					id = filepath.Base(filepath.Dir(file))
				}
				return id
			}
		}
	}
	return ""
}

// ParseChain reads the certificates of a PEM file; text and blocks of other kinds
// are passed over.
func ParseChain(data []byte) ([]*x509.Certificate, error) { return parseChain(data) }
