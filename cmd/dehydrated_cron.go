package cmd

import (
	"context"
	"errors"
)

var errNotYet = errors.New("not yet")

func (a *app) dehydratedCron(context.Context, *dehydratedLine) error    { return errNotYet }
func (a *app) dehydratedSignCSR(context.Context, *dehydratedLine) error { return errNotYet }
func (a *app) dehydratedCleanup(context.Context, *dehydratedLine) error { return errNotYet }
