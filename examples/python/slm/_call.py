"""Long calls: progress callbacks whose exceptions come out again, cancelling, and Ctrl-C."""
from __future__ import annotations

import ctypes
import queue
import threading
from typing import Any, Callable, List, Optional, Tuple

from ._ffi import C, callback, function, function_address
from ._handle import Gate, Handle
from .errors import SlmArgumentError, SlmError

Progress = Callable[[int, int], object]


class Cancel:
    """A flag that stops a call from any thread or signal handler: the call raises SlmCancelledError.

    >>> cancel = slm.Cancel()
    >>> threading.Timer(1.0, cancel.set).start()
    >>> context.eval(tokens, cancel=cancel)
    """

    def __init__(self) -> None:
        self._flag = ctypes.c_int32(0)

    def set(self) -> None:
        self._flag.value = 1

    def clear(self) -> None:
        self._flag.value = 0

    @property
    def is_set(self) -> bool:
        return self._flag.value != 0

    @property
    def _address(self) -> int:
        return ctypes.addressof(self._flag)


class Watch:
    """The callbacks of one object or call. What they raise stops the call, and run() raises it."""

    def __init__(
        self,
        progress: Optional[Progress] = None,
        cancel: Optional[Cancel] = None,
        log: Optional[Callable[[int, str], object]] = None,
    ) -> None:
        self.cancel = cancel or Cancel()
        self._progress = progress
        self._log = log
        self._raised: Optional[BaseException] = None
        self._ask: Optional[Callable[[int, int], object]] = None
        self._c_progress = callback.slm_progress_fn(self._on_progress)
        self._c_log = callback.slm_log_fn(self._on_log)

    def fill(self, options: Any) -> Any:
        """Sets the fields of options that every long call has. self must outlive their use."""
        options.cancel = self.cancel._address
        if self._progress is not None or self._log is not None:
            options.progress = function_address(self._c_progress)
        if self._log is not None:
            options.log = function_address(self._c_log)
        return options

    def _on_progress(self, user: Optional[int], done: int, total: int) -> int:
        try:
            if self._raised is not None or self._progress is None:
                return int(self._raised is not None)
            return int(bool((self._ask or self._progress)(done, total)))
        except BaseException as error:  # must not unwind through C
            self._raised = error
            return 1

    def _on_log(self, user: Optional[int], level: int, message: int) -> None:
        try:
            if self._log is not None:
                self._log(level, ctypes.string_at(message).decode("utf-8", "replace"))
        except BaseException as error:  # must not unwind through C
            self._raised = self._raised or error

    def run(self, call: Callable[[], object], is_long: bool = True) -> None:
        """call(), and then raises what a callback raised. Long calls answer Ctrl-C at once: the main
        thread, which alone gets signals, waits for another one to make the call."""
        failure: Optional[SlmError] = None
        try:
            if is_long and threading.current_thread() is threading.main_thread():
                self._run_aside(call)
            else:
                call()
        except SlmError as error:
            failure = error
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised
        if failure is not None:
            raise failure

    def _run_aside(self, call: Callable[[], object]) -> None:
        questions: queue.SimpleQueue[Any] = queue.SimpleQueue()
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        failure: List[BaseException] = []

        def ask(done: int, total: int) -> object:
            questions.put((done, total))
            while not self.cancel.is_set:
                try:
                    return answers.get(timeout=0.05)
                except queue.Empty:
                    pass
            return True

        def body() -> None:
            try:
                call()
            except BaseException as error:
                failure.append(error)
            questions.put(None)

        was_set = self.cancel.is_set
        self._ask = ask
        worker = threading.Thread(target=body, name="slm call", daemon=True)
        worker.start()
        while worker.is_alive():  # it must not outlive this call, whatever is raised here
            try:
                self._answer(questions, answers)
                worker.join()
            except BaseException as error:
                self._raised = self._raised or error
                self.cancel.set()
        self._ask = None
        if self._raised is not None and not was_set:
            self.cancel.clear()
        if failure:
            raise failure[0]

    def _answer(self, questions: queue.SimpleQueue[Any], answers: queue.SimpleQueue[Any]) -> None:
        """Runs progress callbacks here, where the caller is, until the call is through."""
        while True:
            question = questions.get()
            if question is None:
                return
            answers.put(self._progress is not None and bool(self._progress(*question)))


def own(
    handle: Handle,
    out: ctypes.c_void_p,
    watch: Watch,
    call: Callable[[], object],
    free: Callable[[int], None],
    keep: Tuple[Any, ...],
    gate: Optional[Gate] = None,
    is_long: bool = True,
) -> None:
    """Runs call, which makes an object in out, and gives it to the handle. If a callback raised, the
    object is freed again, however well the call went."""
    try:
        watch.run(call, is_long)
    except BaseException:
        if out.value is not None:
            free(out.value)
        raise
    assert out.value is not None
    handle._own(out.value, free, keep, gate)


def deadline_ns(seconds: Optional[float]) -> Optional[int]:
    """Seconds from now as a time of slm's clock."""
    if seconds is None:
        return None
    return min(int(function.slm_clock_ns()) + span_ns(seconds), int(C.NO_DEADLINE))


def span_ns(seconds: float) -> int:
    if not 0 <= seconds < 1e9:
        raise SlmArgumentError(C.E_ARGUMENT, f"a time of {seconds} seconds")
    return int(seconds * 1e9)
