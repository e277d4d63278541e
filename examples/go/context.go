package slm

// #include "callbacks.h"
import "C"

import (
	"context"
	"runtime"
	"unsafe"
)

// Threads is a pool of worker threads that contexts share, for any number of goroutines.
type Threads struct {
	object
	p *C.slm_threads
}

// NewThreads makes a pool of n threads, the calling one included; 0 is what slm thinks best.
func NewThreads(n int) (*Threads, error) {
	var o C.slm_threads_options
	C.slm_threads_options_init(&o, C.size_t(unsafe.Sizeof(o)))
	if n != 0 {
		o.n_threads = number(n)
	}
	var p *C.slm_threads
	var err C.slm_error
	if status := C.slm_threads_create(&p, &o, &err); status != C.SLM_OK {
		return nil, failed(status, &err)
	}
	t := &Threads{p: p}
	t.free = func() { C.slm_threads_free(p) }
	runtime.SetFinalizer(t, func(t *Threads) { t.Close() })
	return t, nil
}

// ContextOptions says what a context is made for; zero values are the defaults.
type ContextOptions struct {
	Positions   int // of a sequence; 0: what the model was trained for, at most 4096
	Sequences   int // 0: 1
	Pages       int // KV pages of 128 positions; 0: enough for every sequence to be full
	Batch       int // tokens computed at once; 0: 512
	Logits      int // rows one evaluation can give; 0: one for each sequence
	Threads     int // of a pool of the context's own; 0: what slm thinks best
	Checkpoints int // that a sequence can keep

	Exact          bool     // do not round activations: slower
	BatchInvariant bool     // the same bits however a prompt is split: slower
	KV32           bool     // keys and values in 32 bits rather than 16
	Pool           *Threads // a pool shared with other contexts
	MaxBytes       uint64   // cap on the heap bytes; 0: none

	counts *C.int64_t // for tests, as in ModelOptions
}

func (options *ContextOptions) write(o *C.slm_context_options) {
	C.slm_context_options_init(o, C.size_t(unsafe.Sizeof(*o)))
	if options == nil {
		return
	}
	for _, row := range []struct {
		value int
		field *C.int32_t
	}{
		{options.Positions, &o.n_ctx},
		{options.Sequences, &o.n_sequences},
		{options.Pages, &o.n_pages},
		{options.Batch, &o.n_batch},
		{options.Logits, &o.n_logits},
		{options.Threads, &o.n_threads},
		{options.Checkpoints, &o.n_checkpoints},
	} {
		if row.value != 0 {
			*row.field = number(row.value)
		}
	}
	if options.Exact {
		o.flags |= C.SLM_CONTEXT_EXACT
	}
	if options.BatchInvariant {
		o.flags |= C.SLM_CONTEXT_BATCH_INVARIANT
	}
	if options.KV32 {
		o.kv_type = C.SLM_KV_F32
	}
	if options.MaxBytes != 0 {
		o.max_bytes = C.uint64_t(options.MaxBytes)
	}
	if options.Pool != nil {
		o.threads = options.Pool.p
	}
	if options.counts != nil {
		o.alloc = C.slm_alloc_fn(C.slm_go_count)
		o.alloc_user = unsafe.Pointer(options.counts)
	}
}

// pool enters the pool of options for the time of a call, if there is one.
func (options *ContextOptions) pool() (leave func(), err error) {
	if options == nil || options.Pool == nil {
		return func() {}, nil
	}
	return options.Pool.leave, options.Pool.share()
}

// Plan is what a model and a context need, exactly: slm_plan.
type Plan struct {
	Threads, Positions, Pages int

	ModelMappedBytes, ModelHeapBytes, ContextHeapBytes, KVBytes, StackBytes, StateBytes uint64
}

// Plan says what a context of these options would need, without making it.
func (m *Model) Plan(options *ContextOptions) (Plan, error) {
	if err := m.share(); err != nil {
		return Plan{}, err
	}
	defer m.leave()
	leave, err := options.pool()
	if err != nil {
		return Plan{}, err
	}
	defer leave()
	var o C.slm_context_options
	options.write(&o)
	var p C.slm_plan
	p.struct_size = C.uint32_t(unsafe.Sizeof(p))
	var raw C.slm_error
	if status := C.slm_plan_memory(m.p, &o, &p, &raw); status != C.SLM_OK {
		return Plan{}, failed(status, &raw)
	}
	return Plan{
		Threads:          int(p.n_threads),
		Positions:        int(p.n_ctx),
		Pages:            int(p.n_pages),
		ModelMappedBytes: uint64(p.model_mapped_bytes),
		ModelHeapBytes:   uint64(p.model_heap_bytes),
		ContextHeapBytes: uint64(p.context_heap_bytes),
		KVBytes:          uint64(p.kv_bytes),
		StackBytes:       uint64(p.stack_bytes),
		StateBytes:       uint64(p.state_bytes),
	}, nil
}

// Context is the memory of sequences of tokens. It serves one call at a time; its model may be closed
// before it.
type Context struct {
	object
	p     *C.slm_context
	model *Model
	info  C.slm_model_info // of the model, which may be closed
}

