"""Long calls: callbacks whose exceptions come out again, cancelling, and Ctrl-C."""
from __future__ import annotations

import _thread
import ctypes
import os
import queue
import threading
import traceback
from typing import Any, Callable, Dict, List, Optional, TypeVar

from ._ffi import C, callback, function, function_address
from ._handle import Handle, Owner, caller
from .errors import SlmArgumentError

Progress = Callable[[int, int], object]
Log = Callable[[int, str], object]
Answer = TypeVar("Answer")

_PATIENCE = 0.05 if os.name == "nt" else None  # seconds until Ctrl-C is seen: waiting on Windows is deaf


class Cancel:
    """A flag that stops a call from any thread or signal handler: the call raises SlmCancelledError.

    >>> cancel = slm.Cancel()
    >>> threading.Timer(1.0, cancel.set).start()
    >>> context.eval(tokens, cancel=cancel)
    """

    def __init__(self) -> None:
        self._is_set = False
        self._flags: Dict[int, ctypes.c_int32] = {}  # of the calls that run

    def set(self) -> None:
        self._is_set = True
        for flag in list(self._flags.values()):
            flag.value = 1

    def clear(self) -> None:
        self._is_set = False

    @property
    def is_set(self) -> bool:
        return self._is_set


class Job:
    """A call of slm that is under way, and what its callbacks raised. In the main thread, which alone
    gets signals, it answers Ctrl-C at once: another thread makes the call, and the main one waits.

    That thread has hold of all the call needs and keeps what it gives, so nothing is freed too early or
    lost wherever an exception takes the main thread."""

    def __init__(self, call: Callable[[], object], watch: Watch) -> None:
        self.call = call
        self.watch = watch
        self.caller = threading.get_ident()
        self.raised: Optional[BaseException] = None  # by a callback, or a signal handler
        self.failure: Optional[BaseException] = None  # by the call
        self._done: List[bool] = []  # something, once it is through
        self._claims: Dict[str, str] = {}  # "worker": it works; "caller": it never will
        self._is_started = False
        self._is_waiting = False
        self._questions: queue.SimpleQueue[Optional[Callable[[], object]]] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run(self) -> None:
        self.watch.rearm(self)
        if self.caller != threading.main_thread().ident:
            self._perform()
        else:
            self._attend_always()
        error = self.raised or self.failure
        if self.raised is not None and self.failure is not None:
            # What raised was called from these frames, so its traceback keeps them and their objects.
            traceback.clear_frames(self.failure.__traceback__)
        try:
            if error is not None:
                raise error
        finally:
            error = self.raised = self.failure = None  # a traceback has this frame

    def _claim(self, who: str) -> str:
        """Who came first, in one step of C: interrupted, the caller asks again and hears the same."""
        return self._claims.setdefault("by", who)

    # ---- The thread that makes the call ----

    def _perform(self) -> None:
        outer, _state.job = _state.job, self
        whom = caller.ident, caller.is_waiting
        caller.ident, caller.is_waiting = self.caller, lambda: self._is_waiting
        try:
            self.call()
        except BaseException as error:
            self.failure = error
        finally:
            del self.call  # a traceback of a callback would keep it, and what it uses
            self.watch.disarm(self)
            caller.ident, caller.is_waiting = whom
            _state.job = outer

    def ask(self, question: Callable[[], Answer], otherwise: Answer) -> Answer:
        """The callback's answer, from the thread that the call is made for; otherwise, if it raises."""
        if self.raised is not None:
            return otherwise
        if threading.get_ident() == self.caller:
            return self._answer(question, otherwise)
        self._is_waiting = True
        self._questions.put(lambda: self._answers.put((self._answer(question, otherwise),)))
        try:
            while self.watch.flag.value == 0:
                try:
                    (answer,) = self._answers.get(timeout=0.05)
                    return answer  # type: ignore[no-any-return]
                except queue.Empty:
                    pass
            return otherwise
        finally:
            self._is_waiting = False

    def _answer(self, question: Callable[[], Answer], otherwise: Answer) -> Answer:
        try:
            return question()
        except BaseException as error:  # must not unwind through C
            self.raised = self.raised or error
            self.watch.flag.value = 1
            return otherwise

    # ---- The main thread ----

    def _attend_always(self) -> None:
        """Until the call is through, whatever is raised here. An exception that comes while another one
        is being taken care of meets the outer loop."""
        while not self._done:
            try:
                while not self._done:
                    try:
                        self._attend()
                    except BaseException as error:
                        self._stop(error)
            except BaseException as error:
                self._stop(error)

    def _attend(self) -> None:
        if not self._is_started:
            self._is_started = True
            try:
                _thread.start_new_thread(_work, ([self],))
            except RuntimeError:  # the system gives none, or the interpreter is on its way out
                if self._claim("caller") != "caller":
                    raise
                try:
                    self._perform()
                finally:
                    self._done.append(True)
        while not self._done:
            try:
                question = self._questions.get(timeout=_PATIENCE)
            except queue.Empty:
                continue
            if question is not None:
                question()

    def _stop(self, error: BaseException) -> None:
        self.raised = self.raised or error
        if self._claim("caller") == "caller":
            self.watch.disarm(self)
            self._done.append(True)
        self.watch.flag.value = 1


