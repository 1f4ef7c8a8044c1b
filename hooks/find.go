package hooks

// Find returns the program to run for a HOOK setting.
func Find(program, path, dir string) (string, error) { return program, nil }

// NotFoundError says why a HOOK cannot be run.
type NotFoundError struct {
	Program string
	Reason  string
	Err     error
	hint    string
}

func (e *NotFoundError) Error() string { return e.Reason }
func (e *NotFoundError) Unwrap() error { return e.Err }

// Hint is what the user might do, or "".
func (e *NotFoundError) Hint() string { return e.hint }
