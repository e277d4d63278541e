"""How a token is chosen from logits."""
from __future__ import annotations

import ctypes
from array import array
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ._convert import Pinned, int32
from ._ffi import C, address, function, options, struct
from ._handle import Gate, Handle, Owner
from .errors import SlmArgumentError
from .model import Model

Stage = Tuple[Any, ...]


class Candidate(NamedTuple):
    """struct slm_candidate; probability is set by Sampler.choose."""

    token: int
    logit: float
    probability: float

# The values a stage takes, in the order in which they follow its name.
_STAGES: Dict[str, Tuple[int, Tuple[str, ...]]] = {
    "temperature": (C.STAGE_TEMPERATURE, ("value",)),
    "top_k": (C.STAGE_TOP_K, ("n",)),
    "top_p": (C.STAGE_TOP_P, ("value", "n")),
    "min_p": (C.STAGE_MIN_P, ("value", "n")),
    "penalties": (C.STAGE_PENALTIES, ("n", "repeat", "frequency", "presence")),
    "logit_bias": (C.STAGE_LOGIT_BIAS, ()),
    "dynamic_temperature": (C.STAGE_DYNAMIC_TEMPERATURE, ("value", "range", "exponent")),
    "top_n_sigma": (C.STAGE_TOP_N_SIGMA, ("value",)),
    "typical": (C.STAGE_TYPICAL, ("value", "n")),
    "xtc": (C.STAGE_XTC, ("value", "threshold", "n")),
    "dry": (C.STAGE_DRY, ("n", "value", "base", "allowed", "breakers")),
    "mirostat": (C.STAGE_MIROSTAT, ("value", "rate", "n")),
    "mirostat_2": (C.STAGE_MIROSTAT_2, ("value", "rate")),
    "adaptive_p": (C.STAGE_ADAPTIVE_P, ("value", "decay")),
}

# Where 0 is not what leaving a value out means.
_DEFAULTS: Dict[str, Dict[str, Any]] = {
    "penalties": {"repeat": 1.0},
    "dynamic_temperature": {"exponent": 1.0},
    "dry": {"base": 1.75, "allowed": 2},
    "mirostat": {"rate": 0.1, "n": 100},
    "mirostat_2": {"rate": 0.1},
    "adaptive_p": {"decay": 0.9},
}


def _stage_struct(name: str, values: Sequence[Any], keep: List[Any]) -> Any:
    if name not in _STAGES:
        raise SlmArgumentError(C.E_ARGUMENT, f"there is no stage {name!r}, only {', '.join(_STAGES)}")
    kind, names = _STAGES[name]
    if name == "logit_bias":
        (biases,) = values
        table = (struct.slm_logit_bias * len(biases))()
        for row, (token, bias) in zip(table, biases.items()):
            row.fill(token=token, bias=bias)
        keep.append(table)
        return struct.slm_sampler_stage(kind=kind, n_biases=len(biases), biases=address(table))
    if len(values) > len(names):
        raise SlmArgumentError(C.E_ARGUMENT, f"the stage {name} takes {', '.join(names)}")
    fields = {**_DEFAULTS.get(name, {}), **dict(zip(names, values))}
    if "breakers" in fields:
        texts = [ctypes.create_string_buffer(text.encode()) for text in fields["breakers"]]
        pointers = (ctypes.c_void_p * len(texts))(*map(ctypes.addressof, texts))
        keep += [texts, pointers]
        fields.update(n_breakers=len(texts), breakers=address(pointers) if texts else None)
    return struct.slm_sampler_stage(kind=kind, **fields)


def _owner(model: Model) -> Owner:
    return Owner(function.slm_sampler_free, (model._owned().keep,), Gate())


class Candidates(Sequence[Candidate]):
    """Tokens to choose from: a list that Sampler.apply() narrows and reorders, Sampler.choose() draws
    from, and the program may change before and between.

    >>> candidates = slm.Candidates(context.logits())
    >>> sampler.apply(candidates)
    >>> candidates.logits[0] -= 1.0
    >>> token = sampler.choose(candidates)

    logits   float32: a row of the whole vocabulary, or one for each of tokens
    tokens   their ids, None for 0, 1, 2, ...

    tokens, logits and probabilities are memoryviews of the list as it is, without a copy; probabilities
    are set by choose(). candidates[i] is a Candidate.
    """

    def __init__(self, logits: Any, tokens: Optional[Sequence[int]] = None) -> None:
        row = array("f", logits)
        self._n = ctypes.c_int32(len(row))
        self._rows = (struct.slm_candidate * len(row))()
        if len(row) != len(range(len(row)) if tokens is None else tokens):
            raise ValueError(f"{len(row)} logits for {len(tokens or ())} tokens")
        if len(row) > 0:
            self.tokens[:] = memoryview(array("i", range(len(row)) if tokens is None else tokens))
            self.logits[:] = memoryview(row)

    def _column(self, kind: str, index: int) -> memoryview:
        width = ctypes.sizeof(struct.slm_candidate) // 4
        cells = memoryview(self._rows).cast("B")[: 4 * width * len(self)]
        return cells.cast(kind)[index::width]

    @property
    def tokens(self) -> memoryview:
        return self._column("i", 0)

    @property
    def logits(self) -> memoryview:
        return self._column("f", 1)

    @property
    def probabilities(self) -> memoryview:
        return self._column("f", 2)

    def __len__(self) -> int:
        return self._n.value

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError("candidate out of range")
        row = self._rows[place]
        return Candidate(row.token, row.logit, row.probability)


