package slm

// #include "callbacks.h"
import "C"

import (
	"context"
	"io"
	"runtime"
	"time"
	"unsafe"
)

// ChatTemplate is how a conversation is written down for a model, a program in Jinja: immutable, for any
// number of goroutines.
type ChatTemplate struct {
	object
	p *C.slm_chat_template
}

// ChatTemplate compiles a template's text, or with "" that of the model's file: ErrUnsupported if it has
// none.
func (m *Model) ChatTemplate(text string) (*ChatTemplate, error) {
	if err := m.share(); err != nil {
		return nil, err
	}
	defer m.leave()
	p := (*C.char)(nil)
	if text != "" {
		p = cBytes(text)
	}
	t := &ChatTemplate{}
	var err C.slm_error
	status := C.slm_chat_template_create(&t.p, m.p, p, C.size_t(len(text)), nil, &err)
	if status != C.SLM_OK {
		return nil, failed(status, &err)
	}
	made := t.p
	t.free = func() { C.slm_chat_template_free(made) }
	runtime.SetFinalizer(t, func(t *ChatTemplate) { t.Close() })
	return t, nil
}

// BuiltinTemplate is the text of a template that many models share: chatml, gemma, llama2, llama3,
// mistral, phi3, vicuna, zephyr.
func BuiltinTemplate(name string) (string, error) {
	var b C.slm_chat_builtin
	b.struct_size = C.uint32_t(unsafe.Sizeof(b))
	var err C.slm_error
	status := C.slm_chat_builtin_find(0, cBytes(name), &b, &err)
	return goBytes(b.text, b.size), failed(status, &err)
}

// ChatOptions is what a template may want to know beside the messages; zero values are the defaults.
// JSON is text here.
type ChatOptions struct {
	NoGenerationPrompt bool   // do not end with the beginning of an answer
	Thinking           *bool  // nil: the template decides
	Tools              string // a JSON array of tools
	Extra              string // a JSON object whose members are further variables
	ReasoningEffort    string
	Now                time.Time // for templates that write the date
}

// ChatPrompt is a rendered conversation: immutable, for any number of goroutines.
type ChatPrompt struct {
	object
	p *C.slm_chat_prompt
}

// Render writes a conversation down: messages is a JSON array as most servers take it.
func (t *ChatTemplate) Render(messages string, options *ChatOptions) (*ChatPrompt, error) {
	if err := t.share(); err != nil {
		return nil, err
	}
	defer t.leave()
	var a arena
	defer a.free()
	var o C.slm_chat_options
	C.slm_chat_options_init(&o, C.size_t(unsafe.Sizeof(o)))
	if options != nil {
		if err := options.write(&o, &a); err != nil {
			return nil, err
		}
	}
	p := &ChatPrompt{}
	var err C.slm_error
	status := C.slm_chat_render(&p.p, t.p, cBytes(messages), C.size_t(len(messages)), &o, &err)
	if status != C.SLM_OK {
		return nil, failed(status, &err)
	}
	made := p.p
	p.free = func() { C.slm_chat_prompt_free(made) }
	runtime.SetFinalizer(p, func(p *ChatPrompt) { p.Close() })
	return p, nil
}

func (options *ChatOptions) write(o *C.slm_chat_options, a *arena) (err error) {
	o.add_generation_prompt = flag(!options.NoGenerationPrompt)
	if options.Thinking != nil {
		o.enable_thinking = flag(*options.Thinking)
	}
	if options.Tools != "" {
		o.tools, o.tools_size = a.text(options.Tools), C.size_t(len(options.Tools))
	}
	if options.Extra != "" {
		o.extra, o.extra_size = a.text(options.Extra), C.size_t(len(options.Extra))
	}
	if !options.Now.IsZero() {
		_, offset := options.Now.Zone() // the clock on the wall
		o.now = C.int64_t(options.Now.Unix() + int64(offset))
	}
	o.reasoning_effort, err = a.optional(options.ReasoningEffort, "the effort")
	return err
}

// Segment is a run of bytes that come from one side: from the template, whose special tokens count, or
// from the conversation.
type Segment struct {
	Text     string
	Template bool
}

func (p *ChatPrompt) info() C.slm_chat_prompt_info {
	var i C.slm_chat_prompt_info
	i.struct_size = C.uint32_t(unsafe.Sizeof(i))
	C.slm_chat_prompt_get_info(p.p, &i, nil)
	return i
}

