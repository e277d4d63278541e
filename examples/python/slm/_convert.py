"""Python's values as slm takes them, and back."""
from __future__ import annotations

import ctypes
from array import array
from dataclasses import fields
from typing import Any, Callable, Dict, List, Optional, Sequence, Type, TypeVar, Union

from ._ffi import C, read_string
from .errors import SlmError

Text = Union[str, bytes]
Row = TypeVar("Row")


def read_info(kind: Type[Row], values: Any) -> Row:
    """A dataclass from the fields of the same name; those that are str point to strings."""
    made: Dict[str, Any] = {}
    for field in fields(kind):
        value = getattr(values, field.name)
        made[field.name] = read_string(value) if str(field.type) == "str" else value
    return kind(**made)


def to_bytes(text: Text) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else bytes(memoryview(text))


def to_tokens(tokens: Sequence[int]) -> "array[int]":
    """int32, as slm takes them. OverflowError or TypeError for what is none."""
    return tokens if isinstance(tokens, array) and tokens.typecode == "i" else array("i", tokens)


def token_address(tokens: "array[int]") -> Optional[int]:
    return tokens.buffer_info()[0] if tokens else None


def int32(value: int) -> int:
    """ctypes would cut it."""
    if not -(1 << 31) <= value < 1 << 31:
        raise OverflowError(f"{value} does not fit 32 bits")
    return value


def text_flags(bos: bool, special: bool) -> int:
    return int((C.TEXT_BOS if bos else 0) | (C.TEXT_SPECIAL if special else 0))


def fill_tokens(call: Callable[..., None], guess: int, *head: Any) -> List[int]:
    """The tokens of a function that takes (..., tokens, capacity, *needed): with room for as many as
    guess says, and then for as many as it takes."""
    needed = ctypes.c_size_t()
    tokens = array("i", bytes(4 * guess))
    try:
        call(*head, tokens.buffer_info()[0], guess, ctypes.byref(needed))
    except SlmError as error:
        if error.status != C.E_SPACE:
            raise
        tokens = array("i", bytes(4 * needed.value))
        call(*head, tokens.buffer_info()[0], needed.value, ctypes.byref(needed))
    return tokens[: needed.value].tolist()


class Pinned:
    """The memory of a bytes-like object, which stands still until this is gone."""

    class _Buffer(ctypes.Structure):  # Py_buffer of the C API
        _fields_ = [
            ("buf", ctypes.c_void_p),
            ("obj", ctypes.py_object),
            ("len", ctypes.c_ssize_t),
            ("itemsize", ctypes.c_ssize_t),
            ("readonly", ctypes.c_int),
            ("ndim", ctypes.c_int),
            ("format", ctypes.c_void_p),
            ("shape", ctypes.c_void_p),
            ("strides", ctypes.c_void_p),
            ("suboffsets", ctypes.c_void_p),
            ("internal", ctypes.c_void_p),
        ]

    def __init__(self, data: Any) -> None:
        self._view: Optional[Pinned._Buffer] = None
        view = self._Buffer()
        ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(data), ctypes.byref(view), 0)
        self._view = view
        self.address: Optional[int] = view.buf
        self.size: int = view.len
        self._release = ctypes.pythonapi.PyBuffer_Release

    def __del__(self) -> None:
        if self._view is not None:
            self._release(ctypes.byref(self._view))
