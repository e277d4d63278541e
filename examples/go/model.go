package slm

// #include "callbacks.h"
// #include <stdlib.h>
import "C"

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"unsafe"
)

// Model is weights and vocabulary: immutable, for any number of goroutines.
type Model struct {
	object
	p   *C.slm_model
	log *callback // nil without a log
}

// LogLevel is how serious a line of the log is.
type LogLevel int32

// The levels of slm.h.
const (
	LogInfo    = LogLevel(C.SLM_LOG_INFO)
	LogWarning = LogLevel(C.SLM_LOG_WARN)
)

// ModelOptions says how to open a model; zero values are the defaults.
type ModelOptions struct {
	Read          bool   // copy the weights into memory rather than map the file
	MetadataOnly  bool   // no weights: no context can be made
	Check         bool   // look through all weights for NaN and infinity
	IgnoreSurplus bool   // ignore tensors that the model's family has no place for
	Reference     bool   // the scalar reference rather than the CPU's fastest kernels
	MaxBytes      uint64 // cap on the heap bytes; 0: none

	// Log hears of this model and its contexts, on the goroutine that is in a call; several may be.
	Log func(level LogLevel, message string)

	// Progress is told the bytes that are done; false stops.
	Progress func(done, total uint64) bool

	counts *C.int64_t // for tests: blocks and bytes that are allocated now
}

// File is one that a model can be read from: *bytes.Reader, *io.SectionReader.
type File interface {
	io.ReaderAt
	Size() int64
}

// OpenModel maps a GGUF file; of a split model it is given the first one. If somebody shortens the file
// while the model is in use, the system raises SIGBUS; ModelOptions.Read copies it instead.
func OpenModel(ctx context.Context, path string, options *ModelOptions) (*Model, error) {
	var a arena
	defer a.free()
	name, err := a.cString(path, "the path")
	if err != nil {
		return nil, err
	}
	return openModel(ctx, options, nil, nil, func(p **C.slm_model, o *C.slm_model_options, _ unsafe.Pointer, err *C.slm_error) C.int {
		return C.slm_model_open(p, name, o, err)
	})
}

// ReadModel reads a model from files, in one part or, of a split model, several. The weights are copied.
func ReadModel(ctx context.Context, options *ModelOptions, files ...File) (*Model, error) {
	sizes := make([]C.uint64_t, len(files)+1)
	for i, file := range files {
		sizes[i] = C.uint64_t(file.Size())
	}
	return openModel(ctx, options, files, nil, func(p **C.slm_model, o *C.slm_model_options, user unsafe.Pointer, err *C.slm_error) C.int {
		read := C.slm_read_fn(C.slm_go_read)
		return C.slm_model_open_callback(p, read, user, &sizes[0], number(len(files)), o, err)
	})
}

// LoadMemory opens a model that lies in memory, in one part or, of a split model, several. C must not
// keep Go's memory: it is copied once, and used where the copy lies.
func LoadMemory(ctx context.Context, options *ModelOptions, files ...[]byte) (*Model, error) {
	var a arena
	defer a.free()
	copies := make([]unsafe.Pointer, 0, len(files))
	release := func() {
		for _, p := range copies {
			C.free(p)
		}
	}
	data := (*unsafe.Pointer)(a.take(uintptr(len(files)) * unsafe.Sizeof(unsafe.Pointer(nil))))
	sizes := make([]C.size_t, len(files)+1)
	for i, file := range files {
		p := C.slm_go_take(C.size_t(len(file)) + 1)
		if p == nil {
			release()
			return nil, &Error{Status: ErrMemory, Position: -1, Message: fmt.Sprintf("no memory for %d bytes", len(file))}
		}
		copy(unsafe.Slice((*byte)(p), len(file)), file)
		copies = append(copies, p)
		unsafe.Slice(data, len(files))[i] = p
		sizes[i] = C.size_t(len(file))
	}
	return openModel(ctx, options, nil, release, func(p **C.slm_model, o *C.slm_model_options, _ unsafe.Pointer, err *C.slm_error) C.int {
		return C.slm_model_open_memory(p, data, &sizes[0], number(len(files)), o, err)
	})
}

type opener func(p **C.slm_model, o *C.slm_model_options, user unsafe.Pointer, err *C.slm_error) C.int

// release, which may be nil, is called when the model is gone.
func openModel(ctx context.Context, options *ModelOptions, files []File, release func(), open opener) (*Model, error) {
	var a arena
	defer a.free()
	var o C.slm_model_options
	C.slm_model_options_init(&o, C.size_t(unsafe.Sizeof(o)))
	m := &Model{}
	c := newCallback()
	defer c.free()
	c.files = files
	o.progress = C.slm_progress_fn(C.slm_go_progress)
	o.progress_user = c.user()
	if options != nil {
		c.progress = options.Progress
		options.write(&o, m)
	}
	o.cancel = (*C.int32_t)(a.take(4))
	stop := watch(ctx, o.cancel)
	var raw C.slm_error
	var p *C.slm_model
	end := c.during()
	status := open(&p, &o, c.user(), &raw)
	end()
	stop()
	m.p = p
	log := m.log
	m.free = func() {
		C.slm_model_free(p)
		if log != nil {
			log.free()
		}
		if release != nil {
			release()
		}
	}
	err := failed(status, &raw)
	if err != nil || c.panicked {
		m.Close()
	}
	c.rethrow()
	if err != nil {
		err.(*Error).Cause = c.err
		return nil, because(ctx, err)
	}
	runtime.SetFinalizer(m, func(m *Model) { m.Close() })
	return m, nil
}