// Segments are the runs of the prompt.
func (p *ChatPrompt) Segments() ([]Segment, error) {
	if err := p.share(); err != nil {
		return nil, err
	}
	defer p.leave()
	info := p.info()
	segments := make([]Segment, info.n_segments)
	for i := range segments {
		at := unsafe.Add(unsafe.Pointer(info.segments), i*int(info.segment_size))
		s := (*C.slm_chat_segment)(at)
		segments[i] = Segment{goBytes(s.text, s.size), s.kind == C.SLM_SEGMENT_TEMPLATE}
	}
	return segments, nil
}

// Text is all of the prompt.
func (p *ChatPrompt) Text() (string, error) {
	if err := p.share(); err != nil {
		return "", err
	}
	defer p.leave()
	info := p.info()
	return goBytes(info.text, info.size), nil
}

// TokenizePrompt makes tokens of a rendered conversation; special tokens are found in the template's
// text only.
func (m *Model) TokenizePrompt(p *ChatPrompt, flags TextFlags) ([]Token, error) {
	if err := m.share(); err != nil {
		return nil, err
	}
	defer m.leave()
	return m.tokenizePrompt(p, flags)
}

func (m *Model) tokenizePrompt(p *ChatPrompt, flags TextFlags) ([]Token, error) {
	if err := p.share(); err != nil {
		return nil, err
	}
	defer p.leave()
	info := p.info()
	return fill(int(info.size)/2+8, func(t *Token, room C.size_t, needed *C.size_t, err *C.slm_error) C.int {
		return C.slm_tokenize_segments(m.p, info.segments, info.n_segments, info.segment_size,
			C.uint32_t(flags), (*C.int32_t)(t), room, needed, err)
	})
}

// EventKind is which part of an answer an event is.
type EventKind int32

// The parts of an answer. None: nothing until more is pushed. End: nothing more in this answer.
const (
	EventNone      = EventKind(C.SLM_CHAT_NONE)
	EventReasoning = EventKind(C.SLM_CHAT_REASONING)
	EventAnswer    = EventKind(C.SLM_CHAT_ANSWER)
	EventToolCall  = EventKind(C.SLM_CHAT_TOOL_CALL)
	EventEnd       = EventKind(C.SLM_CHAT_END)
)

// ChatEvent is a part of an answer: text of reasoning or of the answer, or a whole tool call.
type ChatEvent struct {
	Kind      EventKind
	Text      string
	Index     int    // of a call in this answer, from 0
	ID        string // of a call, "" if the model gives none
	Name      string
	Arguments string // a JSON object
}

// ChatOutput takes an answer apart as it arrives. It serves one call at a time.
type ChatOutput struct {
	object
	p *C.slm_chat_output
}

// ChatStyles names how reasoning and calls are marked; "" is none.
type ChatStyles struct{ Reasoning, ToolCalls string }

// NewChatOutput finds out from the template how the model marks reasoning and calls. tools, a JSON array
// or "", gives arguments their types.
func (t *ChatTemplate) NewChatOutput(tools string) (*ChatOutput, error) {
	if err := t.share(); err != nil {
		return nil, err
	}
	defer t.leave()
	return newChatOutput(t.p, nil, tools)
}

// NewChatOutput reads answers in styles of these names.
func NewChatOutput(styles ChatStyles, tools string) (*ChatOutput, error) {
	return newChatOutput(nil, &styles, tools)
}

func newChatOutput(t *C.slm_chat_template, styles *ChatStyles, tools string) (*ChatOutput, error) {
	var a arena
	defer a.free()
	var o C.slm_chat_output_options
	C.slm_chat_output_options_init(&o, C.size_t(unsafe.Sizeof(o)))
	if styles != nil {
		var err error
		if o.reasoning, err = a.cString(styles.Reasoning, "the style"); err != nil {
			return nil, err
		}
		if o.tool_calls, err = a.cString(styles.ToolCalls, "the style"); err != nil {
			return nil, err
		}
	}
	if tools != "" {
		o.tools, o.tools_size = a.text(tools), C.size_t(len(tools))
	}
	out := &ChatOutput{}
	var err C.slm_error
	if status := C.slm_chat_output_create(&out.p, t, &o, &err); status != C.SLM_OK {
		return nil, failed(status, &err)
	}
	made := out.p
	out.free = func() { C.slm_chat_output_free(made) }
	runtime.SetFinalizer(out, func(o *ChatOutput) { o.Close() })
	return out, nil
}

