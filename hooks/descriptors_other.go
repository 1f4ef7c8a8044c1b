//go:build !linux

package hooks

import "errors"

func closeRange() error { return errors.ErrUnsupported }