// write puts options into C's struct; the log gets a callback that lives as long as the model.
func (options *ModelOptions) write(o *C.slm_model_options, m *Model) {
	for _, row := range []struct {
		on  bool
		bit C.uint32_t
	}{
		{options.Read, C.SLM_LOAD_READ},
		{options.MetadataOnly, C.SLM_LOAD_METADATA},
		{options.Check, C.SLM_LOAD_CHECK},
		{options.IgnoreSurplus, C.SLM_LOAD_SURPLUS},
	} {
		if row.on {
			o.flags |= row.bit
		}
	}
	if options.Reference {
		o.cpu = 0
	}
	if options.MaxBytes != 0 {
		o.max_bytes = C.uint64_t(options.MaxBytes)
	}
	if options.Log != nil {
		m.log = newCallback()
		m.log.log = options.Log
		o.log = C.slm_log_fn(C.slm_go_log)
		o.log_user = m.log.user()
	}
	if options.counts != nil {
		o.alloc = C.slm_alloc_fn(C.slm_go_count)
		o.alloc_user = unsafe.Pointer(options.counts)
	}
}

// ModelInfo is what a model is: slm_model_info. Numbers are 0 and tokens -1 where the file has none.
type ModelInfo struct {
	Family, Name, Tokenizer, Pre, ISA, ChatTemplate string

	Vocab, ContextTrained, Embedding, Layers, Heads, KVHeads, HeadDim, FeedForward int
	EmbeddingOut, Outputs, Metadata, Tensors, FileType, GGUFVersion                int

	// PreStatus says whether the pre-tokenizer is known, Pooling what Embed gives: SLM_PRE_ and
	// SLM_POOLING_ of slm.h.
	PreStatus, Pooling int

	Parameters, WeightBytes, MappedBytes, HeapBytes, HeapPeakBytes, CPU uint64

	Causal, Recurrent, AddBOS, AddEOS, AddSep bool

	BOS, EOS, EOT, EOM, Unknown, Separator, Pad, Mask Token

	FIMPrefix, FIMSuffix, FIMMiddle, FIMPad, FIMRepository, FIMSeparator Token
}

// Info says what the model is.
func (m *Model) Info() (ModelInfo, error) {
	if err := m.share(); err != nil {
		return ModelInfo{}, err
	}
	defer m.leave()
	var i C.slm_model_info
	i.struct_size = C.uint32_t(unsafe.Sizeof(i))
	var err C.slm_error
	if status := C.slm_model_get_info(m.p, &i, &err); status != C.SLM_OK {
		return ModelInfo{}, failed(status, &err)
	}
	return ModelInfo{
		Family:         C.GoString(i.family),
		Name:           C.GoString(i.name),
		Tokenizer:      C.GoString(i.tokenizer),
		Pre:            C.GoString(i.pre),
		ISA:            C.GoString(i.isa),
		ChatTemplate:   C.GoString(i.chat_template),
		Vocab:          int(i.n_vocab),
		ContextTrained: int(i.n_ctx_train),
		Embedding:      int(i.n_embd),
		Layers:         int(i.n_layer),
		Heads:          int(i.n_head),
		KVHeads:        int(i.n_kv_head),
		HeadDim:        int(i.head_dim),
		FeedForward:    int(i.n_ff),
		EmbeddingOut:   int(i.n_embd_out),
		Outputs:        int(i.n_outputs),
		Metadata:       int(i.n_metadata),
		Tensors:        int(i.n_tensors),
		FileType:       int(i.file_type),
		GGUFVersion:    int(i.gguf_version),
		PreStatus:      int(i.pre_status),
		Pooling:        int(i.pooling),
		Parameters:     uint64(i.n_parameters),
		WeightBytes:    uint64(i.weight_bytes),
		MappedBytes:    uint64(i.mapped_bytes),
		HeapBytes:      uint64(i.heap_bytes),
		HeapPeakBytes:  uint64(i.heap_peak_bytes),
		CPU:            uint64(i.cpu),
		Causal:         i.is_causal != 0,
		Recurrent:      i.is_recurrent != 0,
		AddBOS:         i.add_bos != 0,
		AddEOS:         i.add_eos != 0,
		AddSep:         i.add_sep != 0,
		BOS:            Token(i.bos_token),
		EOS:            Token(i.eos_token),
		EOT:            Token(i.eot_token),
		EOM:            Token(i.eom_token),
		Unknown:        Token(i.unk_token),
		Separator:      Token(i.sep_token),
		Pad:            Token(i.pad_token),
		Mask:           Token(i.mask_token),
		FIMPrefix:      Token(i.fim_pre_token),
		FIMSuffix:      Token(i.fim_suf_token),
		FIMMiddle:      Token(i.fim_mid_token),
		FIMPad:         Token(i.fim_pad_token),
		FIMRepository:  Token(i.fim_rep_token),
		FIMSeparator:   Token(i.fim_sep_token),
	}, nil
}

