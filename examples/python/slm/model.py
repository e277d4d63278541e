"""Models: weights and vocabulary, text to tokens and back, metadata."""
from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, Iterator, List, Optional, Sequence, Tuple, Union

from ._call import Cancel, Progress, Watch, own
from ._convert import (
    Pinned,
    Text,
    fill_tokens,
    int32,
    read_info,
    text_flags,
    to_bytes,
    to_tokens,
    token_address,
)
from ._ffi import C, callback, function, function_address, options, read_bytes, read_string, struct
from ._handle import Handle, Owner
from ._reader import Reader, read_callback, sized_reader
from .errors import SlmError

Value = Union[int, float, bool, str, List[Any]]


@dataclass(frozen=True)
class ModelInfo:
    """struct slm_model_info: ids are -1 and numbers 0 where the file has none."""

    n_vocab: int
    n_ctx_train: int
    n_embd: int
    n_layer: int
    n_head: int
    n_kv_head: int
    head_dim: int
    n_ff: int
    bos_token: int
    eos_token: int
    eot_token: int
    unk_token: int
    pad_token: int
    add_bos: int
    add_eos: int
    n_metadata: int
    n_tensors: int
    file_type: int
    gguf_version: int
    family: str
    name: str
    tokenizer: str
    isa: str
    chat_template: str
    n_parameters: int
    weight_bytes: int
    mapped_bytes: int
    heap_bytes: int
    heap_peak_bytes: int
    cpu: int
    is_causal: int
    pooling: int
    n_embd_out: int
    n_outputs: int
    sep_token: int
    add_sep: int
    is_recurrent: int
    pre_status: int
    pre: str
    eom_token: int
    mask_token: int
    fim_pre_token: int
    fim_suf_token: int
    fim_mid_token: int
    fim_pad_token: int
    fim_rep_token: int
    fim_sep_token: int


@dataclass(frozen=True)
class TensorInfo:
    """struct slm_tensor_info; shape has the fastest-varying dimension first, offset and size are
    bytes."""

    name: str
    encoding: str
    shape: Tuple[int, ...]
    file: int
    offset: int
    size: int


@dataclass(frozen=True)
class TokenInfo:
    """What the vocabulary says of a token. text is as it is stored; kind one of the file's:
    1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; is_end: generation ends there."""

    id: int
    text: bytes
    kind: int
    score: float
    is_end: bool


@dataclass(frozen=True)
class Plan:
    """struct slm_plan: what a model and a context need, in bytes."""

    n_threads: int
    n_ctx: int
    n_pages: int
    model_mapped_bytes: int
    model_heap_bytes: int
    context_heap_bytes: int
    kv_bytes: int
    stack_bytes: int
    state_bytes: int


