// Package slm runs small language models inside a Go program. It compiles the C library slm, which
// needs nothing else; slm.h is the manual of what stands behind each call.
//
// A Model, a ChatTemplate and a Threads may be used by any number of goroutines. A Context, a Sampler,
// a Generator and a ChatOutput serve one call at a time: a second one gets ErrBusy. Close gives memory
// back and may be called twice; what is used afterwards gets ErrClosed. Objects that are forgotten are
// closed by the garbage collector.
//
// Errors are *Error values with a Status: errors.Is(err, slm.ErrFormat). Once a callback has panicked, no
// other is called in that call, which stops if it can, and the panic goes on behind it.
package slm

// #cgo CFLAGS: -std=c11 -I${SRCDIR}/../..
// #cgo LDFLAGS: -pthread
// #include "slm.h"
// #include <stdlib.h>
// #include <string.h>
import "C"

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unsafe"
)

// Token is the id of a token.
type Token = int32

// Version is the version of the C library as major * 1000000 + minor * 1000 + patch.
func Version() int { return int(C.slm_version()) }

// CPUFeatures are the names of what this CPU and operating system offer: "avx2".
func CPUFeatures() []string {
	var names []string
	features := uint64(C.slm_cpu_features())
	for bit := 0; bit < 64; bit++ {
		if features>>bit&1 != 0 {
			names = append(names, C.GoString(C.slm_cpu_feature_name(C.int32_t(bit))))
		}
	}
	return names
}

// Status is the kind of a failure. The constants are errors, for errors.Is.
type Status int32

// The statuses of slm.h.
const (
	ErrArgument    = Status(C.SLM_E_ARGUMENT)    // a value out of range
	ErrMemory      = Status(C.SLM_E_MEMORY)      // no memory, or a cap was reached
	ErrIO          = Status(C.SLM_E_IO)          // a file could not be opened or read
	ErrFormat      = Status(C.SLM_E_FORMAT)      // the bytes are not a valid GGUF file
	ErrModel       = Status(C.SLM_E_MODEL)       // a GGUF file that is not a consistent model
	ErrUnsupported = Status(C.SLM_E_UNSUPPORTED) // an unknown family, encoding or tokenizer
	ErrSpace       = Status(C.SLM_E_SPACE)       // more rows of logits are wanted than there are
	ErrFull        = Status(C.SLM_E_FULL)        // the context has no room for these tokens
	ErrCancelled   = Status(C.SLM_E_CANCELLED)   // the context.Context is done, or progress said no
	ErrDeadline    = Status(C.SLM_E_DEADLINE)    // the time of a step is up; call again to go on
	ErrBusy        = Status(C.SLM_E_BUSY)        // the object is in use by another call
	ErrForked      = Status(C.SLM_E_FORKED)      // the object was made before fork()
	ErrNumeric     = Status(C.SLM_E_NUMERIC)     // no finite logit to choose from
	ErrThread      = Status(C.SLM_E_THREAD)      // the system gave no thread
	ErrTemplate    = Status(C.SLM_E_TEMPLATE)    // a chat template is wrong, or refuses
)

// Error is the status's name in slm.h: "SLM_E_FORMAT".
func (s Status) Error() string { return C.GoString(C.slm_status_name(C.int(s))) }

// ErrClosed is the error of an object that is used after Close.
var ErrClosed = errors.New("slm: the object is closed")

// Error is a failed call.
type Error struct {
	Status   Status
	Position int64  // byte offset, line, or index of the token, span or stage; or -1
	Message  string // names the tensor, key, token or argument concerned
	Cause    error  // what the context.Context or the io.ReaderAt failed with, or nil
}

func (e *Error) Error() string { return "slm: " + e.Message + " (" + e.Status.Error() + ")" }

// Is tells errors.Is whether target is the status of the error.
func (e *Error) Is(target error) bool { return target == error(e.Status) }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Cause }

func failed(status C.int, err *C.slm_error) error {
	if status == C.SLM_OK {
		return nil
	}
	return &Error{
		Status:   Status(status),
		Position: int64(err.position),
		Message:  C.GoString(&err.message[0]),
	}
}

func badArgument(format string, values ...any) error {
	return &Error{Status: ErrArgument, Position: -1, Message: fmt.Sprintf(format, values...)}
}

// arena has C memory for the time of a call: options must not point at Go memory.
type arena struct{ blocks []unsafe.Pointer }

func (a *arena) take(size uintptr) unsafe.Pointer {
	p := C.malloc(C.size_t(size + 1)) // never NULL: Go stops the program if there is no memory
	C.memset(p, 0, C.size_t(size+1))
	a.blocks = append(a.blocks, p)
	return p
}

func (a *arena) free() {
	for _, p := range a.blocks {
		C.free(p)
	}
	a.blocks = nil
}

// text copies text and puts a 0 behind it.
func (a *arena) text(s string) *C.char {
	p := a.take(uintptr(len(s)))
	copy(unsafe.Slice((*byte)(p), len(s)), s)
	return (*C.char)(p)
}

// cString copies a string that C reads up to a 0; what names it in the error.
func (a *arena) cString(s, what string) (*C.char, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return nil, badArgument("%s has a zero byte", what)
	}
	return a.text(s), nil
}

// optional is cString, but nil for "".
func (a *arena) optional(s, what string) (*C.char, error) {
	if s == "" {
		return nil, nil
	}
	return a.cString(s, what)
}

func (a *arena) tokens(tokens []Token) *C.int32_t {
	p := (*C.int32_t)(a.take(uintptr(len(tokens)) * 4))
	copy(unsafe.Slice((*Token)(unsafe.Pointer(p)), len(tokens)), tokens)
	return p
}

// fill is a call that fills a buffer: once with room for guess elements, and again if that is too
// small.
func fill[T any](guess int, call func(p *T, room C.size_t, needed *C.size_t, err *C.slm_error) C.int) ([]T, error) {
	for room := guess + 1; ; {
		buffer := make([]T, room)
		var needed C.size_t
		var err C.slm_error
		status := call(&buffer[0], C.size_t(room), &needed, &err)
		if status == C.SLM_E_SPACE && int(needed) > room {
			room = int(needed)
			continue
		}
		if status != C.SLM_OK {
			return nil, failed(status, &err)
		}
		return buffer[:needed], nil
	}
}

func goBytes(p *C.char, size C.size_t) string {
	if p == nil {
		return ""
	}
	return string(unsafe.Slice((*byte)(unsafe.Pointer(p)), int(size)))
}

// number is n for C, and what is beyond 32 bits the largest or smallest there is, which C refuses where
// it matters.
func number(n int) C.int32_t {
	switch {
	case n > math.MaxInt32:
		return math.MaxInt32
	case n < math.MinInt32:
		return math.MinInt32
	}
	return C.int32_t(n)
}

func flag(on bool) C.int32_t {
	if on {
		return 1
	}
	return 0
}

// cBytes is a copy of text in Go's memory with a 0 behind it: for arguments, which C only reads.
func cBytes(s string) *C.char {
	b := append([]byte(s), 0)
	return (*C.char)(unsafe.Pointer(&b[0]))
}
