package slm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	modelPath = "../models/storyteller-q8_0.gguf"
	prompt    = "Once upon a time"
)

var background = context.Background()

// must is for what cannot fail; check ends the test where it does.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func check(t *testing.T, ok bool, values ...any) {
	t.Helper()
	if !ok {
		t.Fatal(values...)
	}
}

func wants(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, not %v", err, want)
	}
}

func openTest(t *testing.T) *Model {
	t.Helper()
	m := must(OpenModel(background, modelPath, nil))
	t.Cleanup(func() { m.Close() })
	return m
}

// Batches of 64 tokens, so that long prompts have a middle.
var small = ContextOptions{Positions: 256, Sequences: 2, Batch: 64, Threads: 1}

func contextOf(t *testing.T, m *Model) *Context {
	t.Helper()
	c := must(m.NewContext(&small))
	t.Cleanup(func() { c.Close() })
	return c
}

func story(c *Context, sequence, tokens int) string {
	var text strings.Builder
	must(c.Generate(background, &text, prompt, &GenerateOptions{Sequence: sequence, MaxTokens: tokens}))
	return text.String()
}

func panicOf(f func()) (reason any) {
	defer func() { reason = recover() }()
	f()
	return nil
}

// ---- Text and files ----------------------------------------------------------------------------

func TestAStoryIsStreamedAndByHand(t *testing.T) {
	m := openTest(t)
	c := contextOf(t, m)
	told := story(c, 0, 24)
	check(t, len(told) > 20, told)

	greedy := must(m.NewSampler(0))
	defer greedy.Close()
	tokens := must(m.Tokenize(prompt, BOS))
	check(t, string(must(m.Detokenize(tokens, BOS))) == prompt)
	var decoder Decoder
	for _, token := range tokens {
		must(decoder.Push(m, token))
	}
	var text string
	for i := 0; i < 24; i++ {
		row := must(c.Append(background, 1, tokens))
		next := must(greedy.Sample(row))
		check(t, next == must(c.Sample(-1, greedy)))
		check(t, greedy.Accept(next) == nil)
		text += must(decoder.Push(m, next))
		tokens = []Token{next}
	}
	text += must(decoder.Push(m, -1))
	check(t, text == told, text, told)
}

func TestPiecesTellTokensTheEndAndCounts(t *testing.T) {
	m := openTest(t)
	c := contextOf(t, m)
	tokens := must(m.Tokenize(prompt, BOS))
	g := must(c.Begin("", &GenerateOptions{Tokens: tokens, MaxTokens: 8}))
	defer g.Close()
	n, chosen := 0, 0
	for {
		piece, err := g.Next(background)
		chosen += len(piece.Tokens)
		if err == io.EOF {
			break
		}
		check(t, err == nil && piece.Text != "" && !piece.Special, err)
		n++
	}
	check(t, chosen == 8, chosen)
	stats := must(g.Stats())
	check(t, n > 0 && g.Reason() == EndLimit && stats.Reason == EndLimit)
	check(t, stats.Prompt == len(tokens) && stats.Generated == 8 && stats.PromptTime > 0, stats)
	check(t, must(c.Length(0)) == len(tokens)+8)

	var text strings.Builder
	must(c.Generate(background, &text, "Once upon a", &GenerateOptions{Sequence: 1, Stops: []string{"time", "there"}, MaxTokens: 40}))
	check(t, !strings.Contains(text.String(), "time"), text.String())
}

func TestModelsComeFromFilesAndReaders(t *testing.T) {
	want := story(contextOf(t, openTest(t)), 0, 12)
	data := must(os.ReadFile(modelPath))
	file := must(os.Open(modelPath))
	defer file.Close()
	for _, m := range []*Model{
		must(ReadModel(background, nil, bytes.NewReader(data))),
		must(ReadModel(background, nil, io.NewSectionReader(file, 0, int64(len(data))))),
		must(OpenModel(background, modelPath, &ModelOptions{Read: true, Check: true})),
		must(LoadMemory(background, nil, append([]byte(nil), data...))),
		must(LoadMemory(background, &ModelOptions{Read: true}, data)),
	} {
		c := must(m.NewContext(&small))
		s := must(m.NewSampler(0))
		m.Close() // the context keeps it
		runtime.GC()
		check(t, story(c, 0, 12) == want)
		c.Close()
		copied := must(s.Clone()) // and so do samplers
		s.Close()
		check(t, must(copied.Sample(make([]float32, 2048))) == 0)
		copied.Close()
	}
	_, err := LoadMemory(background, nil, data[:5000])
	wants(t, err, ErrFormat)
	_, err = LoadMemory(background, nil, nil)
	wants(t, err, ErrFormat)
	_, err = LoadMemory(background, nil)
	wants(t, err, ErrArgument)
}

