"""Small language models inside your program: slm through ctypes, and nothing else.

>>> import slm
>>> model = slm.Model("model.gguf")
>>> context = slm.Context(model)
>>> for piece in context.generate("Once upon a time", max_tokens=50):
...     print(piece, end="", flush=True)

Texts are str or UTF-8 bytes, tokens are ints, logits and embeddings float32 in memoryviews that numpy
takes without a copy. Every object has close() and works in `with`; the garbage collector closes what
is left. Errors are SlmError and its kinds.
"""
from __future__ import annotations

from ._call import Cancel, Progress
from ._ffi import C as constants
from ._ffi import function as _function
from .chat import (
    Answer,
    Chat,
    ChatAnswer,
    ChatOutput,
    ChatPrompt,
    ChatTemplate,
    Event,
    Reasoning,
    ToolCall,
    builtin_template,
)
from .context import Context, ContextInfo, Rows, Span, Threads
from .errors import (
    SlmArgumentError,
    SlmBusyError,
    SlmCancelledError,
    SlmClosedError,
    SlmDeadlineError,
    SlmError,
    SlmForkedError,
    SlmFormatError,
    SlmFullError,
    SlmIOError,
    SlmMemoryError,
    SlmTemplateError,
    SlmUnsupportedError,
)
from .generate import GenerateStats, Generation
from .model import Decoder, Metadata, Model, ModelInfo, Plan, TensorInfo, TokenInfo
from .sampler import Candidate, Candidates, Sampler

__version__ = "{}.{}.{}".format(*(_function.slm_version() // n % 1000 for n in (1000000, 1000, 1)))

__all__ = [
    "Answer",
    "Cancel",
    "Candidate",
    "Candidates",
    "Chat",
    "ChatAnswer",
    "ChatOutput",
    "ChatPrompt",
    "ChatTemplate",
    "Context",
    "ContextInfo",
    "Decoder",
    "Event",
    "GenerateStats",
    "Generation",
    "Metadata",
    "Model",
    "ModelInfo",
    "Plan",
    "Progress",
    "Reasoning",
    "Rows",
    "Sampler",
    "SlmArgumentError",
    "SlmBusyError",
    "SlmCancelledError",
    "SlmClosedError",
    "SlmDeadlineError",
    "SlmError",
    "SlmForkedError",
    "SlmFormatError",
    "SlmFullError",
    "SlmIOError",
    "SlmMemoryError",
    "SlmTemplateError",
    "SlmUnsupportedError",
    "Span",
    "TensorInfo",
    "Threads",
    "TokenInfo",
    "ToolCall",
    "builtin_template",
    "constants",
]