func (o *ChatOutput) call(f func(err *C.slm_error) C.int) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	var err C.slm_error
	return failed(f(&err), &err)
}

// Begin begins another answer, to this prompt or nil; what has not been read of the last one is gone.
func (o *ChatOutput) Begin(prompt *ChatPrompt) error {
	var p *C.slm_chat_prompt
	if prompt != nil {
		if err := prompt.share(); err != nil {
			return err
		}
		defer prompt.leave()
		p = prompt.p
	}
	return o.call(func(err *C.slm_error) C.int { return C.slm_chat_output_begin(o.p, p, err) })
}

func (o *ChatOutput) push(kind C.int32_t, text string) error {
	return o.call(func(err *C.slm_error) C.int {
		return C.slm_chat_output_push(o.p, kind, cBytes(text), C.size_t(len(text)), err)
	})
}

// Push adds text of the answer, cut anywhere.
func (o *ChatOutput) Push(text string) error { return o.push(C.SLM_PIECE_TEXT, text) }

// End ends the answer; what is held back comes out.
func (o *ChatOutput) End() error { return o.push(C.SLM_PIECE_END, "") }

// Next is the next event.
func (o *ChatOutput) Next() (ChatEvent, error) {
	var e ChatEvent
	err := o.call(func(err *C.slm_error) C.int {
		var raw C.slm_chat_event
		raw.struct_size = C.uint32_t(unsafe.Sizeof(raw))
		status := C.slm_chat_output_next(o.p, &raw, err)
		e = ChatEvent{Kind: EventKind(raw.kind), Index: int(raw.index), ID: C.GoString(raw.id),
			Name: C.GoString(raw.name), Arguments: C.GoString(raw.arguments)}
		if e.Kind != EventToolCall {
			e.Text = goBytes(raw.text, raw.size)
		}
		return status
	})
	return e, err
}

// Styles are the names of the styles in use.
func (o *ChatOutput) Styles() (ChatStyles, error) {
	var i C.slm_chat_output_info
	i.struct_size = C.uint32_t(unsafe.Sizeof(i))
	err := o.call(func(err *C.slm_error) C.int { return C.slm_chat_output_get_info(o.p, &i, err) })
	return ChatStyles{C.GoString(i.reasoning), C.GoString(i.tool_calls)}, err
}

// Chat answers a rendered conversation and hands out the answer part by part. An error of handle ends
// it, and is given back.
func (c *Context) Chat(ctx context.Context, prompt *ChatPrompt, output *ChatOutput, options *GenerateOptions, handle func(ChatEvent) error) (Stats, error) {
	var o GenerateOptions
	if options != nil {
		o = *options
	}
	if err := c.enter(); err != nil {
		return Stats{}, err
	}
	var err error
	o.Tokens, err = c.model.tokenizePrompt(prompt, BOS)
	c.leave()
	if err != nil {
		return Stats{}, err
	}
	if err := output.Begin(prompt); err != nil {
		return Stats{}, err
	}
	g, err := c.beginChat(&o, output)
	if err != nil {
		return Stats{}, err
	}
	defer g.Close()
	err = g.answer(ctx, output, handle)
	stats, failure := g.Stats()
	if err == nil {
		err = failure
	}
	return stats, err
}

func (c *Context) beginChat(options *GenerateOptions, output *ChatOutput) (*Generator, error) {
	if err := output.enter(); err != nil {
		return nil, err
	}
	defer output.leave()
	return c.begin("", options, output)
}

func (g *Generator) answer(ctx context.Context, output *ChatOutput, handle func(ChatEvent) error) error {
	for {
		piece, err := g.Next(ctx)
		switch {
		case err == io.EOF:
			err = output.End()
		case err != nil:
		case piece.Special:
			err = output.push(C.SLM_PIECE_SPECIAL, piece.Text)
		default:
			err = output.Push(piece.Text)
		}
		for err == nil {
			var event ChatEvent
			if event, err = output.Next(); err != nil || event.Kind == EventNone {
				break
			}
			if event.Kind == EventEnd {
				return nil
			}
			err = handle(event)
		}
		if err != nil {
			return err
		}
	}
}
