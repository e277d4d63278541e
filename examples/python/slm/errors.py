"""What can go wrong, as exceptions."""
from __future__ import annotations

from typing import Any, Dict, NoReturn, Optional, Tuple, Type

from ._layout import LAYOUT

_NAMES: Dict[int, str] = {
    int(words[2]): words[1]
    for words in (line.split() for line in LAYOUT.splitlines() if line.startswith("const SLM_E_"))
}


class SlmError(Exception):
    """A call of slm failed.

    status    the negative code of slm.h
    name      its name, "SLM_E_FORMAT"
    message   one line: the tensor, key, byte, token or argument concerned
    position  byte offset in the file or JSON, line of the template, index of the token; or None
    """

    def __init__(self, status: int, message: str, position: Optional[int] = None) -> None:
        self.status = status
        self.name = _NAMES.get(status, "unknown status")
        self.message = message
        self.position = position
        super().__init__(f"{self.name}: {message}")

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), (self.status, self.message, self.position)


class SlmArgumentError(SlmError, ValueError):
    """SLM_E_ARGUMENT: a value out of range, a name that is none."""


class SlmClosedError(SlmArgumentError):
    """The object was closed before; slm was not called."""


class SlmMemoryError(SlmError, MemoryError):
    """SLM_E_MEMORY: there is no memory, or max_bytes was reached."""


class SlmIOError(SlmError, OSError):
    """SLM_E_IO: a file could not be opened or read."""


class SlmFormatError(SlmError):
    """SLM_E_FORMAT, SLM_E_MODEL: the file is damaged, or its parts don't agree."""


class SlmUnsupportedError(SlmError):
    """SLM_E_UNSUPPORTED: a family, encoding, tokenizer or version that slm doesn't know."""


class SlmFullError(SlmError):
    """SLM_E_FULL: the context has no room for these tokens."""


class SlmCancelledError(SlmError):
    """SLM_E_CANCELLED: somebody asked to stop. What was computed stays."""


class SlmDeadlineError(SlmError):
    """SLM_E_DEADLINE: the time is up. What was computed stays; call again to go on."""


class SlmBusyError(SlmError):
    """SLM_E_BUSY: another call is using the object."""


class SlmForkedError(SlmError):
    """SLM_E_FORKED: the object was made before os.fork()."""


class SlmTemplateError(SlmError):
    """SLM_E_TEMPLATE: a chat template is wrong, or refuses the conversation. position is a line."""


_CLASSES: Dict[str, Type[SlmError]] = {
    "SLM_E_ARGUMENT": SlmArgumentError,
    "SLM_E_MEMORY": SlmMemoryError,
    "SLM_E_IO": SlmIOError,
    "SLM_E_FORMAT": SlmFormatError,
    "SLM_E_MODEL": SlmFormatError,
    "SLM_E_UNSUPPORTED": SlmUnsupportedError,
    "SLM_E_FULL": SlmFullError,
    "SLM_E_CANCELLED": SlmCancelledError,
    "SLM_E_DEADLINE": SlmDeadlineError,
    "SLM_E_BUSY": SlmBusyError,
    "SLM_E_FORKED": SlmForkedError,
    "SLM_E_TEMPLATE": SlmTemplateError,
}


def raise_status(status: int, message: str, position: int) -> NoReturn:
    name = _NAMES.get(status, "")
    raise _CLASSES.get(name, SlmError)(status, message, None if position < 0 else position)
