"""Contexts: evaluation, logits, embeddings, sequences."""
from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple, Union

from ._call import Cancel, Progress, Watch, deadline_ns, own, span_ns
from ._convert import Text, int32, read_info, text_flags, to_tokens, token_address
from ._ffi import C, function, options, struct
from ._handle import Gate, Handle, Owner, use
from .errors import SlmArgumentError
from .generate import Generation
from .model import Model
from .sampler import Sampler

_KV_TYPES = {"f16": C.KV_F16, "f32": C.KV_F32}
_WANTS = {"none": C.WANT_NONE, "last": C.WANT_LAST, "all": C.WANT_ALL}
_POOLINGS = {
    "none": C.POOLING_NONE,
    "mean": C.POOLING_MEAN,
    "cls": C.POOLING_CLS,
    "last": C.POOLING_LAST,
    "rank": C.POOLING_RANK,
}


@dataclass(frozen=True)
class ContextInfo:
    """struct slm_context_info."""

    n_ctx: int
    n_sequences: int
    n_batch: int
    n_logits: int
    n_pages: int
    n_pages_free: int
    n_threads: int
    heap_bytes: int


@dataclass
class Span:
    """A run of tokens for one sequence.

    position   of the first token: the sequence's length, or -1 which means that
    want       logits of "none", of the "last" token or of "all"
    n_done     set by Context.eval_spans: how many of the tokens are committed
    """

    tokens: Sequence[int]
    sequence: int = 0
    position: int = -1
    want: str = "last"
    n_done: int = 0


