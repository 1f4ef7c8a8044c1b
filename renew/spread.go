package renew

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"strings"
	"time"
)

// spread is a part of span, from 0 on and short of the whole: the same for the
// same words, and evenly spread over different ones.
func spread(span time.Duration, words ...string) time.Duration {
	sum := sha256.Sum256([]byte(strings.Join(words, "\n")))
	part, _ := bits.Mul64(binary.BigEndian.Uint64(sum[:]), uint64(span))
	return time.Duration(part)
}
