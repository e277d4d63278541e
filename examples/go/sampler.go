package slm

// #include "slm.h"
import "C"

import (
	"math"
	"runtime"
	"unsafe"
)

// Stage is a step of a sampler's chain; the functions below make them.
type Stage struct {
	kind, n                            int32
	value, repeat, frequency, presence float32
	biases                             map[Token]float32
}

// Temperature divides logits; 0 keeps only the best.
func Temperature(value float32) Stage {
	return Stage{kind: C.SLM_STAGE_TEMPERATURE, value: value}
}

// TopK keeps the n best; 0 keeps all.
func TopK(n int32) Stage { return Stage{kind: C.SLM_STAGE_TOP_K, n: n} }

// TopP keeps the likeliest that together have this probability.
func TopP(value float32) Stage { return Stage{kind: C.SLM_STAGE_TOP_P, value: value, n: 1} }

// MinP keeps what has at least this part of the best probability.
func MinP(value float32) Stage { return Stage{kind: C.SLM_STAGE_MIN_P, value: value, n: 1} }

// Penalties makes tokens of the last window less likely: 1, 0 and 0 change nothing.
func Penalties(window int32, repeat, frequency, presence float32) Stage {
	return Stage{kind: C.SLM_STAGE_PENALTIES, n: window, repeat: repeat, frequency: frequency, presence: presence}
}

// LogitBias adds to logits; minus infinity bans a token.
func LogitBias(biases map[Token]float32) Stage {
	return Stage{kind: C.SLM_STAGE_LOGIT_BIAS, biases: biases}
}

// Sampler is how a token is chosen from logits. It serves one call at a time.
type Sampler struct {
	object
	p     *C.slm_sampler
	model *Model
}

// NewSampler makes a chain of stages; without stages it is greedy. The same seed and logits give the
// same tokens everywhere.
func (m *Model) NewSampler(seed uint64, stages ...Stage) (*Sampler, error) {
	if err := m.share(); err != nil {
		return nil, err
	}
	defer m.leave()
	var a arena
	defer a.free()
	raw := make([]C.slm_sampler_stage, len(stages)+1)
	for i, s := range stages {
		raw[i] = C.slm_sampler_stage{
			struct_size: C.uint32_t(unsafe.Sizeof(raw[i])),
			kind:        C.int32_t(s.kind),
			n:           C.int32_t(s.n),
			value:       C.float(s.value),
			repeat:      C.float(s.repeat),
			frequency:   C.float(s.frequency),
			presence:    C.float(s.presence),
			n_biases:    number(len(s.biases)),
		}
		size := unsafe.Sizeof(C.slm_logit_bias{})
		p := (*C.slm_logit_bias)(a.take(uintptr(len(s.biases)) * size))
		raw[i].biases = p
		biases := unsafe.Slice(p, len(s.biases))
		for token, bias := range s.biases {
			biases[0] = C.slm_logit_bias{token: C.int32_t(token), bias: C.float(bias)}
			biases = biases[1:]
		}
	}
	var o C.slm_sampler_options
	C.slm_sampler_options_init(&o, C.size_t(unsafe.Sizeof(o)))
	o.seed = C.uint64_t(seed)
	var p *C.slm_sampler
	var err C.slm_error
	status := C.slm_sampler_create(&p, m.p, &raw[0], number(len(stages)), C.size_t(unsafe.Sizeof(raw[0])), &o, &err)
	if status != C.SLM_OK {
		return nil, failed(status, &err)
	}
	if err := m.hold(); err != nil {
		C.slm_sampler_free(p)
		return nil, err
	}
	return newSampler(p, m), nil
}

// newSampler is a sampler that has a hold of the model.
func newSampler(p *C.slm_sampler, m *Model) *Sampler {
	s := &Sampler{p: p, model: m}
	s.free = func() {
		C.slm_sampler_free(p)
		m.letGo()
	}
	runtime.SetFinalizer(s, func(s *Sampler) { s.Close() })
	return s
}

func (s *Sampler) call(f func(err *C.slm_error) C.int) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	var err C.slm_error
	return failed(f(&err), &err)
}

// Clone is a copy with the same history and random state, independent from then on.
func (s *Sampler) Clone() (*Sampler, error) {
	var p *C.slm_sampler
	err := s.call(func(err *C.slm_error) C.int {
		status := C.slm_sampler_clone(&p, s.p, err)
		if status == C.SLM_OK {
			s.model.holdAgain()
		}
		return status
	})
	if err != nil {
		return nil, err
	}
	return newSampler(p, s.model), nil
}

// Sample chooses a token from a row of logits.
func (s *Sampler) Sample(logits []float32) (Token, error) {
	if len(logits) == 0 {
		return -1, badArgument("no logits")
	}
	var token C.int32_t
	err := s.call(func(err *C.slm_error) C.int {
		return C.slm_sample(s.p, (*C.float)(&logits[0]), number(len(logits)), &token, err)
	})
	return Token(token), err
}

// Candidate is a token that may come next: what a host's own stage of sampling sees and changes.
type Candidate struct {
	Token       Token
	Logit       float32
	Probability float32 // set by Choose
}

// A Candidate is C's slm_candidate: this compiles only if their sizes are the same.
var _ = [1]struct{}{}[unsafe.Sizeof(Candidate{})-unsafe.Sizeof(C.slm_candidate{})]

func candidates(c []Candidate) *C.slm_candidate {
	return (*C.slm_candidate)(unsafe.Pointer(&c[0]))
}

// Apply runs the stages on candidates of the host's, which are sorted and changed in place; those that
// are left are given back.
func (s *Sampler) Apply(list []Candidate) ([]Candidate, error) {
	if len(list) == 0 {
		return list, badArgument("no candidates")
	}
	n := number(len(list))
	err := s.call(func(err *C.slm_error) C.int { return C.slm_sampler_apply(s.p, candidates(list), &n, err) })
	return list[:n], err
}

// Choose sets the probabilities of candidates and draws one.
func (s *Sampler) Choose(list []Candidate) (Token, error) {
	if len(list) == 0 {
		return -1, badArgument("no candidates")
	}
	var token C.int32_t
	err := s.call(func(err *C.slm_error) C.int {
		return C.slm_sampler_choose(s.p, candidates(list), number(len(list)), &token, err)
	})
	return Token(token), err
}

// Accept tells the chain which token became part of the text.
func (s *Sampler) Accept(token Token) error {
	return s.call(func(err *C.slm_error) C.int { return C.slm_sampler_accept(s.p, C.int32_t(token), err) })
}

// Rewind takes the last n accepted tokens back, the random state included.
func (s *Sampler) Rewind(n int) error {
	if n > math.MaxInt32-1 { // which is Reset in C
		n = math.MaxInt32 - 1
	}
	return s.rewind(number(n))
}

// Reset forgets everything and starts over from the seed.
func (s *Sampler) Reset() error { return s.rewind(math.MaxInt32) }

func (s *Sampler) rewind(n C.int32_t) error {
	return s.call(func(err *C.slm_error) C.int { return C.slm_sampler_rewind(s.p, n, err) })
}