class Rows(Sequence[memoryview]):
    """Rows of float32 in one piece of memory. rows[i] is a memoryview of a row, without a copy.

    shape    (rows, floats in a row)
    buffer   all of it, as a memoryview [rows * floats]
    """

    def __init__(self, buffer: memoryview, width: int) -> None:
        self.buffer = buffer
        self.shape: Tuple[int, int] = (len(buffer) // width if width else 0, width)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = index + len(self) if index < 0 else index
        if not 0 <= row < len(self):
            raise IndexError("row out of range")
        return self.buffer[row * self.shape[1] : (row + 1) * self.shape[1]]

    def numpy(self) -> Any:
        """The same memory as a numpy array of that shape."""
        import numpy

        return numpy.asarray(self.buffer).reshape(self.shape)


def pick(what: str, table: Any, name: Optional[str]) -> Optional[int]:
    if name is not None and name not in table:
        raise SlmArgumentError(C.E_ARGUMENT, f"{what} cannot be {name!r}, only {', '.join(table)}")
    return None if name is None else table[name]


def context_struct(
    *,
    n_ctx: Optional[int] = None,
    n_sequences: Optional[int] = None,
    n_pages: Optional[int] = None,
    n_batch: Optional[int] = None,
    n_logits: Optional[int] = None,
    kv_type: Optional[str] = None,
    n_threads: Optional[int] = None,
    n_checkpoints: Optional[int] = None,
    exact: bool = False,
    batch_invariant: bool = False,
    max_bytes: Optional[int] = None,
    threads: Optional[int] = None,
) -> Any:
    """struct slm_context_options; threads is a pointer."""
    return options(
        "context",
        flags=(C.CONTEXT_EXACT if exact else 0) | (C.CONTEXT_BATCH_INVARIANT if batch_invariant else 0),
        n_ctx=n_ctx,
        n_sequences=n_sequences,
        n_pages=n_pages,
        n_batch=n_batch,
        n_logits=n_logits,
        kv_type=pick("kv_type", _KV_TYPES, kv_type),
        n_threads=n_threads,
        n_checkpoints=n_checkpoints,
        max_bytes=max_bytes,
        threads=threads,
    )


class Threads(Handle):
    """A pool of worker threads that contexts may share, also in different threads.

    n_threads   including the calling one; None: one for each core that the process may use
    """

    _what = "thread pool"

    def __init__(self, n_threads: Optional[int] = None) -> None:
        opts = options("threads", n_threads=n_threads)
        owner = Owner(function.slm_threads_free)
        function.slm_threads_create(ctypes.byref(owner.out), ctypes.byref(opts))
        self._owner = owner


class Context(Handle):
    """KV cache, scratch memory and the sequences of tokens being worked on.

    One thread at a time: another one gets SlmBusyError. The GIL is released while slm computes, and
    Ctrl-C in the main thread stops a call between two layers.

    n_ctx          positions a sequence may have; None: min(trained, 4096)
    n_sequences    1 to 256
    n_pages        KV pages of 128 positions for all sequences; None: enough for all to be full
    n_batch        tokens computed at once; None: 512
    n_logits       rows of logits one eval can give; None: n_sequences
    kv_type        "f16" or "f32"
    n_threads      a pool of the context's own; None: one for each core that the process may use
    threads        a pool to share instead
    n_checkpoints  that a sequence of a recurrent model can keep
    exact          do not round activations to 8 bits
    batch_invariant   the same bits however a prompt is split into batches
    max_bytes      cap on the heap bytes of this context
    """

    _what = "context"

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: Optional[int] = None,
        n_sequences: Optional[int] = None,
        n_pages: Optional[int] = None,
        n_batch: Optional[int] = None,
        n_logits: Optional[int] = None,
        kv_type: Optional[str] = None,
        n_threads: Optional[int] = None,
        threads: Optional[Threads] = None,
        n_checkpoints: Optional[int] = None,
        exact: bool = False,
        batch_invariant: bool = False,
        max_bytes: Optional[int] = None,
    ) -> None:
        opts = context_struct(
            n_ctx=n_ctx,
            n_sequences=n_sequences,
            n_pages=n_pages,
            n_batch=n_batch,
            n_logits=n_logits,
            kv_type=kv_type,
            n_threads=n_threads,
            n_checkpoints=n_checkpoints,
            exact=exact,
            batch_invariant=batch_invariant,
            max_bytes=max_bytes,
        )
        owner = Owner(function.slm_context_free, (model._owned().keep,), Gate())

        def call() -> None:
            with model._use() as pointer, use(threads) as pool:
                opts.threads = pool
                function.slm_context_create(ctypes.byref(owner.out), pointer, ctypes.byref(opts))

        own(self, owner, Watch(), call)
        self.model = model

    @property
    def info(self) -> ContextInfo:
        """What the context has; n_pages_free changes."""
        info = struct.slm_context_info()
        with self._use(only_looks=True) as pointer:
            function.slm_context_get_info(pointer, ctypes.byref(info))
        return read_info(ContextInfo, info)

    # ---- Sequences ----

    def length(self, sequence: int = 0) -> int:
        """Positions of a sequence."""
        length = ctypes.c_int32()
        with self._use(only_looks=True) as pointer:
            function.slm_sequence_length(pointer, int32(sequence), ctypes.byref(length))
        return length.value

    def fork(self, source: int, target: int) -> None:
        """Makes target a copy of source. Memory is shared until one of them is continued."""
        with self._use() as pointer:
            function.slm_sequence_fork(pointer, int32(source), int32(target))

    def rewind(self, sequence: int = 0, length: int = 0) -> None:
        """Keeps the first positions of a sequence; 0 empties it. A recurrent model can only go back to
        0 and to checkpoints."""
        with self._use() as pointer:
            function.slm_sequence_rewind(pointer, int32(sequence), int32(length))

    def checkpoint(self, sequence: int = 0, index: int = 0) -> None:
        """Remembers a sequence as it is now: rewind to the present length will be exact."""
        with self._use() as pointer:
            function.slm_sequence_checkpoint(pointer, int32(sequence), int32(index))

    # ---- Evaluation ----

    def eval_spans(
        self,
        spans: Sequence[Span],
        *,
        deadline: Optional[float] = None,
        cancel: Optional[Cancel] = None,
        progress: Optional[Progress] = None,
    ) -> int:
        """Runs the model over spans of several sequences and returns how many rows of logits there
        are, numbered in the order of spans and tokens wanted.

        deadline   seconds this may take; then SlmDeadlineError
        progress   called as progress(done, total) after every batch, in tokens. To stop, raise, or
                   return something true

        Tokens are committed batch by batch. Whatever ends the call, the spans' n_done say how far it
        came, and calling again with the rest gives what one call would have given.
        """
        watch = Watch(progress, cancel)
        opts = watch.fill(options("eval", deadline_ns=deadline_ns(deadline)))
        table = (struct.slm_span * len(spans))()
        arrays = [to_tokens(span.tokens) for span in spans]
        for row, span, tokens in zip(table, spans, arrays):
            row.fill(
                sequence=span.sequence,
                position=span.position,
                n_tokens=len(tokens),
                tokens=token_address(tokens),
                want=pick("want", _WANTS, span.want),
            )

        def call() -> None:
            try:
                with self._use() as pointer:
                    size = ctypes.sizeof(struct.slm_span)
                    function.slm_eval(pointer, table, len(arrays), size, ctypes.byref(opts))
            finally:
                for row, span in zip(table, spans):
                    span.n_done = row.n_done

        watch.run(call)
        return sum({"none": 0, "last": int(len(a) > 0), "all": len(a)}[s.want] for s, a in zip(spans, arrays))

    def eval(
        self,
        tokens: Sequence[int],
        *,
        sequence: int = 0,
        position: int = -1,
        want: str = "last",
        deadline: Optional[float] = None,
        cancel: Optional[Cancel] = None,
        progress: Optional[Progress] = None,
    ) -> int:
        """eval_spans of one span."""
        span = Span(tokens, sequence, position, want)
        return self.eval_spans([span], deadline=deadline, cancel=cancel, progress=progress)

    def logits(self, index: int = -1) -> memoryview:
        """A row of the logits of the last eval, float32 [n_vocab]; -1 is the last one.

        It is slm's memory, without a copy: the next eval or generation writes it anew. It stays there
        as long as somebody has the view, also when the context is closed."""
        owner = self._owned()
        row = ctypes.c_void_p()
        n_vocab = ctypes.c_int32()
        with self._use(only_looks=True) as pointer:
            out = ctypes.byref(row), ctypes.byref(n_vocab)
            function.slm_logits(pointer, int32(index), *out)
            assert row.value is not None
            floats = (ctypes.c_float * n_vocab.value).from_address(row.value)
            floats._keep = owner  # type: ignore[attr-defined]
        return memoryview(floats).cast("B").cast("f").toreadonly()

    # ---- Embeddings ----

    def embed(
        self,
        texts: Sequence[Union[Text, Sequence[int]]],
        *,
        pooling: Optional[str] = None,
        normalize: bool = True,
        deadline: Optional[float] = None,
        cancel: Optional[Cancel] = None,
        progress: Optional[Progress] = None,
    ) -> Rows:
        """Embeddings of texts, given as text or as tokens: float32, a row a text, with pooling "none" a
        row a token, one behind the other.

        pooling     "none", "mean", "cls", "last", "rank"; None: what the model's file says
        normalize   bring rows to Euclidean length 1
        """
        if isinstance(texts, (str, bytes)):
            raise TypeError("embed() takes a list of texts")
        watch = Watch(progress, cancel)
        opts = watch.fill(
            options(
                "embed",
                pooling=pick("pooling", _POOLINGS, pooling),
                normalize=C.NORMALIZE_EUCLIDEAN if normalize else C.NORMALIZE_NONE,
                deadline_ns=deadline_ns(deadline),
            )
        )
        arrays = [to_tokens(self.model.tokenize(t) if isinstance(t, (str, bytes)) else t) for t in texts]
        table = (struct.slm_embed_text * len(arrays))()
        for row, tokens in zip(table, arrays):
            row.fill(n_tokens=len(tokens), tokens=token_address(tokens))
        size = ctypes.sizeof(struct.slm_embed_text)
        needed = ctypes.c_size_t()
        found: List[Any] = []

        def call() -> None:
            with self._use() as pointer:
                head = pointer, table, len(arrays), size, ctypes.byref(opts)
                function.slm_embed(*head, None, 0, ctypes.byref(needed))
                found.append((ctypes.c_float * needed.value)())
                function.slm_embed(*head, found[0], needed.value, ctypes.byref(needed))

        watch.run(call)
        is_rank = opts.pooling == C.POOLING_RANK or (
            opts.pooling == C.AUTO and self.model.info.pooling == C.POOLING_RANK
        )
        width = self.model.info.n_outputs if is_rank else self.model.info.n_embd_out
        return Rows(memoryview(found[0]).cast("B").cast("f"), width)

    # ---- Generation ----

    def generate(
        self,
        prompt: Union[Text, Sequence[int]],
        *,
        sequence: int = 0,
        sampler: Optional[Sampler] = None,
        max_tokens: Optional[int] = None,
        stops: Sequence[Text] = (),
        bos: bool = True,
        special: bool = False,
        special_pieces: bool = False,
        heal: bool = False,
        step_seconds: Optional[float] = None,
        progress: Optional[Progress] = None,
    ) -> Generation:
        """Continues a sequence with a prompt: an iterator of pieces of text, computed as they are asked
        for. See Generation.

        prompt          text, or tokens
        sampler         None is greedy
        max_tokens      None: until the context is full
        stops           up to 16 strings that end the text and are no part of it
        bos             the start token in front, if the sequence is empty
        special         special tokens in the prompt become tokens: never for text from a user
        special_pieces  give the text of control tokens that the model says, too
        heal            token healing, for prompts that end inside a token
        step_seconds    the most that one step may take; then SlmDeadlineError, and next() goes on
        progress        called as progress(done, total) during the prompt, in tokens
        """
        return Generation(
            self,
            prompt,
            sequence=sequence,
            sampler=sampler,
            stops=stops,
            progress=progress,
            flags=text_flags(bos, special),
            max_tokens=max_tokens,
            special_pieces=int(special_pieces),
            heal=int(heal),
            step_ns=None if step_seconds is None else span_ns(step_seconds),
        )