func TestMetadataTensorsAndTokensAreTold(t *testing.T) {
	m := openTest(t)
	info := must(m.Info())
	check(t, info.Family == "llama" && info.Vocab == 2048 && info.Layers == 4 && info.Causal, info)
	for i := 0; i < info.Metadata; i++ {
		check(t, must(m.Metadata(i)).Key != "")
	}
	check(t, must(m.FindMetadata("general.architecture")).Value == "llama")
	check(t, must(m.FindMetadata("llama.block_count")).Value == uint64(4))
	check(t, len(must(m.FindMetadata("tokenizer.ggml.tokens")).Value.([]string)) == 2048)
	check(t, must(m.FindMetadata("no.such.key")).Value == nil)
	tensor := must(m.Tensor(0))
	check(t, tensor.Name != "" && len(tensor.Shape) > 0 && tensor.Size > 0, tensor)
	_, err := m.Tensor(info.Tensors)
	wants(t, err, ErrArgument)
	check(t, must(m.TokenInfo(info.EOS)).End)
	check(t, must(m.FindToken(must(m.TokenInfo(300)).Text)) == 300)
	check(t, must(m.FindToken("no such token")) == -1)
	elements, size, err := Encoding("q4_k")
	check(t, elements == 256 && size == 144 && err == nil)
	check(t, Version() > 0 && len(CPUFeatures()) < 64)
}

// ---- Bad input ---------------------------------------------------------------------------------

type brokenFile struct{ err error }

func (f brokenFile) ReadAt(p []byte, at int64) (int, error) { return 0, f.err }
func (f brokenFile) Size() int64                            { return 1 << 20 }

func TestCorruptFilesAreErrors(t *testing.T) {
	data := must(os.ReadFile(modelPath))
	_, err := ReadModel(background, nil, bytes.NewReader(data[:5000]))
	wants(t, err, ErrFormat)
	var failure *Error
	check(t, errors.As(err, &failure) && len(failure.Message) > 10 && strings.Contains(err.Error(), "SLM_E_FORMAT"), err)
	check(t, !errors.Is(err, ErrIO) && !errors.Is(err, context.Canceled))
	data[0] = 'X'
	_, err = ReadModel(background, nil, bytes.NewReader(data))
	wants(t, err, ErrFormat)
	_, err = OpenModel(background, "/not/there", nil)
	wants(t, err, ErrIO)
	_, err = OpenModel(background, "zero\x00byte", nil)
	wants(t, err, ErrArgument)
	_, err = ReadModel(background, nil)
	wants(t, err, ErrArgument)
	_, err = OpenModel(background, modelPath, &ModelOptions{MaxBytes: 1000})
	wants(t, err, ErrMemory)
	_, err = ReadModel(background, nil, brokenFile{os.ErrDeadlineExceeded})
	wants(t, err, ErrIO)
	wants(t, err, os.ErrDeadlineExceeded) // what the file failed with comes along
}

