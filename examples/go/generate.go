package slm

// #include "callbacks.h"
// #include <stdlib.h>
import "C"

import (
	"context"
	"io"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

// GenerateOptions says how to generate; zero values are the defaults: greedy, on sequence 0, until the
// model ends or the context is full.
type GenerateOptions struct {
	MaxTokens       int
	Stops           []string // strings that end the text and are no part of it, at most 16
	Sequence        int
	Sampler         *Sampler // keeps what it has seen afterwards
	Tokens          []Token  // a prompt of tokens instead of text, which must be ""
	NoBOS           bool     // no start token, which by default an empty sequence begins with
	ParseSpecial    bool     // special tokens in the prompt become tokens (never for a user's text)
	SpecialPieces   bool     // control tokens give pieces, too
	Heal            bool     // token healing, for prompts that end inside a token
	ReasoningBudget int      // tokens inside reasoning, in a chat; 0: as many as the model likes

	// StepTimeout is the longest that a piece may take; then it is ErrDeadline, and asking again goes
	// on. 0: as long as it takes.
	StepTimeout time.Duration

	// Progress is told how many tokens of the prompt are done; false stops.
	Progress func(done, total uint64) bool
}

// Reason is why a text has ended.
type Reason int32

// The model ended its answer; a stop string came; MaxTokens; the context is full.
const (
	EndToken = Reason(C.SLM_END_TOKEN)
	EndStop  = Reason(C.SLM_END_STOP)
	EndLimit = Reason(C.SLM_END_LIMIT)
	EndFull  = Reason(C.SLM_END_FULL)
)

// Piece is a piece of text: whole characters, which cannot belong to a stop string.
type Piece struct {
	Text    string
	Tokens  []Token // chosen since the last piece, those without text, too
	Special bool    // the text is that of a control token
}

// Generator continues a sequence piece by piece. It serves one call at a time, and so does its context.
type Generator struct {
	object
	p        *C.slm_generator
	c        *Context
	sampler  *Sampler
	callback *callback
	cancel   *C.int32_t
	reason   Reason
}

// Begin begins to continue a sequence. Nothing is computed yet.
func (c *Context) Begin(prompt string, options *GenerateOptions) (*Generator, error) {
	return c.begin(prompt, options, nil)
}

func (c *Context) begin(prompt string, options *GenerateOptions, output *ChatOutput) (*Generator, error) {
	if options == nil {
		options = &GenerateOptions{}
	}
	var a arena
	defer a.free()
	g := &Generator{c: c, sampler: options.Sampler}
	var o C.slm_generate_options
	if err := options.write(&o, &a); err != nil {
		return nil, err
	}
	if output != nil {
		o.chat_output = output.p
	}
	var sampler *C.slm_sampler
	if g.sampler != nil {
		if err := g.sampler.enter(); err != nil {
			return nil, err
		}
		defer g.sampler.leave()
		sampler = g.sampler.p
	}
	text := cBytes(prompt)
	if options.Tokens != nil && prompt == "" {
		text = nil
	}
	call := newCallback()
	call.progress = options.Progress
	if call.progress != nil {
		o.progress = C.slm_progress_fn(C.slm_go_progress)
		o.progress_user = call.user()
	}
	cancel := (*C.int32_t)(C.malloc(4))
	*cancel = 0
	o.cancel = cancel
	err := c.call(func(err *C.slm_error) C.int {
		return C.slm_generate_begin(&g.p, c.p, number(options.Sequence), sampler, text, C.size_t(len(prompt)), &o, err)
	})
	g.callback, g.cancel = call, cancel
	if err == nil {
		err = c.hold()
	}
	p, held := g.p, err == nil
	g.free = func() {
		C.slm_generate_end(p)
		call.free()
		C.free(unsafe.Pointer(cancel))
		if held {
			c.letGo()
		}
	}
	if err != nil {
		g.Close()
		return nil, err
	}
	runtime.SetFinalizer(g, func(g *Generator) { g.Close() })
	return g, nil
}

func (options *GenerateOptions) write(o *C.slm_generate_options, a *arena) error {
	C.slm_generate_options_init(o, C.size_t(unsafe.Sizeof(*o)))
	if options.NoBOS {
		o.flags &^= C.SLM_TEXT_BOS
	}
	if options.ParseSpecial {
		o.flags |= C.SLM_TEXT_SPECIAL
	}
	if options.MaxTokens != 0 {
		o.max_tokens = number(options.MaxTokens)
	}
	o.special_pieces = flag(options.SpecialPieces)
	o.heal = flag(options.Heal)
	o.reasoning_budget = number(options.ReasoningBudget)
	if options.StepTimeout != 0 {
		o.step_ns = C.int64_t(options.StepTimeout.Nanoseconds())
	}
	if options.Tokens != nil {
		o.prompt_tokens = a.tokens(options.Tokens)
		o.n_prompt_tokens = number(len(options.Tokens))
	}
	stops := (**C.char)(a.take(uintptr(len(options.Stops)) * unsafe.Sizeof(uintptr(0))))
	for i, stop := range options.Stops {
		text, err := a.cString(stop, "a stop string")
		if err != nil {
			return err
		}
		unsafe.Slice(stops, len(options.Stops))[i] = text
	}
	o.stops = stops
	o.n_stops = number(len(options.Stops))
	return nil
}

// Next gives the next piece, and io.EOF at the end, with a Piece that has the last tokens. The first call runs the prompt. When ctx ends it,
// the error is both ErrCancelled and that of ctx, and the next call goes on where this one was.
func (g *Generator) Next(ctx context.Context) (Piece, error) {
	if err := g.enter(); err != nil {
		return Piece{}, err
	}
	defer g.leave()
	if g.sampler != nil {
		if err := g.sampler.enter(); err != nil {
			return Piece{}, err
		}
		defer g.sampler.leave()
	}
	atomic.StoreInt32((*int32)(g.cancel), 0)
	var raw C.slm_piece
	raw.struct_size = C.uint32_t(unsafe.Sizeof(raw))
	var piece Piece
	stop := watch(ctx, g.cancel)
	err := g.c.call(func(err *C.slm_error) C.int {
		status := C.slm_generate_next(g.p, &raw, err)
		tokens := append([]Token(nil), unsafe.Slice((*Token)(unsafe.Pointer(raw.tokens)), raw.n_tokens)...)
		piece = Piece{goBytes(raw.text, raw.size), tokens, raw.kind == C.SLM_PIECE_SPECIAL}
		return status
	})
	stop()
	g.callback.rethrow()
	if err != nil {
		return Piece{}, because(ctx, err)
	}
	if raw.kind == C.SLM_PIECE_END {
		g.reason = Reason(raw.reason)
		return piece, io.EOF
	}
	return piece, nil
}

// Reason is why the text has ended, once Next has given io.EOF.
func (g *Generator) Reason() Reason { return g.reason }

// Stats is what has been done so far: slm_generate_stats.
type Stats struct {
	Prompt, PromptDone, Generated, Reasoning, Answer, ToolCalls, Forced int

	PromptTime, GenerateTime, FirstTokenTime time.Duration

	Reason Reason // 0 before the end
}

// Stats is what has been done so far.
func (g *Generator) Stats() (Stats, error) {
	if err := g.enter(); err != nil {
		return Stats{}, err
	}
	defer g.leave()
	var s C.slm_generate_stats
	s.struct_size = C.uint32_t(unsafe.Sizeof(s))
	err := g.c.call(func(err *C.slm_error) C.int { return C.slm_generate_get_stats(g.p, &s, err) })
	return Stats{
		Prompt:         int(s.n_prompt),
		PromptDone:     int(s.n_prompt_done),
		Generated:      int(s.n_generated),
		Reasoning:      int(s.n_reasoning),
		Answer:         int(s.n_answer),
		ToolCalls:      int(s.n_tool_calls),
		Forced:         int(s.n_forced),
		PromptTime:     time.Duration(s.prompt_ns),
		GenerateTime:   time.Duration(s.generate_ns),
		FirstTokenTime: time.Duration(s.first_token_ns),
		Reason:         g.reason,
	}, err
}

// Generate continues a sequence and writes the text as it comes, until the model ends it, the writer
// fails (whose error it gives) or ctx is done. The sequence keeps the prompt and every token chosen.
func (c *Context) Generate(ctx context.Context, w io.Writer, prompt string, options *GenerateOptions) (Stats, error) {
	g, err := c.Begin(prompt, options)
	if err != nil {
		return Stats{}, err
	}
	defer g.Close()
	for {
		piece, err := g.Next(ctx)
		if err == nil {
			_, err = io.WriteString(w, piece.Text)
		}
		if err != nil {
			if err == io.EOF && g.reason != 0 {
				err = nil
			}
			stats, failure := g.Stats()
			if err == nil {
				err = failure
			}
			return stats, err
		}
	}
}
