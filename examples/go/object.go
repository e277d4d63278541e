package slm

// #include "callbacks.h"
// #include <stdlib.h>
import "C"

import (
	"context"
	"errors"
	"io"
	"runtime"
	"runtime/cgo"
	"sync"
	"sync/atomic"
	"unsafe"
)

// ---- Objects -----------------------------------------------------------------------------------

// object guards an object of C: how many calls are in it, how many other objects live by it, and
// whether it is closed. The last of them frees it.
type object struct {
	mu     sync.Mutex
	calls  int
	holds  int
	closed bool
	free   func()
}

var errBusy error = &Error{Status: ErrBusy, Position: -1, Message: "the object is in use by another call"}

func (o *object) count(calls, holds int, alone bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return ErrClosed
	}
	if alone && o.calls > 0 {
		return errBusy
	}
	o.calls += calls
	o.holds += holds
	return nil
}

// share begins a call that others may run beside, enter one that must be alone.
func (o *object) share() error { return o.count(1, 0, false) }
func (o *object) enter() error { return o.count(1, 0, true) }

// hold keeps the object for another one that lives by it.
func (o *object) hold() error { return o.count(0, 1, false) }

// holdAgain is for one who holds it already: closed or not.
func (o *object) holdAgain() {
	o.mu.Lock()
	o.holds++
	o.mu.Unlock()
}

func (o *object) leave() { o.release(1, 0, false) }
func (o *object) letGo() { o.release(0, 1, false) }
func (o *object) release(calls, holds int, closing bool) {
	o.mu.Lock()
	o.calls -= calls
	o.holds -= holds
	o.closed = o.closed || closing
	free := o.free
	if !o.closed || o.calls > 0 || o.holds > 0 {
		free = nil
	}
	if free != nil {
		o.free = nil
	}
	o.mu.Unlock()
	if free != nil {
		free()
	}
}

// Close gives the object's memory back, once no call uses it and nothing lives by it. It may be called
// any number of times and by any goroutine, and never fails.
func (o *object) Close() error {
	o.release(0, 0, true)
	return nil
}

// ---- Callbacks ---------------------------------------------------------------------------------

// callback is what C calls: functions of the host, and what went wrong in them in a call. C knows it by
// a cell of its own memory.
type callback struct {
	progress func(done, total uint64) bool
	log      func(level LogLevel, message string)
	files    []File

	cell *C.uintptr_t

	panicked bool
	panic    any
	err      error
}

func newCallback() *callback {
	c := &callback{cell: (*C.uintptr_t)(C.malloc(C.size_t(unsafe.Sizeof(C.uintptr_t(0)))))}
	*c.cell = C.uintptr_t(cgo.NewHandle(c))
	return c
}

func (c *callback) user() unsafe.Pointer { return unsafe.Pointer(c.cell) }

func (c *callback) free() {
	cgo.Handle(*c.cell).Delete()
	C.free(unsafe.Pointer(c.cell))
}

func callbackOf(user unsafe.Pointer) *callback {
	return cgo.Handle(*(*C.uintptr_t)(user)).Value().(*callback)
}

// during makes c the one of the call that this goroutine is in, until the function it gives is called. A
// log belongs to a model, which many calls may use at a time: what it panics with belongs to a call.
func (c *callback) during() (end func()) {
	runtime.LockOSThread()
	outer := C.slm_go_call(c.user())
	return func() {
		C.slm_go_call(outer)
		runtime.UnlockOSThread()
	}
}

// catch is deferred where Go runs inside of C, which a panic must not unwind.
func (c *callback) catch() {
	if reason := recover(); reason != nil {
		c.panicked, c.panic = true, reason
	}
}

// rethrow lets a panic go on, when the call is through.
func (c *callback) rethrow() {
	if c.panicked {
		reason := c.panic
		c.panicked, c.panic = false, nil
		panic(reason)
	}
}

//export slmGoProgress
func slmGoProgress(user unsafe.Pointer, done, total C.uint64_t) (stop C.int32_t) {
	c := callbackOf(user)
	if c.panicked {
		return 1
	}
	stop = 1
	defer c.catch()
	if c.progress == nil || c.progress(uint64(done), uint64(total)) {
		stop = 0
	}
	return stop
}

//export slmGoLog
func slmGoLog(user, call unsafe.Pointer, level C.int32_t, message *C.char) {
	c := callbackOf(call)
	if !c.panicked {
		defer c.catch()
		callbackOf(user).log(LogLevel(level), C.GoString(message))
	}
}

//export slmGoRead
func slmGoRead(user unsafe.Pointer, file C.int32_t, offset C.uint64_t, buffer unsafe.Pointer, size C.size_t) (n C.int64_t) {
	c := callbackOf(user)
	if n = -1; c.panicked {
		return n
	}
	defer c.catch()
	read, err := c.files[file].ReadAt(unsafe.Slice((*byte)(buffer), int(size)), int64(offset))
	if err != nil && err != io.EOF {
		c.err = err
		return -1
	}
	return C.int64_t(read)
}

// ---- Cancellation ------------------------------------------------------------------------------

// watch sets *flag, which is C's memory, when ctx is done; the function it gives ends that.
func watch(ctx context.Context, flag *C.int32_t) func() {
	if ctx.Err() != nil {
		atomic.StoreInt32((*int32)(flag), 1)
	}
	if ctx.Done() == nil || ctx.Err() != nil {
		return func() {}
	}
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-ctx.Done():
			atomic.StoreInt32((*int32)(flag), 1)
		case <-quit:
		}
	}()
	return func() {
		close(quit)
		<-gone
	}
}

// because gives a cancelled call the reason of its context.
func because(ctx context.Context, err error) error {
	var failure *Error
	if ctx.Err() != nil && errors.Is(err, ErrCancelled) && errors.As(err, &failure) {
		failure.Cause = ctx.Err()
	}
	return err
}