// Metadata is an entry of the file. Value is a bool, int64, uint64, float64 or string, or a slice of
// one of these.
type Metadata struct {
	Key   string
	Value any
}

// Metadata reads entry number index, of ModelInfo.Metadata.
func (m *Model) Metadata(index int) (Metadata, error) {
	if err := m.share(); err != nil {
		return Metadata{}, err
	}
	defer m.leave()
	raw, err := m.metadata(index, 0)
	if err != nil {
		return Metadata{}, err
	}
	entry := Metadata{Key: goBytes(raw.key, raw.key_size)}
	if raw.is_array == 0 {
		entry.Value = value(raw)
		return entry, nil
	}
	switch raw.value_type {
	case C.SLM_TYPE_BOOL:
		entry.Value, err = elements[bool](m, index, raw)
	case C.SLM_TYPE_STRING:
		entry.Value, err = elements[string](m, index, raw)
	case C.SLM_TYPE_FLOAT32, C.SLM_TYPE_FLOAT64:
		entry.Value, err = elements[float64](m, index, raw)
	case C.SLM_TYPE_INT8, C.SLM_TYPE_INT16, C.SLM_TYPE_INT32, C.SLM_TYPE_INT64:
		entry.Value, err = elements[int64](m, index, raw)
	default:
		entry.Value, err = elements[uint64](m, index, raw)
	}
	return entry, err
}

// FindMetadata reads the entry of a key; its Value is nil if the file has none.
func (m *Model) FindMetadata(key string) (Metadata, error) {
	if err := m.share(); err != nil {
		return Metadata{}, err
	}
	defer m.leave()
	var index C.int32_t
	var raw C.slm_error
	status := C.slm_model_metadata_find(m.p, cBytes(key), C.size_t(len(key)), &index, &raw)
	if status != C.SLM_OK || index < 0 {
		return Metadata{Key: key}, failed(status, &raw)
	}
	return m.Metadata(int(index))
}

func (m *Model) metadata(index int, element uint64) (*C.slm_metadata, error) {
	raw := &C.slm_metadata{}
	raw.struct_size = C.uint32_t(unsafe.Sizeof(*raw))
	var err C.slm_error
	status := C.slm_model_metadata(m.p, number(index), C.uint64_t(element), raw, &err)
	return raw, failed(status, &err)
}

func value(raw *C.slm_metadata) any {
	switch raw.value_type {
	case C.SLM_TYPE_BOOL:
		return raw.integer != 0
	case C.SLM_TYPE_STRING:
		return goBytes(raw.text, raw.text_size)
	case C.SLM_TYPE_FLOAT32, C.SLM_TYPE_FLOAT64:
		return float64(raw.real)
	case C.SLM_TYPE_INT8, C.SLM_TYPE_INT16, C.SLM_TYPE_INT32, C.SLM_TYPE_INT64:
		return int64(raw.integer)
	}
	return uint64(raw.integer)
}

func elements[T any](m *Model, index int, first *C.slm_metadata) ([]T, error) {
	all := make([]T, 0, first.count)
	for i := uint64(0); i < uint64(first.count); i++ {
		raw, err := m.metadata(index, i)
		if err != nil {
			return nil, err
		}
		all = append(all, value(raw).(T))
	}
	return all, nil
}

// Tensor is a tensor of the file.
type Tensor struct {
	Name         string
	Encoding     string  // "Q8_0"
	Shape        []int64 // fastest-varying dimension first
	File         int
	Offset, Size uint64
}

// Tensor describes tensor number index, of ModelInfo.Tensors.
func (m *Model) Tensor(index int) (Tensor, error) {
	if err := m.share(); err != nil {
		return Tensor{}, err
	}
	defer m.leave()
	var i C.slm_tensor_info
	i.struct_size = C.uint32_t(unsafe.Sizeof(i))
	var err C.slm_error
	if status := C.slm_model_tensor(m.p, number(index), &i, &err); status != C.SLM_OK {
		return Tensor{}, failed(status, &err)
	}
	t := Tensor{
		Name:     goBytes(i.name, i.name_size),
		Encoding: C.GoString(i.encoding_name),
		File:     int(i.file),
		Offset:   uint64(i.offset),
		Size:     uint64(i.size),
	}
	for _, n := range i.shape[:i.n_dims] {
		t.Shape = append(t.Shape, int64(n))
	}
	return t, nil
}

// Encoding describes an encoding of weights by its name, in any case: "q4_k" has blocks of 256 elements
// in 144 bytes.
func Encoding(name string) (elements, bytes int, err error) {
	var i C.slm_encoding_info
	i.struct_size = C.uint32_t(unsafe.Sizeof(i))
	var raw C.slm_error
	status := C.slm_encoding_find(0, cBytes(name), &i, &raw)
	return int(i.block_elements), int(i.block_bytes), failed(status, &raw)
}
