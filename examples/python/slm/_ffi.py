"""slm.h as ctypes sees it: structs, functions and constants, all made from the table in _layout.py.

Every pointer is a c_void_p here: strings of slm have a size and no 0 at their end, and ctypes would
read beyond them. `function.slm_x(...)` raises what the status says; `C.E_FORMAT` is SLM_E_FORMAT.
"""
from __future__ import annotations

import ctypes
import os
import sys
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Tuple

from ._layout import LAYOUT
from .errors import SlmArgumentError, raise_status

SCALARS: Dict[str, Any] = {
    "void": None,
    "char": ctypes.c_char,
    "uint8_t": ctypes.c_uint8,
    "int": ctypes.c_int,
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
}


class Struct(ctypes.Structure):
    """A struct of slm.h; struct_size, where it has one, is set."""

    def __init__(self, **values: Any) -> None:
        super().__init__()
        if self._fields_[0][0] == "struct_size":
            self.struct_size = ctypes.sizeof(self)
        self.fill(**values)

    def fill(self, **values: Any) -> None:
        """Sets fields. ctypes would cut a number that does not fit to its low bits: here it is an
        SlmArgumentError."""
        for name, value in values.items():
            try:
                setattr(self, name, value)
            except TypeError:
                raise SlmArgumentError(C.E_ARGUMENT, f"{name} cannot be {value!r}") from None
            stored = getattr(self, name)
            if isinstance(stored, int) and stored != value:
                raise SlmArgumentError(C.E_ARGUMENT, f"{name} cannot be {value}: out of range")


def _type_of(name: str) -> Any:
    """int64_t[4], const_char* and so on as ctypes has it."""
    if name.endswith("]"):
        element, count = name[:-1].split("[")
        return SCALARS[element] * int(count)
    return SCALARS.get(name, ctypes.c_void_p)


def _parse() -> Tuple[SimpleNamespace, SimpleNamespace, Dict[str, List[str]], SimpleNamespace]:
    constants: Dict[str, int] = {}
    structs: Dict[str, List[Tuple[str, Any]]] = {}
    functions: Dict[str, List[str]] = {}
    callbacks: Dict[str, Any] = {}
    for line in LAYOUT.splitlines():
        kind, name, *rest = line.split()
        if kind == "const":
            constants[name[len("SLM_") :]] = int(rest[0])
        elif kind == "struct":
            structs[name] = []
        elif kind == "field":
            struct, field = name.split(".")
            structs[struct].append((field, _type_of(rest[2])))
        elif kind == "function":
            functions[name] = rest[1:]
        elif kind == "callback":
            callbacks[name] = ctypes.CFUNCTYPE(*[_type_of(word) for word in rest[1:]])
    classes = {name: type(name, (Struct,), {"_fields_": fields}) for name, fields in structs.items()}
    return SimpleNamespace(**constants), SimpleNamespace(**classes), functions, SimpleNamespace(**callbacks)


C, struct, functions, callback = _parse()


def library_path() -> str:
    """$SLM_LIBRARY, or the library that was built into this package."""
    name = {"darwin": "libslm.dylib", "win32": "slm.dll"}.get(sys.platform, "libslm.so")
    return os.environ.get("SLM_LIBRARY") or os.path.join(os.path.dirname(os.path.abspath(__file__)), name)


def _checked(name: str, entry: Any) -> Any:
    """A function whose last parameter is slm_error *, called without it."""

    def call(*arguments: Any) -> None:
        error = struct.slm_error()
        status = entry(*arguments, ctypes.byref(error))
        if status != C.OK:
            raise_status(status, error.message.decode("utf-8", "replace"), error.position)

    call.__name__ = name
    return call


def _bind() -> SimpleNamespace:
    path = library_path()
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise ImportError(
            f"{path} cannot be loaded ({error}): install the package with pip, or let SLM_LIBRARY name libslm"
        ) from error
    bound = {}
    for name, (result, *parameters) in functions.items():
        entry = getattr(library, name)
        entry.restype = ctypes.c_char_p if result == "const_char*" else _type_of(result)
        entry.argtypes = [_type_of(word) for word in parameters]
        has_error = parameters[-1:] == ["slm_error*"]
        bound[name] = _checked(name, entry) if has_error else entry
    return SimpleNamespace(**bound)


function = _bind()


def options(name: str, **values: Any) -> Any:
    """struct slm_NAME_options with its defaults, then values; None leaves the default."""
    made = getattr(struct, f"slm_{name}_options")()
    getattr(function, f"slm_{name}_options_init")(ctypes.byref(made), ctypes.sizeof(made))
    made.fill(**{field: value for field, value in values.items() if value is not None})
    return made


def address(data: Any) -> Optional[int]:
    """Where bytes or a ctypes object lie, for a field; whoever sets it keeps the object."""
    if data is None:
        return None
    if isinstance(data, bytes):
        return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
    return ctypes.addressof(data)


def function_address(made: Any) -> Optional[int]:
    """The code of a callback object, for a field; whoever sets it keeps the object."""
    return ctypes.cast(made, ctypes.c_void_p).value


def read_bytes(pointer: Optional[int], size: int) -> bytes:
    return ctypes.string_at(pointer, size) if pointer and size else b""


def read_string(pointer: Optional[int]) -> str:
    """A 0-terminated string; "" for NULL."""
    return ctypes.string_at(pointer).decode("utf-8", "replace") if pointer else ""