func TestWrongArgumentsAreErrors(t *testing.T) {
	m := openTest(t)
	c := contextOf(t, m)
	appended := func(sequence int, tokens ...Token) error {
		_, err := c.Append(background, sequence, tokens)
		return err
	}
	wants(t, appended(7, 1), ErrArgument)
	wants(t, appended(0, -5), ErrArgument)
	wants(t, appended(0), ErrArgument)
	wants(t, appended(0, make([]Token, 300)...), ErrFull)
	_, err := c.Logits(0)
	wants(t, err, ErrArgument)
	wants(t, c.Fork(0, 9), ErrArgument)
	wants(t, c.Rewind(0, 1), ErrArgument)
	wants(t, c.Checkpoint(0, 0), ErrArgument)
	wants(t, c.Eval(background, []Span{{Tokens: []Token{1, 2, 3}, Want: WantAll}}, nil), ErrSpace)
	_, err = c.Begin("a", &GenerateOptions{Stops: []string{""}})
	wants(t, err, ErrArgument)
	_, err = m.NewSampler(0, Temperature(float32(math.NaN())))
	wants(t, err, ErrArgument)
	s := must(m.NewSampler(0))
	nothing := make([]float32, 2048)
	for i := range nothing {
		nothing[i] = float32(math.NaN())
	}
	_, err = s.Sample(nothing)
	wants(t, err, ErrNumeric)
	_, err = s.Sample(nothing[:5])
	wants(t, err, ErrArgument)
	_, err = s.Apply([]Candidate{{Token: 1 << 30}})
	wants(t, err, ErrArgument)
}

// Cut to 32 bits, 1<<32 would be 0.
func TestNumbersBeyond32BitsAreRefused(t *testing.T) {
	if math.MaxInt == math.MaxInt32 {
		t.Skip("int has 32 bits")
	}
	m := openTest(t)
	c := contextOf(t, m)
	must(c.Append(background, 0, []Token{1, 2, 3}))
	s := must(m.NewSampler(0))
	must(0, s.Accept(5))
	shift := 32 // so that this compiles where int has 32 bits
	for _, n := range []int{1 << shift, -1 << shift, math.MaxInt, math.MinInt} {
		for name, call := range map[string]func() error{
			"Length":          func() error { _, err := c.Length(n); return err },
			"Fork from":       func() error { return c.Fork(n, 1) },
			"Fork to":         func() error { return c.Fork(0, n) },
			"Rewind sequence": func() error { return c.Rewind(n, 0) },
			"Rewind length":   func() error { return c.Rewind(0, n) },
			"Checkpoint":      func() error { return c.Checkpoint(0, n) },
			"Logits":          func() error { _, err := c.Logits(n); return err },
			"Sample":          func() error { _, err := c.Sample(n, s); return err },
			"Append":          func() error { _, err := c.Append(background, n, []Token{1}); return err },
			"Begin":           func() error { _, err := c.Begin("a", &GenerateOptions{Sequence: n}); return err },
			"Sampler":         func() error { return s.Rewind(n) },
			"Threads":         func() error { _, err := NewThreads(n); return err },
			"Context":         func() error { _, err := m.NewContext(&ContextOptions{Positions: n}); return err },
			"Metadata":        func() error { _, err := m.Metadata(n); return err },
			"Tensor":          func() error { _, err := m.Tensor(n); return err },
		} {
			if err := call(); !errors.Is(err, ErrArgument) {
				t.Errorf("%s(%d): %v", name, n, err)
			}
		}
	}
	check(t, must(c.Length(0)) == 3 && s.Rewind(1) == nil)
	check(t, c.Rewind(0, 0) == nil)
	stats := must(c.Generate(background, io.Discard, prompt, &GenerateOptions{MaxTokens: 1<<shift + 3}))
	check(t, stats.Generated > 3, stats)
}