class Sampler(Handle):
    """A chain of stages, each of which narrows or reweighs the candidates; then one is drawn.

    Keywords give the usual chain, in the order penalties, logit_bias, top_k, top_p, min_p, temperature;
    what is None is left out, and nothing at all is greedy.

    temperature    logits are divided by it; 0 keeps only the best
    top_k          keep the n best
    top_p          keep the likeliest that together have it
    min_p          keep what has at least this times the best probability
    repeat_penalty, frequency_penalty, presence_penalty   over the last penalty_window tokens
    logit_bias     token to what is added to its logit; -inf bans it
    stages         instead: tuples in any order, ("top_k", 40), ("top_p", 0.9, at_least), ("min_p", 0.05,
                   at_least), ("temperature", 0.7), ("penalties", window, repeat, frequency, presence),
                   ("logit_bias", {token: bias}), ("dynamic_temperature", 0.8, range, exponent),
                   ("top_n_sigma", 1.5), ("typical", 0.9, at_least), ("xtc", probability, threshold),
                   ("dry", window, multiplier, base, allowed, breakers); and as the last one
                   ("mirostat", bits, rate), ("mirostat_2", bits, rate) or ("adaptive_p", 0.5, decay)
    seed           the same seed and logits give the same tokens everywhere

    One thread at a time: another one gets SlmBusyError. Closing it ends no generation that uses it.
    """

    _what = "sampler"

    def __init__(
        self,
        model: Model,
        *,
        temperature: Optional[float] = None,
        top_k: Optional[int] = None,
        top_p: Optional[float] = None,
        min_p: Optional[float] = None,
        repeat_penalty: Optional[float] = None,
        frequency_penalty: Optional[float] = None,
        presence_penalty: Optional[float] = None,
        penalty_window: int = 64,
        logit_bias: Optional[Mapping[int, float]] = None,
        stages: Optional[Sequence[Stage]] = None,
        seed: int = 0,
    ) -> None:
        chain: List[Stage] = list(stages or ())
        penalties = repeat_penalty, frequency_penalty, presence_penalty
        if any(value is not None for value in penalties):
            repeat, frequency, presence = penalties
            chain.append(
                (
                    "penalties",
                    penalty_window,
                    1.0 if repeat is None else repeat,
                    frequency or 0,
                    presence or 0,
                )
            )
        named = {
            "logit_bias": logit_bias,
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "temperature": temperature,
        }
        chain += [(name, value) for name, value in named.items() if value is not None]
        if stages is not None and len(chain) > len(stages):
            raise TypeError("Sampler() takes stages or keywords for the usual chain")
        keep: List[Any] = []
        table = (struct.slm_sampler_stage * len(chain))()
        for row, (name, *values) in zip(table, chain):
            made = _stage_struct(name, values, keep)
            ctypes.memmove(ctypes.byref(row), ctypes.byref(made), ctypes.sizeof(made))
        opts = options("sampler", seed=seed)
        owner = _owner(model)
        with model._use() as pointer:
            function.slm_sampler_create(
                ctypes.byref(owner.out),
                pointer,
                table,
                len(chain),
                ctypes.sizeof(struct.slm_sampler_stage),
                ctypes.byref(opts),
            )
        self.model = model
        self._owner = owner

    def clone(self) -> Sampler:
        """A copy with the same history and random state, independent from then on."""
        owner = _owner(self.model)
        with self._use() as pointer:
            function.slm_sampler_clone(ctypes.byref(owner.out), pointer)
        copy = Sampler.__new__(Sampler)
        copy.model = self.model
        copy._owner = owner
        return copy

    def sample(self, logits: Any) -> int:
        """A token for a row of logits, float32 [n_vocab]: what Context.logits gives, or any buffer of
        floats. Changes nothing but the random state."""
        if memoryview(logits).format not in ("f", "<f"):
            raise TypeError("logits are float32")
        row = Pinned(logits)
        token = ctypes.c_int32()
        with self._use() as pointer:
            function.slm_sample(pointer, row.address, row.size // 4, ctypes.byref(token))
        return token.value

    def apply(self, candidates: Candidates) -> None:
        """Runs the stages over candidates: reorders them, and drops those that cannot be chosen."""
        with self._use() as pointer:
            function.slm_sampler_apply(pointer, candidates._rows, ctypes.byref(candidates._n))

    def choose(self, candidates: Candidates) -> int:
        """Sets the probabilities of candidates and draws a token. With apply() before, what sample()
        does."""
        token = ctypes.c_int32()
        with self._use() as pointer:
            function.slm_sampler_choose(pointer, candidates._rows, len(candidates), ctypes.byref(token))
        return token.value

    def accept(self, token: int) -> None:
        """Tells the chain which token became part of the text."""
        with self._use() as pointer:
            function.slm_sampler_accept(pointer, int32(token))

    def rewind(self, n: Optional[int] = None) -> None:
        """Takes the last n accepted tokens back: as it was when the first was accepted. None starts over."""
        with self._use() as pointer:
            function.slm_sampler_rewind(pointer, (1 << 31) - 1 if n is None else int32(n))
