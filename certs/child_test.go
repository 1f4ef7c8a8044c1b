package certs
func childMain(dir string) {}