def _work(box: List[Job]) -> None:
    """The thread of a job. When that is done it keeps nothing of it, for its caller may count on what
    goes with the last reference."""
    job = box.pop()
    done, questions = job._done, job._questions
    if job._claim("worker") == "worker":
        job._perform()
        del job
        done.append(True)
        questions.put(None)


class _State(threading.local):
    job: Optional[Job] = None  # what this thread is doing


_state = _State()


class Watch:
    """The callbacks of one object or call, for its options; must outlive their use."""

    def __init__(
        self,
        progress: Optional[Progress] = None,
        cancel: Optional[Cancel] = None,
        log: Optional[Log] = None,
    ) -> None:
        self.cancel = cancel or Cancel()
        self.flag = ctypes.c_int32(0)  # what slm polls: Ctrl-C stops this call, and no other one
        self._c_progress: Any = None
        self._c_log: Any = None
        if progress is not None or log is not None:
            self._c_progress = callback.slm_progress_fn(_progress_callback(progress))
        if log is not None:
            self._c_log = callback.slm_log_fn(_log_callback(log))

    def fill(self, options: Any) -> Any:
        """Sets the fields of options that every long call has."""
        options.cancel = ctypes.addressof(self.flag)
        if self._c_progress is not None:
            options.progress = function_address(self._c_progress)
        if self._c_log is not None:
            options.log = function_address(self._c_log)
        return options

    def rearm(self, job: Job) -> None:
        """Before a call: a Ctrl-C that came to nothing is forgotten, a Cancel that is set counts."""
        self.cancel._flags[id(job)] = self.flag
        self.flag.value = 0
        if self.cancel.is_set:
            self.flag.value = 1

    def disarm(self, job: Job) -> None:
        self.cancel._flags.pop(id(job), None)

    def run(self, call: Callable[[], object]) -> None:
        """call(), and then raises what a callback raised."""
        Job(call, self).run()


def ask(question: Callable[[], Answer], otherwise: Answer) -> Answer:
    """For callbacks: the answer of the thread that the call is made for, or otherwise if it raises."""
    return question() if _state.job is None else _state.job.ask(question, otherwise)


# What C calls knows of no Watch, for a reference in a circle would keep it until the collector comes.


def _progress_callback(progress: Optional[Progress]) -> Callable[[Optional[int], int, int], int]:
    def on_progress(user: Optional[int], done: int, total: int) -> int:
        return int(ask(lambda: progress is not None and bool(progress(done, total)), True))

    return on_progress


def _log_callback(log: Log) -> Callable[[Optional[int], int, int], None]:
    def on_log(user: Optional[int], level: int, message: int) -> None:
        line = ctypes.string_at(message).decode("utf-8", "replace")
        ask(lambda: log(level, line), None)

    return on_log


def own(handle: Handle, owner: Owner, watch: Watch, call: Callable[[], object]) -> None:
    """Runs call, which makes an object in owner.out, and gives it to the handle; unless a callback
    raised, however well the call went."""
    watch.run(call)
    handle._owner = owner


def deadline_ns(seconds: Optional[float]) -> Optional[int]:
    """Seconds from now as a time of slm's clock."""
    if seconds is None:
        return None
    return min(int(function.slm_clock_ns()) + span_ns(seconds), int(C.NO_DEADLINE))


def span_ns(seconds: float) -> int:
    if not 0 <= seconds < 1e9:
        raise SlmArgumentError(C.E_ARGUMENT, f"a time of {seconds} seconds")
    return int(seconds * 1e9)