func TestClosedObjectsSaySo(t *testing.T) {
	m := must(OpenModel(background, modelPath, nil))
	c := must(m.NewContext(&small))
	s := must(m.NewSampler(0))
	g := must(c.Begin(prompt, &GenerateOptions{Sampler: s}))
	template := must(m.ChatTemplate(""))
	p := must(template.Render("[]", nil))
	output := must(template.NewChatOutput(""))
	pool := must(NewThreads(1))

	// In the worst order; and twice, which does nothing.
	for i := 0; i < 2; i++ {
		for _, object := range []io.Closer{m, c, s, g, template, p, output, pool} {
			check(t, object.Close() == nil)
		}
	}
	failures := map[string]error{}
	keep := func(name string, _ any, err error) { failures[name] = err }
	info, err := m.Info()
	keep("Info", info, err)
	tokens, err := m.Tokenize("a", 0)
	keep("Tokenize", tokens, err)
	again, err := m.NewContext(nil)
	keep("NewContext", again, err)
	row, err := c.Append(background, 0, []Token{1})
	keep("Append", row, err)
	length, err := c.Length(0)
	keep("Length", length, err)
	vectors, err := c.Embed(background, [][]Token{{1}}, nil)
	keep("Embed", vectors, err)
	stats, err := c.Generate(background, io.Discard, prompt, nil)
	keep("Generate", stats, err)
	token, err := s.Sample([]float32{1})
	keep("Sample", token, err)
	piece, err := g.Next(background)
	keep("Next", piece, err)
	rendered, err := template.Render("[]", nil)
	keep("Render", rendered, err)
	text, err := p.Text()
	keep("Text", text, err)
	event, err := output.Next()
	keep("Event", event, err)
	other := openTest(t)
	pooled, err := other.NewContext(&ContextOptions{Pool: pool})
	keep("Pool", pooled, err)
	check(t, len(failures) == 13)
	for name, err := range failures {
		if !errors.Is(err, ErrClosed) {
			t.Error(name, err)
		}
	}
}

// ---- Stopping and panicking --------------------------------------------------------------------

func TestACancelledGenerationGoesOn(t *testing.T) {
	m := openTest(t)
	want := story(contextOf(t, m), 0, 24)
	c := contextOf(t, m)
	g := must(c.Begin(prompt, &GenerateOptions{MaxTokens: 24}))
	defer g.Close()
	over, cancel := context.WithCancel(background)
	cancel()
	_, err := g.Next(over)
	wants(t, err, ErrCancelled)
	wants(t, err, context.Canceled)

	// In the middle, from another goroutine.
	text := must(g.Next(background)).Text
	_, err = g.Next(over)
	wants(t, err, context.Canceled)
	for {
		piece, err := g.Next(background)
		if err == io.EOF {
			break
		}
		check(t, err == nil, err)
		text += piece.Text
	}
	check(t, text == want, text, want)
}

func TestATimeoutEndsALongCallFromOutside(t *testing.T) {
	m := openTest(t)
	c := must(m.NewContext(&ContextOptions{Positions: 4096, Batch: 64, Threads: 1}))
	defer c.Close()
	tokens := make([]Token, 4000)
	for i := range tokens {
		tokens[i] = 5
	}
	soon, cancel := context.WithTimeout(background, 20*time.Millisecond)
	defer cancel()
	spans := []Span{{Tokens: tokens}}
	err := c.Eval(soon, spans, nil)
	wants(t, err, context.DeadlineExceeded)
	check(t, spans[0].Done < len(tokens) && spans[0].Done == must(c.Length(0)), spans[0].Done)
	_, err = OpenModel(soon, modelPath, &ModelOptions{Read: true})
	wants(t, err, context.DeadlineExceeded)

	g := must(c.Begin("", &GenerateOptions{Tokens: tokens[:90], StepTimeout: time.Nanosecond}))
	defer g.Close()
	_, err = g.Next(background)
	wants(t, err, ErrDeadline)
}

func TestProgressStops(t *testing.T) {
	m := openTest(t)
	c := contextOf(t, m)
	no := func(done, total uint64) bool { return false }
	_, err := OpenModel(background, modelPath, &ModelOptions{Read: true, Progress: no})
	wants(t, err, ErrCancelled)
	spans := []Span{{Tokens: make([]Token, 200)}}
	wants(t, c.Eval(background, spans, no), ErrCancelled)
	check(t, spans[0].Done == 64 && must(c.Length(0)) == 64)
	must(c.Append(background, 0, make([]Token, 136)))
	check(t, must(c.Length(0)) == 200)
}

type brokenWriter struct{ left int }

var errWriter = errors.New("the pipe is broken")

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, errWriter
	}
	return len(p), nil
}

func TestTheWritersErrorComesBack(t *testing.T) {
	c := contextOf(t, openTest(t))
	stats, err := c.Generate(background, &brokenWriter{3}, prompt, nil)
	check(t, err == errWriter && stats.Generated > 0 && stats.Generated < 20, err, stats)
	_, err = c.Generate(background, &brokenWriter{0}, prompt, nil)
	check(t, err == errWriter)
	check(t, story(c, 1, 8) != "")
}

