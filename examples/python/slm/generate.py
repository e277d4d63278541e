"""Prompt in, pieces of text out."""
from __future__ import annotations

import ctypes
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, List, Optional, Sequence, Tuple, Union

from ._call import Progress, Watch, own, span_ns
from ._convert import Text, int32, read_info, text_flags, to_bytes, to_tokens, token_address
from ._ffi import C, address, function, options, read_bytes, struct
from ._handle import Handle, use
from .errors import SlmCancelledError
from .sampler import Sampler

if TYPE_CHECKING:
    from .context import Context

_REASONS = {C.END_TOKEN: "token", C.END_STOP: "stop", C.END_LIMIT: "limit", C.END_FULL: "full"}


@dataclass(frozen=True)
class GenerateStats:
    """struct slm_generate_stats: tokens, and times in nanoseconds."""

    n_prompt: int
    n_prompt_done: int
    n_generated: int
    prompt_ns: int
    generate_ns: int
    first_token_ns: int
    n_reasoning: int
    n_answer: int
    n_tool_calls: int
    n_forced: int


class Generation(Handle):
    """What Context.generate gives: an iterator of str, whole characters only.

    >>> with context.generate("Once upon a time", max_tokens=50) as generation:
    ...     for piece in generation:
    ...         print(piece, end="", flush=True)

    Leaving the loop and closing it ends the generation; the sequence keeps the prompt and every token
    chosen so far. After SlmCancelledError, SlmDeadlineError and Ctrl-C, next() goes on where it was.

    tokens   those chosen so far of which a piece told, as a list of int: those without text and the
             end token, too
    reason   why it ended: "token" (the model's own end), "stop", "limit" or "full"; None before
    """

    _what = "generation"

    def __init__(
        self,
        context: Context,
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
        chat_output: Optional[Handle] = None,
        reasoning_budget: Optional[int] = None,
    ) -> None:
        self.reason: Optional[str] = None
        self.tokens: List[int] = []
        self._started = False
        self._watch = watch = Watch(progress)
        if isinstance(stops, (str, bytes)):
            raise TypeError("stops is a list of strings")
        endings = [to_bytes(stop) for stop in stops]
        if any(b"\0" in ending for ending in endings):
            raise ValueError("embedded null byte in a stop string")
        places = (ctypes.c_void_p * len(endings))(*[address(ending) for ending in endings])
        text = to_bytes(prompt) if isinstance(prompt, (str, bytes)) else None
        tokens = to_tokens(() if isinstance(prompt, (str, bytes)) else prompt)
        opts = options(
            "generate",
            flags=text_flags(bos, special),
            max_tokens=max_tokens,
            n_stops=len(endings),
            stops=address(places),
            prompt_tokens=token_address(tokens),
            n_prompt_tokens=len(tokens),
            special_pieces=int(special_pieces or chat_output is not None),
            heal=int(heal),
            step_ns=None if step_seconds is None else span_ns(step_seconds),
            reasoning_budget=reasoning_budget,
        )
        watch.fill(opts)
        out = ctypes.c_void_p()
        with context._use() as pointer, use(sampler) as chooser, use(chat_output) as output:
            opts.chat_output = output
            head = ctypes.byref(out), pointer, int32(sequence), chooser

            def call() -> None:
                function.slm_generate_begin(*head, text, len(text or b""), ctypes.byref(opts))

            keep = (watch, context._cell.keep)
            own(self, out, watch, call, function.slm_generate_end, keep, context._gate, is_long=False)

    def _next_piece(self) -> Tuple[int, str]:
        """Kind and text of an slm_piece."""
        piece = struct.slm_piece()
        with self._use() as pointer:
            try:
                self._watch.run(
                    lambda: function.slm_generate_next(pointer, ctypes.byref(piece)),
                    is_long=not self._started,
                )
            except SlmCancelledError:
                self._watch.cancel.clear()
                raise
            self._started = True
            text = read_bytes(piece.text, piece.size).decode("utf-8")
            self.tokens.extend(array("i", read_bytes(piece.tokens, 4 * piece.n_tokens)))
        if piece.kind == C.PIECE_END:
            self.reason = _REASONS.get(piece.reason)
        return piece.kind, text

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        kind, text = self._next_piece()
        if kind == C.PIECE_END:
            raise StopIteration
        return text

    def cancel(self) -> None:
        """Stops the step that runs now, or else the next one, with SlmCancelledError. Any thread."""
        self._watch.cancel.set()

    def close(self) -> None:
        """Ends the generation; a step that runs in another thread is cancelled."""
        if not self.closed:
            super().close()
            self._watch.cancel.set()

    @property
    def stats(self) -> GenerateStats:
        stats = struct.slm_generate_stats()
        with self._use(only_looks=True) as pointer:
            function.slm_generate_get_stats(pointer, ctypes.byref(stats))
        return read_info(GenerateStats, stats)
