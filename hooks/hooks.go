// Package hooks runs the user's programs: which event, with which arguments
// and environment, and what became of it. It knows dehydrated's protocol and
// processes; of ACME it knows nothing.
package hooks