type panickingFile struct{ brokenFile }

func (panickingFile) ReadAt(p []byte, at int64) (int, error) { panic("while reading") }

func TestPanicsOfCallbacksComeThroughAndLeaveAllUsable(t *testing.T) {
	m := openTest(t)
	c, inner := contextOf(t, m), contextOf(t, m)
	throw := func(reason string) func(done, total uint64) bool {
		return func(done, total uint64) bool { panic(reason) }
	}
	long := []Span{{Sequence: 1, Tokens: make([]Token, 100)}}
	for want, f := range map[string]func(){
		"while loading": func() {
			OpenModel(background, modelPath, &ModelOptions{Read: true, Progress: throw("while loading")})
		},
		"while reading": func() { ReadModel(background, nil, panickingFile{}) },
		"in the middle": func() { c.Eval(background, long, throw("in the middle")) },
		"in the prompt": func() {
			c.Generate(background, io.Discard, prompt, &GenerateOptions{Progress: throw("in the prompt")})
		},
		"while embedding": func() {
			c.Rewind(1, 0)
			c.Embed(background, [][]Token{make([]Token, 100)}, &EmbedOptions{Progress: throw("while embedding")})
		},
		"deep inside": func() {
			c.Rewind(1, 0)
			c.Eval(background, long, func(done, total uint64) bool {
				inner.Eval(background, long, throw("deep inside"))
				return true
			})
		},
		"in the log": func() {
			loud := must(OpenModel(background, modelPath, &ModelOptions{Log: func(LogLevel, string) { panic("in the log") }}))
			defer loud.Close()
			loud.NewContext(&ContextOptions{Positions: 100_000, Threads: 1})
		},
	} {
		if got := panicOf(f); got != want {
			t.Errorf("%v, not %v", got, want)
		}
	}
	check(t, c.Rewind(0, 0) == nil && c.Rewind(1, 0) == nil && inner.Rewind(1, 0) == nil)
	check(t, story(c, 0, 8) != "" && story(inner, 1, 8) != "")
}

// ---- Sequences, samplers, vectors --------------------------------------------------------------

func TestForksAndRewindsGiveTheSameLogits(t *testing.T) {
	m := openTest(t)
	c := contextOf(t, m)
	tokens := must(m.Tokenize(prompt, BOS))
	row := must(c.Append(background, 0, tokens))
	check(t, c.Fork(0, 1) == nil && c.Rewind(1, len(tokens)-1) == nil)
	again := must(c.Append(background, 1, tokens[len(tokens)-1:]))
	for i := range row {
		check(t, math.Abs(float64(row[i]-again[i])) < 1e-2, i)
	}
	check(t, must(m.Plan(&small)).ContextHeapBytes == must(c.Info()).HeapBytes)
}

func TestSamplersRepeatThemselvesBySeed(t *testing.T) {
	m := openTest(t)
	c := contextOf(t, m)
	s := must(m.NewSampler(7, Penalties(64, 1.1, 0, 0), TopK(40), TopP(0.95), MinP(0.02), Temperature(0.9)))
	defer s.Close()
	var told [2]string
	for i := range told {
		check(t, s.Reset() == nil && c.Rewind(0, 0) == nil)
		var text strings.Builder
		must(c.Generate(background, &text, prompt, &GenerateOptions{MaxTokens: 16, Sampler: s}))
		told[i] = text.String()
	}
	check(t, told[0] == told[1] && told[0] != "", told)

	flat := make([]float32, 2048)
	copied := must(s.Clone())
	defer copied.Close()
	check(t, must(copied.Sample(flat)) == must(s.Sample(flat)))
	list := make([]Candidate, 100)
	for i := range list {
		list[i] = Candidate{Token: Token(i), Logit: float32(i)}
	}
	list = must(copied.Apply(list))
	check(t, len(list) > 0 && len(list) <= 40)
	chosen := must(copied.Choose(list))
	found := false
	for _, c := range list {
		found = found || c.Token == chosen && c.Probability > 0
	}
	check(t, found)
	biased := must(m.NewSampler(0, LogitBias(map[Token]float32{5: float32(math.Inf(-1)), 6: 3}), Temperature(0)))
	check(t, must(biased.Sample(flat)) == 6)
}