class Metadata(Mapping[str, Value]):
    """The keys of a GGUF file and their values, as int, float, bool, str or lists of these. Strings
    that are not UTF-8 have U+FFFD in place of the wrong bytes. Values are read when asked for."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def _entry(self, index: int, element: int = 0) -> Any:
        entry = struct.slm_metadata()
        with self._model._use() as pointer:
            function.slm_model_metadata(pointer, index, element, ctypes.byref(entry))
            text = read_bytes(entry.text, entry.text_size).decode("utf-8", "replace")
            key = read_bytes(entry.key, entry.key_size).decode("utf-8", "replace")
        return entry, key, text

    def _value(self, index: int, element: int = 0) -> Any:
        entry, _, text = self._entry(index, element)
        if entry.value_type == C.TYPE_STRING:
            return text
        if entry.value_type in (C.TYPE_FLOAT32, C.TYPE_FLOAT64):
            return entry.real
        if entry.value_type == C.TYPE_BOOL:
            return entry.integer != 0
        wraps = entry.value_type == C.TYPE_UINT64 and entry.integer < 0
        return entry.integer + (1 << 64 if wraps else 0)

    def __getitem__(self, key: str) -> Value:
        index = ctypes.c_int32()
        with self._model._use() as pointer:
            name = to_bytes(key)
            function.slm_model_metadata_find(pointer, name, len(name), ctypes.byref(index))
        if index.value < 0:
            raise KeyError(key)
        entry, _, _ = self._entry(index.value)
        if entry.is_array:
            return [self._value(index.value, i) for i in range(entry.count)]
        value: Value = self._value(index.value)
        return value

    def __iter__(self) -> Iterator[str]:
        for index in range(len(self)):
            yield self._entry(index)[1]

    def __len__(self) -> int:
        return self._model.info.n_metadata


class Decoder:
    """Text of tokens as they come, in whole characters: what Model.decoder gives.

    >>> decoder = model.decoder()
    >>> "".join(map(decoder.push, tokens)) + decoder.end()
    """

    def __init__(self, model: Model, flags: int) -> None:
        self._model = model
        self._flags = flags
        self._stream = struct.slm_text_stream()

    def push(self, token: int) -> str:
        """The text that one more token completes. Half of a character waits for the rest; bytes that
        can become none are U+FFFD."""
        return self._push(self._model.token(token).id)

    def end(self) -> str:
        """What is held back. The decoder can begin again."""
        text = self._push(-1)
        self._stream = struct.slm_text_stream()
        return text

    def _push(self, token: int) -> str:
        needed = ctypes.c_size_t(64)
        while True:
            stream, room = struct.slm_text_stream.from_buffer_copy(self._stream), needed.value
            text = ctypes.create_string_buffer(room)
            try:
                with self._model._use() as pointer:
                    function.slm_decode_token(
                        pointer, ctypes.byref(stream), token, self._flags, text, room, ctypes.byref(needed)
                    )
            except SlmError as error:
                if error.status != C.E_SPACE:
                    raise
                continue
            self._stream = stream
            return text.raw[: needed.value].decode("utf-8")


Opens = Callable[[Any, Any], Any]


def _from_path(path: Union[str, bytes, "os.PathLike[str]"]) -> Tuple[Opens, Any]:
    """What opens the model, given where to put it and its options; and what it will use."""
    name = os.fsencode(path) if os.name == "posix" else os.fspath(path)
    encoded = name.encode("utf-8") if isinstance(name, str) else name
    if b"\0" in encoded:
        raise ValueError("embedded null byte in the path")
    return lambda out, opts: function.slm_model_open(out, encoded, opts), None


def _from_memory(data: Sequence[Any]) -> Tuple[Opens, Any]:
    pins = [Pinned(part) for part in data]
    places = (ctypes.c_void_p * len(pins))(*[pin.address for pin in pins])
    sizes = (ctypes.c_size_t * len(pins))(*[pin.size for pin in pins])
    return lambda out, opts: function.slm_model_open_memory(out, places, sizes, len(pins), opts), pins


def _from_reader(read: Reader, sizes: Sequence[int]) -> Tuple[Opens, Any]:
    if not all(0 <= size < 1 << 63 for size in sizes):
        raise ValueError("the size of a file is out of range")
    table = (ctypes.c_uint64 * len(sizes))(*sizes)
    on_read = callback.slm_read_fn(read_callback(read))
    place, n = function_address(on_read), len(sizes)
    return lambda out, opts: function.slm_model_open_callback(out, place, None, table, n, opts), on_read


class Model(Handle):
    """Weights and vocabulary. Immutable: any number of threads may use one.

    path       of a GGUF file, the first one if it is split. It is mapped, and weights are read where
               they lie; see "Mapped files" in slm.h
    data       instead of a path: a bytes-like object that holds the file (bytes, mmap, memoryview),
               or a list of them if it is split. Used in place and kept; do not change it
    reader     instead of a path: a binary file object with seek() and read(), or a list of them if it is
               split; or a function reader(file, offset, size) -> bytes, and sizes, the bytes of each
               file. All is read before Model() returns, in the thread that calls it
    read       copy the weights into memory rather than map or use them in place
    metadata_only   no weights are read and no context can be made; the rest works
    check      look through all weights for NaN and infinity
    surplus    ignore tensors that the model's family has no place for
    progress   called as progress(done, total), in bytes. To stop, raise, or return something true
    log        called as log(level, message), level 1 for information and 2 for warnings; also by
               contexts of this model
    max_bytes  cap on the heap bytes of this model
    cpu        SLM_CPU_ bits that may be used, 0 for the reference kernels
    """

    _what = "model"

    def __init__(
        self,
        path: Optional[Union[str, bytes, "os.PathLike[str]"]] = None,
        *,
        data: Any = None,
        reader: Any = None,
        sizes: Optional[Sequence[int]] = None,
        read: bool = False,
        metadata_only: bool = False,
        check: bool = False,
        surplus: bool = False,
        progress: Optional[Progress] = None,
        log: Optional[Callable[[int, str], object]] = None,
        cancel: Optional[Cancel] = None,
        max_bytes: Optional[int] = None,
        cpu: Optional[int] = None,
    ) -> None:
        if [path, data, reader].count(None) != 2:
            raise TypeError("Model() takes a path, data or a reader")
        flags = (
            (read, C.LOAD_READ),
            (metadata_only, C.LOAD_METADATA),
            (check, C.LOAD_CHECK),
            (surplus, C.LOAD_SURPLUS),
        )
        watch = Watch(progress, cancel, log)
        opts = watch.fill(
            options("model", flags=sum(bit for on, bit in flags if on), max_bytes=max_bytes, cpu=cpu)
        )
        if path is not None:
            opens, keep = _from_path(path)
        elif data is not None:
            opens, keep = _from_memory(data if isinstance(data, (list, tuple)) else [data])
        else:
            opens, keep = _from_reader(*sized_reader(reader, sizes))
        owner = Owner(function.slm_model_free, (watch, keep))
        own(self, owner, watch, lambda: opens(ctypes.byref(owner.out), ctypes.byref(opts)))
        info = struct.slm_model_info()
        with self._use() as pointer:
            function.slm_model_get_info(pointer, ctypes.byref(info))
            self._info = read_info(ModelInfo, info)

    @property
    def info(self) -> ModelInfo:
        """What the file is, and memory as it was after loading."""
        return self._info

    @property
    def metadata(self) -> Metadata:
        return Metadata(self)

    def tokenize(self, text: Text, *, bos: bool = True, special: bool = False) -> List[int]:
        """Token ids of a text, exactly as the model was trained.

        bos      add the start and end tokens that the vocabulary asks for
        special  special tokens in the text become tokens: never set this for text from a user
        """
        data = to_bytes(text)
        with self._use() as pointer:
            return fill_tokens(
                function.slm_tokenize, len(data) + 8, pointer, data, len(data), text_flags(bos, special)
            )

    def detokenize_bytes(self, tokens: Sequence[int], *, bos: bool = True, special: bool = False) -> bytes:
        """The text of tokens, byte for byte.

        bos      take the start and end token away, and the space that tokenising put in front
        special  write special tokens out rather than drop them
        """
        ids = to_tokens(tokens)
        needed = ctypes.c_size_t()
        with self._use() as pointer:
            head = pointer, token_address(ids), len(ids), text_flags(bos, special)
            function.slm_detokenize(*head, None, 0, ctypes.byref(needed))
            text = ctypes.create_string_buffer(needed.value or 1)
            function.slm_detokenize(*head, text, needed.value, ctypes.byref(needed))
        return text.raw[: needed.value]

    def detokenize(self, tokens: Sequence[int], *, bos: bool = True, special: bool = False) -> str:
        """The text of tokens. Bytes that are no UTF-8, such as half of a character, become U+FFFD."""
        return self.detokenize_bytes(tokens, bos=bos, special=special).decode("utf-8", "replace")

    def decoder(self, *, bos: bool = True, special: bool = False) -> Decoder:
        """Tokens to text one by one; for bos and special see detokenize_bytes."""
        return Decoder(self, text_flags(bos, special))

    def token(self, token: int) -> TokenInfo:
        info = struct.slm_token_info()
        with self._use() as pointer:
            function.slm_token_get_info(pointer, int32(token), ctypes.byref(info))
            text = read_bytes(info.text, info.text_size)
        return TokenInfo(token, text, info.kind, info.score, info.is_end != 0)

    def find_token(self, text: Text) -> Optional[int]:
        """The token stored as exactly this text."""
        data = to_bytes(text)
        found = ctypes.c_int32()
        with self._use() as pointer:
            function.slm_token_find(pointer, data, len(data), ctypes.byref(found))
        return found.value if found.value >= 0 else None

    def tensors(self) -> Iterator[TensorInfo]:
        """The tensors of the file or files, in their order."""
        for index in range(self.info.n_tensors):
            info = struct.slm_tensor_info()
            with self._use() as pointer:
                function.slm_model_tensor(pointer, index, ctypes.byref(info))
                name = read_bytes(info.name, info.name_size).decode("utf-8", "replace")
                row = TensorInfo(
                    name,
                    read_string(info.encoding_name),
                    tuple(info.shape[: info.n_dims]),
                    info.file,
                    info.offset,
                    info.size,
                )
            yield row

    def plan(self, **context_options: Any) -> Plan:
        """The memory of a context made with these options: those of Context()."""
        from .context import context_struct

        plan = struct.slm_plan()
        opts = context_struct(**context_options)
        with self._use() as pointer:
            function.slm_plan_memory(pointer, ctypes.byref(opts), ctypes.byref(plan))
        return read_info(Plan, plan)
