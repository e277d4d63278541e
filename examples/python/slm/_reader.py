"""Files that slm reads through Python."""
from __future__ import annotations

import ctypes
import io
from typing import Any, Callable, List, Optional, Sequence, Tuple

from ._call import ask

Reader = Callable[[int, int, int], Any]


def sized_reader(reader: Any, sizes: Optional[Sequence[int]]) -> Tuple[Reader, List[int]]:
    """A function (file, offset, size) -> bytes and the sizes of the files, from what Model() takes."""
    if callable(reader):
        if sizes is None:
            raise TypeError("a function that reads needs sizes")
        return reader, list(sizes)
    if sizes is not None:
        raise TypeError("sizes are for functions: files tell theirs")
    files = list(reader) if isinstance(reader, (list, tuple)) else [reader]

    def read(file: int, offset: int, size: int) -> Any:
        files[file].seek(offset)
        return files[file].read(size)

    return read, [file.seek(0, io.SEEK_END) for file in files]


def read_callback(read: Reader) -> Callable[[Optional[int], int, int, int, int], int]:
    """As slm_read_fn. Python's part fills memory of its own: if the call is cancelled, nobody waits for
    it, and the buffer goes."""

    def read_all(file: int, offset: int, size: int) -> bytearray:
        data = bytearray()
        while len(data) < size:
            part = memoryview(read(file, offset + len(data), size - len(data))).cast("B")
            if len(part) > size - len(data):
                raise ValueError(f"{len(part)} bytes were read in place of {size - len(data)}")
            if len(part) == 0:
                break
            data += part
        return data

    def on_read(user: Optional[int], file: int, offset: int, buffer: int, size: int) -> int:
        data = ask(lambda: read_all(file, offset, size), None)
        if data is None:
            return -1
        ctypes.memmove(buffer, (ctypes.c_char * len(data)).from_buffer(data), len(data))
        return len(data)

    return on_read