func TestEmbeddingsHaveARowForEachToken(t *testing.T) {
	m := openTest(t)
	c := contextOf(t, m)
	rows := must(c.Embed(background, [][]Token{{1, 5, 9}, {1, 7}}, nil))
	check(t, len(rows) == 5 && len(rows[0]) == must(m.Info()).Embedding)
	for _, row := range rows {
		sum := 0.0
		for _, x := range row {
			sum += float64(x) * float64(x)
		}
		check(t, math.Abs(sum-1) < 1e-3, sum)
	}
	rank := PoolingRank
	_, err := c.Embed(background, [][]Token{{1}}, &EmbedOptions{Pooling: &rank})
	wants(t, err, ErrArgument)
}

// ---- Chat --------------------------------------------------------------------------------------

func TestConversationsAreRenderedAnsweredAndTakenApart(t *testing.T) {
	m := openTest(t)
	c := contextOf(t, m)
	template := must(m.ChatTemplate(must(BuiltinTemplate("chatml"))))
	p := must(template.Render(`[{"role": "user", "content": "What is <|im_end|>?"}]`, nil))
	typed := false
	for _, segment := range must(p.Segments()) {
		typed = typed || !segment.Template && strings.Contains(segment.Text, "<|im_end|>")
	}
	check(t, typed && strings.HasPrefix(must(p.Text()), "<|im_start|>user\n"), must(p.Text()))
	output := must(template.NewChatOutput(""))
	var answer string
	stats, err := c.Chat(background, p, output, &GenerateOptions{MaxTokens: 24}, func(e ChatEvent) error {
		check(t, e.Kind == EventAnswer, e)
		answer += e.Text
		return nil
	})
	check(t, err == nil && answer != "" && stats.Generated > 0, err, answer, stats)
	check(t, c.Rewind(0, 0) == nil)
	_, err = c.Chat(background, p, output, nil, func(ChatEvent) error { return errWriter })
	check(t, err == errWriter, err)

	_, err = template.Render(`[{"role": 5`, nil)
	wants(t, err, ErrArgument)
	var failure *Error
	_, err = m.ChatTemplate("{% if %}")
	check(t, errors.As(err, &failure) && failure.Status == ErrTemplate && failure.Position == 1, err)
	_, err = BuiltinTemplate("no such template")
	wants(t, err, ErrUnsupported)
}

func TestToolsGoInAndCallsComeOut(t *testing.T) {
	m := openTest(t)
	template := must(m.ChatTemplate("{{ tools | tojson }}|{{ messages[0].content }}|{{ topic }}|{{ reasoning_effort }}"))
	tools := `[{"type": "function", "function": {"name": "look_up", "parameters": {}}}]`
	p := must(template.Render(`[{"role": "user", "content": "Hi"}]`,
		&ChatOptions{Tools: tools, Extra: `{"topic": "dogs"}`, ReasoningEffort: "low", Now: time.Now()}))
	text := must(p.Text())
	check(t, strings.Contains(text, "look_up") && strings.HasSuffix(text, "|Hi|dogs|low"), text)

	output := must(NewChatOutput(ChatStyles{"think", "hermes"}, tools))
	check(t, must(output.Styles()) == ChatStyles{"think", "hermes"})
	answer := "<think>\nA tool.\n</think>\n\n<tool_call>\n{\"name\": \"look_up\", \"arguments\": {\"word\": \"dog\"}}\n</tool_call>"
	for i := range answer {
		check(t, output.Push(answer[i:i+1]) == nil)
	}
	check(t, output.End() == nil)
	var reasoning string
	var call ChatEvent
	for event := must(output.Next()); event.Kind != EventEnd; event = must(output.Next()) {
		switch event.Kind {
		case EventReasoning:
			reasoning += event.Text
		case EventToolCall:
			call = event
		}
	}
	check(t, reasoning == "A tool." && call.Name == "look_up" && strings.Contains(call.Arguments, `"dog"`), call)
	_, err := NewChatOutput(ChatStyles{"no such style", ""}, "")
	wants(t, err, ErrUnsupported)
}

// ---- Goroutines and memory ---------------------------------------------------------------------