// NewContext makes a context; all of its memory is taken here.
func (m *Model) NewContext(options *ContextOptions) (*Context, error) {
	if err := m.share(); err != nil {
		return nil, err
	}
	defer m.leave()
	leave, err := options.pool()
	if err != nil {
		return nil, err
	}
	defer leave()
	var o C.slm_context_options
	options.write(&o)
	var p *C.slm_context
	var raw C.slm_error
	call := newCallback()
	defer call.free()
	end := call.during()
	status := C.slm_context_create(&p, m.p, &o, &raw)
	end()
	if call.panicked {
		C.slm_context_free(p)
		call.rethrow()
	}
	if status != C.SLM_OK {
		return nil, failed(status, &raw)
	}
	// The model's log, and memory that it lies in, must stay as long as the context.
	if err := m.hold(); err != nil {
		C.slm_context_free(p)
		return nil, err
	}
	c := &Context{p: p, model: m}
	c.info.struct_size = C.uint32_t(unsafe.Sizeof(c.info))
	C.slm_model_get_info(m.p, &c.info, nil)
	c.free = func() {
		C.slm_context_free(p)
		m.letGo()
	}
	runtime.SetFinalizer(c, func(c *Context) { c.Close() })
	return c, nil
}

// ContextInfo is what a context has: slm_context_info.
type ContextInfo struct {
	Positions, Sequences, Batch, Logits, Pages, PagesFree, Threads int

	HeapBytes uint64
}

// call is a call on the context that nobody runs beside.
func (c *Context) call(f func(err *C.slm_error) C.int) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	var err C.slm_error
	return failed(f(&err), &err)
}

// Info says what the context has.
func (c *Context) Info() (ContextInfo, error) {
	var i C.slm_context_info
	i.struct_size = C.uint32_t(unsafe.Sizeof(i))
	err := c.call(func(err *C.slm_error) C.int { return C.slm_context_get_info(c.p, &i, err) })
	return ContextInfo{int(i.n_ctx), int(i.n_sequences), int(i.n_batch), int(i.n_logits), int(i.n_pages),
		int(i.n_pages_free), int(i.n_threads), uint64(i.heap_bytes)}, err
}

// Length is how many positions a sequence has.
func (c *Context) Length(sequence int) (int, error) {
	var length C.int32_t
	err := c.call(func(err *C.slm_error) C.int {
		return C.slm_sequence_length(c.p, number(sequence), &length, err)
	})
	return int(length), err
}

// Fork makes one sequence a copy of another; pages are shared until one side writes.
func (c *Context) Fork(from, to int) error {
	return c.call(func(err *C.slm_error) C.int {
		return C.slm_sequence_fork(c.p, number(from), number(to), err)
	})
}

// Rewind keeps the first positions; recurrent models need a checkpoint there.
func (c *Context) Rewind(sequence, length int) error {
	return c.call(func(err *C.slm_error) C.int {
		return C.slm_sequence_rewind(c.p, number(sequence), number(length), err)
	})
}

// Checkpoint remembers the sequence as it is now, to rewind to.
func (c *Context) Checkpoint(sequence, index int) error {
	return c.call(func(err *C.slm_error) C.int {
		return C.slm_sequence_checkpoint(c.p, number(sequence), number(index), err)
	})
}

// Want says which rows of logits a span gives.
type Want int32

// Of nothing, of the last token, of all tokens.
const (
	WantNothing = Want(C.SLM_WANT_NONE)
	WantLast    = Want(C.SLM_WANT_LAST)
	WantAll     = Want(C.SLM_WANT_ALL)
)

// Span is a run of tokens that is appended to a sequence.
type Span struct {
	Sequence int
	Tokens   []Token
	Want     Want
	Done     int // set by Eval: how many tokens are committed
}

// Eval runs the model over spans. When ctx ends it early, Done of each span says how far it came, and
// calling again with the rest gives what one call would have given. progress, which may be nil, is told
// after every batch how many tokens are done, and stops the call with false.
func (c *Context) Eval(ctx context.Context, spans []Span, progress func(done, total uint64) bool) error {
	var a arena
	defer a.free()
	raw := make([]C.slm_span, len(spans)+1)
	for i, span := range spans {
		raw[i].struct_size = C.uint32_t(unsafe.Sizeof(raw[i]))
		raw[i].sequence = number(span.Sequence)
		raw[i].position = -1
		raw[i].n_tokens = number(len(span.Tokens))
		raw[i].tokens = a.tokens(span.Tokens)
		raw[i].want = C.int32_t(span.Want)
	}
	var o C.slm_eval_options
	C.slm_eval_options_init(&o, C.size_t(unsafe.Sizeof(o)))
	callback, done := limits(&a, progress, &o.cancel, &o.progress, &o.progress_user)
	defer done()
	stop := watch(ctx, (*C.int32_t)(o.cancel))
	err := c.call(func(err *C.slm_error) C.int {
		return C.slm_eval(c.p, &raw[0], number(len(spans)), C.size_t(unsafe.Sizeof(raw[0])), &o, err)
	})
	stop()
	for i := range spans {
		spans[i].Done = int(raw[i].n_done)
	}
	callback.rethrow()
	return because(ctx, err)
}

