"""Objects of slm: freed when neither their handle nor a call needs them, safe to use afterwards.

Ctrl-C may come between any two steps of Python in the main thread, and the collector may close
anything anywhere. So nothing here is counted or has to be undone: an object, and the way into it, is
held by a reference, and goes with it.
"""
from __future__ import annotations

import ctypes
import threading
import weakref
from contextlib import contextmanager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any, Callable, ContextManager, Iterator, Optional, Tuple, Type, TypeVar

from ._ffi import C
from .errors import SlmBusyError, SlmClosedError

Self = TypeVar("Self", bound="Handle")


class Owner:
    """An object of slm, put in `out` by the call that makes it, and what must outlive it. It is freed
    when the last reference goes: its handle's until that is closed, those of calls, those of views.

    __del__ is a slot, for it has to be a call of C alone: of a method, Ctrl-C could lose the rest."""

    __slots__ = ("out", "keep", "gate", "__del__")

    def __init__(
        self, free: Callable[[Any], None], keep: Tuple[Any, ...] = (), gate: Optional[Gate] = None
    ) -> None:
        self.out = ctypes.c_void_p()
        self.keep = keep
        self.gate = gate
        self.__del__ = partial(free, self.out)

    @property
    def pointer(self) -> int:
        assert self.out.value is not None
        return self.out.value


class Caller(threading.local):
    """Whom the calls of this thread are made for: a thread of its own makes those of the main one, and
    meanwhile may be waiting for a callback there. See _call.py."""

    ident: Optional[int] = None
    is_waiting: Callable[[], bool] = bool  # False


caller = Caller()


class _Pass:
    """Stands for a call that is under way."""

    __slots__ = ("runner", "caller", "is_waiting", "__weakref__")

    def __init__(self) -> None:
        self.runner = threading.get_ident()
        self.caller = self.runner if caller.ident is None else caller.ident
        self.is_waiting = caller.is_waiting


class Gate:
    """Lets one thread in at a time, and refuses the others: what slm answers with SLM_E_BUSY, but held
    until the results of the call, which the next one overwrites, are copied.

    It is shut as long as the call's pass exists. Whoever made the call may come in again, alone or
    through a thread that works for it: that is from a callback, where slm refuses what cannot be, or
    after a call that Ctrl-C ended somewhere. For whom another thread makes a call may look while it
    answers a callback."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may come in between
        self._inside: Optional[weakref.ref[_Pass]] = None

    def enter(self, mine: _Pass, only_looks: bool) -> bool:
        with self._lock:
            inside = self._inside() if self._inside is not None else None
            if inside is None:
                self._inside = weakref.ref(mine)
                return True
        if inside.runner == mine.caller:
            return True
        return only_looks and inside.caller == mine.caller and inside.is_waiting()

    def leave(self, mine: _Pass) -> None:
        with self._lock:
            if self._inside is not None and self._inside() is mine:
                self._inside = None


class Handle:
    """What Model, Context and all other objects of slm have: close(), `with`, and the garbage
    collector as the last resort. Objects may be closed in any order and more than once."""

    _what = "object"
    _owner: Optional[Owner] = None

    def _owned(self) -> Owner:
        owner = self._owner
        if owner is None:
            raise SlmClosedError(C.E_ARGUMENT, f"the {self._what} is closed")
        return owner

    @contextmanager
    def _use(self, only_looks: bool = False) -> Iterator[int]:
        """The pointer, for one call and the copying of what it gives."""
        owner = self._owned()
        gate = owner.gate
        mine: Optional[_Pass] = None
        try:
            if gate is not None:
                mine = _Pass()
                if not gate.enter(mine, only_looks):
                    raise SlmBusyError(C.E_BUSY, f"the {self._what} is in use by another call")
            yield owner.pointer
        finally:
            if gate is not None and mine is not None:
                gate.leave(mine)
            del owner, mine  # a traceback would keep them

    @property
    def closed(self) -> bool:
        return self._owner is None

    def close(self) -> None:
        """Gives the object back. Memory goes when everything that uses it is closed, too."""
        self._owner = None

    def __enter__(self: Self) -> Self:
        self._owned()
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
