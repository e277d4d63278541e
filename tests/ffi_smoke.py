#!/usr/bin/env python3
"""The library as another language sees it: ctypes over the shared object and nothing else.

usage: ffi_smoke.py [build/libslm.so [MODEL.gguf]]"""
import ctypes as c
import os
import sys
import tempfile

I32, U32, I64, U64, P, N = c.c_int32, c.c_uint32, c.c_int64, c.c_uint64, c.c_void_p, c.c_size_t
OK, E_IO, E_FORMAT, E_CANCELLED = 0, -3, -4, -9
lib = c.CDLL(os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build/libslm.so"))
path = sys.argv[2] if len(sys.argv) > 2 else "examples/models/storyteller-q8_0.gguf"


def struct(name, fields):
    """A struct of slm.h from "type name, ..."; struct_size comes first and is set."""
    rows = [(field.split()[1], eval(field.split()[0])) for field in ("U32 struct_size, " + fields).split(", ")]
    init = lambda self, **values: c.Structure.__init__(self, struct_size=c.sizeof(self), **values)
    return type(name, (c.Structure,), {"_fields_": rows, "__init__": init})


class Error(c.Structure):
    _fields_ = [("code", I32), ("reserved", U32), ("position", I64), ("message", c.c_char * 240)]


ModelInfo = struct("ModelInfo", "I32 n_vocab, I32 n_ctx_train")  # the head of it is enough
ContextOptions = struct(
    "ContextOptions", "U32 flags, I32 n_ctx, I32 n_sequences, I32 n_pages, I32 n_batch, I32 n_logits, "
    "I32 kv_type, I32 n_threads, I32 reserved, P threads, P alloc, P alloc_user, U64 max_bytes")
Span = struct("Span", "I32 sequence, I32 position, I32 n_tokens, P tokens, I32 want, I32 n_done")
GenerateOptions = struct(
    "GenerateOptions", "U32 flags, I32 max_tokens, I32 n_stops, P stops, P prompt_tokens, I32 n_prompt_tokens, "
    "I32 reserved, I64 deadline_ns, P cancel, P progress, P progress_user")
Piece = struct("Piece", "I32 kind, I32 reason, I32 n_tokens, P tokens, P text, N size")

SIGNATURES = {  # without the slm_error at the end
    "model_open": [P, c.c_char_p, P], "model_get_info": [P, P], "tokenize": [P, c.c_char_p, N, U32, P, N, P],
    "context_create": [P, P, P], "eval": [P, P, I32, N, P], "logits": [P, I32, P, P], "sequence_length": [P, I32, P],
    "generate_begin": [P, P, I32, P, c.c_char_p, N, P], "generate_next": [P, P]}
for name, arguments in SIGNATURES.items():
    getattr(lib, "slm_" + name).argtypes = arguments + [P]
for name in ("model_free", "context_free", "generate_end"):
    getattr(lib, "slm_" + name).argtypes, getattr(lib, "slm_" + name).restype = [P], None
for name in ("context_options_init", "generate_options_init"):
    getattr(lib, "slm_" + name).argtypes = [P, N]


def call(name, *args, expect=(OK,)):
    err = Error()
    status = getattr(lib, "slm_" + name)(*args, c.byref(err))
    message = err.message.decode()
    assert status in expect and (status == OK or (err.code == status and message)), f"slm_{name}: {status} {message}"
    return message


def generate(generator, expect=(OK,)):
    text, piece = b"", Piece()
    while call("generate_next", generator, c.byref(piece), expect=expect) == "" and piece.kind == 1:
        text += c.string_at(piece.text, piece.size)
    return text.decode()


# Load and tokenise, asking for the size first.
model, info, needed = P(), ModelInfo(), N()
call("model_open", c.byref(model), path.encode(), None)
call("model_get_info", model, c.byref(info))
prompt = b"Once upon a time"
call("tokenize", model, prompt, len(prompt), 1, None, 0, c.byref(needed))
tokens = (I32 * needed.value)()
call("tokenize", model, prompt, len(prompt), 1, tokens, needed.value, c.byref(needed))
assert 0 < len(tokens) <= len(prompt) and all(0 <= t < info.n_vocab for t in tokens)

# Two sequences in one call: the same tokens give the same logits.
options, context = ContextOptions(), P()
lib.slm_context_options_init(c.byref(options), c.sizeof(options))
options.n_sequences, options.n_ctx, options.n_threads = 2, 256, 2
call("context_create", c.byref(context), model, c.byref(options))
spans = (Span * 2)(*[Span(sequence=i, position=-1, n_tokens=len(tokens), tokens=c.addressof(tokens), want=1) for i in (0, 1)])
call("eval", context, spans, 2, c.sizeof(Span), None)
rows = []
for i, span in enumerate(spans):
    row = c.POINTER(c.c_float)()
    call("logits", context, i, c.byref(row), c.byref(n_vocab := I32()))
    rows.append(row[:n_vocab.value])
    assert span.n_done == len(tokens)
assert max(abs(a - b) for a, b in zip(*rows)) < 1e-3 and max(rows[0]) > min(rows[0])

# Generate by pulling on one of them; cancel before the first piece, then go on.
cancel, go, generator = I32(1), GenerateOptions(), P()
lib.slm_generate_options_init(c.byref(go), c.sizeof(go))
go.max_tokens, go.cancel = 24, c.addressof(cancel)
call("generate_begin", c.byref(generator), context, 1, None, b" there was", 10, c.byref(go))
assert generate(generator, expect=(E_CANCELLED,)) == ""
cancel.value = 0
story = generate(generator)
assert len(story) > 20, story
print(story)

# A corrupt file, one that is not there, and everything freed in the wrong order.
with tempfile.NamedTemporaryFile(suffix=".gguf") as corrupt:
    corrupt.write(open(path, "rb").read(5000))
    corrupt.flush()
    print(call("model_open", c.byref(P()), corrupt.name.encode(), None, expect=(E_FORMAT,)))
print(call("model_open", c.byref(P()), b"/not/there.gguf", None, expect=(E_IO,)))
lib.slm_model_free(model)
lib.slm_context_free(context)
assert generate(generator) == ""  # still alive, and at its end
lib.slm_generate_end(generator)
print("ok")
