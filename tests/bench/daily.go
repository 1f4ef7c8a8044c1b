//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// measureDaily is a run over a tree in which nothing is due, and in which nothing may
// change. dehydrated, which takes as long for each certificate, is not asked for all.
func (b *bench) measureDaily(ctx context.Context, t attempt) (sample, error) {
	n := t.held
	if t.client.version != "" {
		n = held
	}
	tree, err := b.tree(n)
	if err != nil {
		return sample{}, err
	}
	a, p, err := b.at(ctx, t.manner, t.client)
	if err != nil {
		return sample{}, err
	}
	before, err := inventory(tree)
	if err != nil {
		return sample{}, err
	}
	result, err := b.counted(ctx, a, t.client.daily(p, tree), t)
	if err != nil {
		return sample{}, err
	}
	after, err := inventory(tree)
	if err != nil {
		return sample{}, err
	}
	if before != after {
		return sample{}, errors.New("it has changed files")
	}
	if n == t.held {
		return result, nil
	}
	f := float64(t.held) / float64(n)
	result.wall, result.cpu = time.Duration(f*float64(result.wall)), time.Duration(f*float64(result.cpu))
	result.guessed = true // what it asks of the CA does not come from the certificates
	return result, nil
}

// measureRenewal is a run over a tree in which some certificates are missing.
func (b *bench) measureRenewal(ctx context.Context, t attempt) (sample, error) {
	a, p, err := b.at(ctx, t.manner, t.client)
	if err != nil {
		return sample{}, err
	}
	b.runs++
	tree := filepath.Join(b.dir, fmt.Sprintf("tree-of-run-%d", b.runs))
	defer os.RemoveAll(tree)
	list, err := b.makeTree(tree, t.held)
	if err != nil {
		return sample{}, err
	}
	due := b.fresh(t.due)
	file := filepath.Join(tree, "domains.txt")
	if err := os.WriteFile(file, []byte(list+strings.Join(due, "\n")+"\n"), 0o600); err != nil {
		return sample{}, err
	}
	result, err := b.counted(ctx, a, t.client.renewal(p, tree), t)
	p.dir = tree
	for _, name := range due {
		if err == nil {
			err = check(a.roots, t.client.files(p, name), []string{name})
		}
	}
	return result, err
}

// tree is a folder as dehydrated leaves it, with n certificates that last 90 days.
func (b *bench) tree(n int) (string, error) {
	tree := filepath.Join(b.dir, fmt.Sprintf("tree-%d", n))
	if _, err := os.Stat(tree); err == nil {
		return tree, nil
	}
	list, err := b.makeTree(tree, n)
	if err != nil {
		return "", err
	}
	return tree, os.WriteFile(filepath.Join(tree, "domains.txt"), []byte(list), 0o600)
}

// makeTree makes the certificates, and gives the lines for domains.txt.
func (b *bench) makeTree(tree string, n int) (lines string, err error) {
	var list strings.Builder
	for i := range n {
		name := fmt.Sprintf("n%d.tree.test", i)
		fmt.Fprintln(&list, name)
		if err := b.servers.authority.certificate90(filepath.Join(tree, "certs", name), name, int64(i)); err != nil {
			return "", err
		}
	}
	return list.String(), nil
}

// certificate90 writes the files of one certificate.
func (a *authority) certificate90(folder, name string, serial int64) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := template(name)
	leaf.SerialNumber, leaf.DNSNames, leaf.NotAfter = big.NewInt(serial+1), []string{name}, leaf.NotBefore.Add(90*24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.certificate, key.Public(), a.key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for _, file := range []struct {
		stem string
		data []byte
	}{
		{"cert", certPEM},
		{"chain", a.PEM},
		{"fullchain", append(certPEM, a.PEM...)},
		{"privkey", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})},
	} {
		target := fmt.Sprintf("%s-%d.pem", file.stem, leaf.NotBefore.Unix())
		err := errors.Join(os.WriteFile(filepath.Join(folder, target), file.data, 0o600),
			os.Symlink(target, filepath.Join(folder, file.stem+".pem")))
		if err != nil {
			return err
		}
	}
	return nil
}

// inventory tells the names, sizes and times of all files in a folder.
func inventory(folder string) (string, error) {
	var all strings.Builder
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			fmt.Fprintln(&all, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	return all.String(), err
}