// limits fills in what stops a long call; done ends it.
func limits(a *arena, progress func(done, total uint64) bool, cancel **C.int32_t, function *C.slm_progress_fn, user *unsafe.Pointer) (c *callback, done func()) {
	c = newCallback()
	c.progress = progress
	*cancel = (*C.int32_t)(a.take(4))
	if progress != nil {
		*function = C.slm_progress_fn(C.slm_go_progress)
		*user = c.user()
	}
	return c, c.free
}

// Append appends tokens to a sequence and gives the logits of what comes next.
func (c *Context) Append(ctx context.Context, sequence int, tokens []Token) ([]float32, error) {
	spans := []Span{{Sequence: sequence, Tokens: tokens, Want: WantLast}}
	if err := c.Eval(ctx, spans, nil); err != nil {
		return nil, err
	}
	return c.Logits(-1)
}

// Logits is a copy of row index of the last evaluation's logits, in the order of spans and tokens
// wanted; -1 is the last.
func (c *Context) Logits(index int) ([]float32, error) {
	row := make([]float32, c.info.n_vocab)
	err := c.call(func(err *C.slm_error) C.int {
		var p *C.float
		status := C.slm_logits(c.p, number(index), &p, nil, err)
		if status == C.SLM_OK {
			copy(row, unsafe.Slice((*float32)(unsafe.Pointer(p)), len(row)))
		}
		return status
	})
	return row, err
}

// Sample chooses a token from row index of the last evaluation's logits, without copying them.
func (c *Context) Sample(index int, s *Sampler) (Token, error) {
	if err := s.enter(); err != nil {
		return -1, err
	}
	defer s.leave()
	var token C.int32_t
	err := c.call(func(err *C.slm_error) C.int {
		var p *C.float
		if status := C.slm_logits(c.p, number(index), &p, nil, err); status != C.SLM_OK {
			return status
		}
		return C.slm_sample(s.p, p, c.info.n_vocab, &token, err)
	})
	return Token(token), err
}

// EmbedOptions says how texts become vectors; zero values are the defaults.
type EmbedOptions struct {
	Pooling  *Pooling // nil: what the file says
	Raw      bool     // vectors as they are rather than of length 1
	Progress func(done, total uint64) bool
}

// Pooling is what is made of a text's last hidden states.
type Pooling int32

// A row for each token; the mean, the first, the last row of a text; the classifier's outputs.
const (
	PoolingNone = Pooling(C.SLM_POOLING_NONE)
	PoolingMean = Pooling(C.SLM_POOLING_MEAN)
	PoolingCLS  = Pooling(C.SLM_POOLING_CLS)
	PoolingLast = Pooling(C.SLM_POOLING_LAST)
	PoolingRank = Pooling(C.SLM_POOLING_RANK)
)

// Embed gives embeddings of texts, which are tokens as Tokenize gives them with BOS: a row a text, or
// without pooling a row a token.
func (c *Context) Embed(ctx context.Context, texts [][]Token, options *EmbedOptions) ([][]float32, error) {
	var a arena
	defer a.free()
	var o C.slm_embed_options
	C.slm_embed_options_init(&o, C.size_t(unsafe.Sizeof(o)))
	pooling := Pooling(c.info.pooling)
	var progress func(done, total uint64) bool
	if options != nil {
		progress = options.Progress
		if options.Pooling != nil {
			pooling = *options.Pooling
			o.pooling = C.int32_t(pooling)
		}
		if options.Raw {
			o.normalize = C.SLM_NORMALIZE_NONE
		}
	}
	callback, done := limits(&a, progress, &o.cancel, &o.progress, &o.progress_user)
	defer done()
	raw := make([]C.slm_embed_text, len(texts)+1)
	rows := len(texts)
	if pooling == PoolingNone {
		rows = 0
	}
	for i, text := range texts {
		raw[i].struct_size = C.uint32_t(unsafe.Sizeof(raw[i]))
		raw[i].n_tokens = number(len(text))
		raw[i].tokens = a.tokens(text)
		if pooling == PoolingNone {
			rows += len(text)
		}
	}
	width := int(c.info.n_embd_out)
	if pooling == PoolingRank {
		width = int(c.info.n_outputs)
	}
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.leave()
	stop := watch(ctx, (*C.int32_t)(o.cancel))
	all, err := fill(rows*width, func(p *float32, room C.size_t, needed *C.size_t, err *C.slm_error) C.int {
		size := C.size_t(unsafe.Sizeof(raw[0]))
		return C.slm_embed(c.p, &raw[0], number(len(texts)), size, &o, (*C.float)(p), room, needed, err)
	})
	stop()
	callback.rethrow()
	if err != nil {
		return nil, because(ctx, err)
	}
	vectors := make([][]float32, 0, rows)
	for ; rows > 0; rows-- {
		n := len(all) / rows
		vectors = append(vectors, all[:n:n])
		all = all[n:]
	}
	return vectors, nil
}