func TestGoroutinesShareAModelAndAPool(t *testing.T) {
	var lines sync.Map
	m := must(OpenModel(background, modelPath, &ModelOptions{Log: func(_ LogLevel, line string) { lines.Store(line, true) }}))
	defer m.Close()
	pool := must(NewThreads(2))
	defer pool.Close()
	template := must(m.ChatTemplate(""))
	want := story(contextOf(t, m), 0, 16)
	var group sync.WaitGroup
	for i := 0; i < 4; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			c := must(m.NewContext(&ContextOptions{Positions: 5000, Pool: pool}))
			defer c.Close()
			must(m.Tokenize(prompt, BOS))
			must(template.Render(`[{"role": "user", "content": "Hi"}]`, nil))
			if story(c, 0, 16) != want {
				t.Error("another story")
			}
		}()
	}
	group.Wait()
	heard := false
	lines.Range(func(line, _ any) bool { heard = strings.Contains(line.(string), "5000"); return !heard })
	check(t, heard)
}

// One log for all: what it panics with belongs to the call that it was in.
func TestAPanickingLogStopsItsOwnCall(t *testing.T) {
	m := must(OpenModel(background, modelPath, &ModelOptions{Log: func(LogLevel, string) { panic("in the log") }}))
	defer m.Close()
	var done sync.WaitGroup
	for positions, want := range map[int]any{64: nil, 5000: "in the log"} {
		options, want := ContextOptions{Positions: positions, Threads: 1}, want
		done.Add(1)
		go func() {
			defer done.Done()
			for i := 0; i < 3000; i++ {
				if got := panicOf(func() { must(m.NewContext(&options)).Close() }); got != want {
					t.Errorf("%v, not %v", got, want)
				}
			}
		}()
	}
	done.Wait()
}

func TestASecondCallOnAContextIsBusy(t *testing.T) {
	c := contextOf(t, openTest(t))
	var second error
	err := c.Eval(background, []Span{{Tokens: make([]Token, 100)}}, func(done, total uint64) bool {
		answer := make(chan error)
		if second == nil {
			go func() { _, err := c.Length(0); answer <- err }()
			second = <-answer
			c.Close() // comes into force when the call is through
		}
		return true
	})
	check(t, err == nil, err)
	wants(t, second, ErrBusy)
	_, err = c.Length(0)
	wants(t, err, ErrClosed)
}

func TestWhateverEndsHowEverythingIsGivenBack(t *testing.T) {
	for round := 0; round < 2; round++ {
		counts := newCounts()
		options := ModelOptions{counts: counts.p}
		m := must(OpenModel(background, modelPath, &options))
		c := must(m.NewContext(&ContextOptions{Positions: 64, Threads: 2, counts: counts.p}))
		check(t, counts.blocks() > 1 && counts.bytes() > 100_000)
		over, cancel := context.WithCancel(background)
		cancel()
		_, err := c.Generate(over, io.Discard, prompt, nil)
		wants(t, err, ErrCancelled)
		throw := func(done, total uint64) bool { panic("stop") }
		check(t, panicOf(func() { c.Generate(background, io.Discard, prompt, &GenerateOptions{Progress: throw}) }) == "stop")
		reading := ModelOptions{counts: counts.p, Read: true, Progress: throw}
		check(t, panicOf(func() { OpenModel(background, modelPath, &reading) }) == "stop")
		_, err = ReadModel(background, &options, bytes.NewReader(make([]byte, 100)))
		wants(t, err, ErrFormat)
		g := must(c.Begin(prompt, &GenerateOptions{MaxTokens: 4}))
		must(g.Next(background))
		if round == 0 {
			m.Close()
			c.Close()
			_, err = g.Next(background)
			wants(t, err, ErrClosed)
			g.Close()
		} else {
			// Forgotten: each finalizer lets the next object go.
			m, c, g = nil, nil, nil
			for i := 0; i < 100 && counts.blocks() > 0; i++ {
				runtime.GC()
				time.Sleep(time.Millisecond)
			}
		}
		check(t, counts.blocks() == 0 && counts.bytes() == 0, round, counts.blocks(), counts.bytes())
	}
}
