"""Prompt in, pieces of text out."""
from __future__ import annotations

import ctypes
from array import array
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Deque, Iterator, List, Optional, Sequence, Tuple, Union

from ._call import Progress, Watch
from ._convert import Text, int32, read_info, to_bytes, to_tokens, token_address
from ._ffi import C, address, function, options, read_bytes, struct
from ._handle import Handle, Owner, use
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

    Its end closes it, and so does leaving the loop and close(): the sequence, which until then is the
    generation's alone, keeps the prompt and every token chosen so far. After SlmCancelledError,
    SlmDeadlineError and Ctrl-C, next() goes on where it was, and no text is lost.

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
        sequence: int,
        sampler: Optional[Sampler],
        stops: Sequence[Text],
        progress: Optional[Progress],
        chat_output: Optional[Handle] = None,
        **values: Any,
    ) -> None:
        """values are fields of slm_generate_options, None for their defaults."""
        self.reason: Optional[str] = None
        self.tokens: List[int] = []
        self._stats: Optional[GenerateStats] = None  # once it has ended
        self._pieces: Deque[Tuple[int, str]] = deque()  # not handed out yet: Ctrl-C came in between
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
            n_stops=len(endings),
            stops=address(places),
            prompt_tokens=token_address(tokens),
            n_prompt_tokens=len(tokens),
            **values,
        )
        watch.fill(opts)
        its_context = context._owned()
        owner = Owner(function.slm_generate_end, (watch, its_context.keep), its_context.gate)
        head = ctypes.byref(owner.out), its_context.pointer, int32(sequence)
        with context._use(), use(sampler) as chooser, use(chat_output) as output:
            opts.chat_output = output
            function.slm_generate_begin(*head, chooser, text, len(text or b""), ctypes.byref(opts))
        self._owner = owner

    def _advance(self) -> None:
        """A step of slm, unless the last one's piece is here still. To be run by self._watch."""
        if self._pieces:
            return
        piece = struct.slm_piece()
        with self._use() as pointer:
            try:
                function.slm_generate_next(pointer, ctypes.byref(piece))
            except SlmCancelledError:
                self._watch.cancel.clear()
                raise
            text = read_bytes(piece.text, piece.size).decode("utf-8")
            self.tokens.extend(array("i", read_bytes(piece.tokens, 4 * piece.n_tokens)))
            if piece.kind == C.PIECE_END:
                self._stats = self._read_stats(pointer)
        self._pieces.append((piece.kind, text))
        if piece.kind == C.PIECE_END:
            self.reason = _REASONS[piece.reason]
            self._owner = None  # others may have the sequence

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.reason is None:
            self._owned()
        if not self._pieces:
            self._watch.run(self._advance)
        kind, text = self._pieces[0]
        if kind == C.PIECE_END:
            raise StopIteration
        del self._pieces[0]  # and no call before the return: it would let Ctrl-C in
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
        if self._stats is not None:
            return self._stats
        with self._use(only_looks=True) as pointer:
            return self._read_stats(pointer)

    @staticmethod
    def _read_stats(pointer: int) -> GenerateStats:
        stats = struct.slm_generate_stats()
        function.slm_generate_get_stats(pointer, ctypes.byref(stats))
        return read_info(GenerateStats, stats)
