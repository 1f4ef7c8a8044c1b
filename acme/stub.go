package acme

func (e *TemporaryError) WholeCA() bool { return false }
func (c *Client) DirectoryDocument() ([]byte, bool) { return nil, false }
