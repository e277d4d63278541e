package slm

// #include "slm.h"
import "C"

import "unsafe"

// TextFlags say how text and tokens are converted.
type TextFlags uint32

const (
	// BOS adds the start and end tokens the vocabulary asks for; decoding, it takes them away again.
	BOS = TextFlags(C.SLM_TEXT_BOS)
	// Special makes special tokens of their texts (never set it for text from a user); decoding, it
	// writes them out.
	Special = TextFlags(C.SLM_TEXT_SPECIAL)
	// Clean is for decoding alone: no spaces before punctuation, for vocabularies that llama.cpp cleans so.
	Clean = TextFlags(C.SLM_TEXT_CLEAN)
)

func first(tokens []Token) *C.int32_t {
	if len(tokens) == 0 {
		tokens = make([]Token, 1)
	}
	return (*C.int32_t)(&tokens[0])
}

// Tokenize makes tokens of text, exactly as the model was trained.
func (m *Model) Tokenize(text string, flags TextFlags) ([]Token, error) {
	if err := m.share(); err != nil {
		return nil, err
	}
	defer m.leave()
	p := cBytes(text)
	return fill(len(text)/2+8, func(t *Token, room C.size_t, needed *C.size_t, err *C.slm_error) C.int {
		return C.slm_tokenize(m.p, p, C.size_t(len(text)), C.uint32_t(flags), (*C.int32_t)(t), room, needed, err)
	})
}

// Detokenize makes text of tokens: bytes, which may begin or end within a character.
func (m *Model) Detokenize(tokens []Token, flags TextFlags) ([]byte, error) {
	if err := m.share(); err != nil {
		return nil, err
	}
	defer m.leave()
	return fill(len(tokens)*8, func(text *byte, room C.size_t, needed *C.size_t, err *C.slm_error) C.int {
		p := (*C.char)(unsafe.Pointer(text))
		return C.slm_detokenize(m.p, first(tokens), C.size_t(len(tokens)), C.uint32_t(flags), p, room, needed, err)
	})
}

// Decoder decodes token by token in whole characters. It is for one goroutine; its zero value is ready.
type Decoder struct {
	Flags  TextFlags
	stream C.slm_text_stream
}

// Push gives the text that one more token completes, which may be none; token -1 ends the text.
func (d *Decoder) Push(m *Model, token Token) (string, error) {
	if err := m.share(); err != nil {
		return "", err
	}
	defer m.leave()
	text, err := fill(64, func(text *byte, room C.size_t, needed *C.size_t, err *C.slm_error) C.int {
		p := (*C.char)(unsafe.Pointer(text))
		return C.slm_decode_token(m.p, &d.stream, C.int32_t(token), C.uint32_t(d.Flags), p, room, needed, err)
	})
	return string(text), err
}

// TokenInfo is what the vocabulary says of a token.
type TokenInfo struct {
	Text  string // as it is stored
	Type  int    // SLM_TOKEN_ of slm.h
	Score float32
	End   bool // generation ends there
}

// TokenInfo is what the vocabulary says of a token.
func (m *Model) TokenInfo(token Token) (TokenInfo, error) {
	if err := m.share(); err != nil {
		return TokenInfo{}, err
	}
	defer m.leave()
	var i C.slm_token_info
	i.struct_size = C.uint32_t(unsafe.Sizeof(i))
	var err C.slm_error
	status := C.slm_token_get_info(m.p, C.int32_t(token), &i, &err)
	if status != C.SLM_OK {
		return TokenInfo{}, failed(status, &err)
	}
	return TokenInfo{goBytes(i.text, i.text_size), int(i.kind), float32(i.score), i.is_end != 0}, nil
}

// FindToken is the token stored as exactly this text, or -1.
func (m *Model) FindToken(text string) (Token, error) {
	if err := m.share(); err != nil {
		return -1, err
	}
	defer m.leave()
	var token C.int32_t
	var err C.slm_error
	status := C.slm_token_find(m.p, cBytes(text), C.size_t(len(text)), &token, &err)
	return Token(token), failed(status, &err)
}
