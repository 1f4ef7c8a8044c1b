package challenge

// HTTPDir is the directory that a web server shows as
// /.well-known/acme-challenge/ (RFC 8555 §8.3).
type HTTPDir struct{}

// OpenHTTPDir opens WELLKNOWN.
func OpenHTTPDir(path string) (*HTTPDir, error) { return nil, nil }

// Put writes the file for token.
func (d *HTTPDir) Put(token, keyAuth string) error { return nil }

// Remove takes away what Put wrote for token.
func (d *HTTPDir) Remove(token string) error { return nil }

// Close closes the directory.
func (d *HTTPDir) Close() error { return nil }
