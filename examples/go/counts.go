package slm

// #include <stdint.h>
import "C"

import (
	"sync/atomic"
	"unsafe"
)

// counts are the blocks and bytes that slm_go_count has given out, in memory of C's that is never
// freed: for tests, which cannot use cgo themselves.
type counts struct{ p *C.int64_t }

func newCounts() counts {
	var forever arena
	return counts{(*C.int64_t)(forever.take(16))}
}

func (c counts) blocks() int64 { return atomic.LoadInt64((*int64)(c.p)) }
func (c counts) bytes() int64 {
	return atomic.LoadInt64((*int64)(unsafe.Add(unsafe.Pointer(c.p), 8)))
}
