"""Objects of slm: closed once, freed when the last call on them returns, safe to use afterwards."""
from __future__ import annotations

import threading
import weakref
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import Any, Callable, ContextManager, Iterator, Optional, Tuple, Type, TypeVar

from ._ffi import C
from .errors import SlmBusyError, SlmClosedError

Self = TypeVar("Self", bound="Handle")


class _Cell:
    """A pointer, how many calls use it, and what must outlive it. Close and the last call to return
    free it: slm wants no call running then, and Python threads can close what others use."""

    def __init__(self, pointer: int, free: Callable[[int], None], keep: Tuple[Any, ...]) -> None:
        self.pointer = pointer
        self.free = free
        self.keep = keep
        self.users = 0
        self.closed = False
        self.lock = threading.Lock()

    def enter(self, what: str) -> int:
        with self.lock:
            if self.closed:
                raise SlmClosedError(C.E_ARGUMENT, f"the {what} is closed")
            self.users += 1
            return self.pointer

    def leave(self) -> None:
        with self.lock:
            self.users -= 1
            gone = self.closed and self.users == 0
        if gone:
            self._destroy()

    def close(self) -> None:
        with self.lock:
            gone = not self.closed and self.users == 0
            self.closed = True
        if gone:
            self._destroy()

    def _destroy(self) -> None:
        self.free(self.pointer)
        self.keep = ()


class _Pass:
    """Stands for a call that is under way."""

    __slots__ = ("thread", "__weakref__")

    def __init__(self) -> None:
        self.thread = threading.get_ident()


class Gate:
    """Lets one thread in at a time, and refuses the others: what slm answers with SLM_E_BUSY, but held
    until the results of the call, which the next one overwrites, are copied.

    Ctrl-C may come between any two steps of Python, also before what should open the gate again. So it
    is shut only as long as the call's pass exists, which goes with the call's frame."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: Optional[weakref.ref[_Pass]] = None

    def _enter(self, my_pass: _Pass) -> Optional[int]:
        """None, or the thread that is inside already."""
        with self._lock:
            inside = self._inside() if self._inside is not None else None
            if inside is None:
                self._inside = weakref.ref(my_pass)
                return None
            return inside.thread

    @contextmanager
    def passed(self, what: str, only_looks: bool = False) -> Iterator[None]:
        my_pass = _Pass()
        try:
            thread = self._enter(my_pass)
            is_callback = only_looks and thread == my_pass.thread
            if thread is not None and not is_callback:
                raise SlmBusyError(C.E_BUSY, f"the {what} is in use by another call")
            yield
        finally:
            if self._inside is not None and self._inside() is my_pass:
                self._inside = None


class Handle:
    """What Model, Context and all other objects of slm have: close(), `with`, and the garbage
    collector as the last resort. Objects may be closed in any order and more than once."""

    _what = "object"

    def _own(
        self,
        pointer: int,
        free: Callable[[int], None],
        keep: Tuple[Any, ...] = (),
        gate: Optional[Gate] = None,
    ) -> None:
        """Takes the caller's reference. keep is held until slm has freed the object; gate is None where
        any number of threads may use it."""
        self._cell = _Cell(pointer, free, keep)
        self._gate = gate
        finalizer = weakref.finalize(self, self._cell.close)
        finalizer.atexit = False  # the process takes everything with it; other threads may still compute

    @contextmanager
    def _use(self, only_looks: bool = False) -> Iterator[int]:
        """The pointer, for one call and the copying of what it gives."""
        pointer = self._cell.enter(self._what)
        try:
            if self._gate is None:
                yield pointer
            else:
                with self._gate.passed(self._what, only_looks):
                    yield pointer
        finally:
            self._cell.leave()

    @property
    def closed(self) -> bool:
        return self._cell.closed

    def close(self) -> None:
        """Gives the object back. Memory goes when everything that uses it is closed, too."""
        self._cell.close()

    def __enter__(self: Self) -> Self:
        if self.closed:
            raise SlmClosedError(C.E_ARGUMENT, f"the {self._what} is closed")
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<slm.{type(self).__name__}{' closed' if self.closed else ''} at {id(self):#x}>"


def use(handle: Optional[Handle]) -> ContextManager[Optional[int]]:
    """handle._use(), or NULL."""
    return nullcontext() if handle is None else handle._use()


class Hold:
    """Keeps an object of slm from being freed as long as somebody looks at its memory."""

    def __init__(self, handle: Handle) -> None:
        handle._cell.enter(handle._what)
        weakref.finalize(self, handle._cell.leave).atexit = False
