"""Run from anywhere:  python3 -m unittest discover -t examples/python -s examples/python/tests

The library is $SLM_LIBRARY, or else build/libslm of the repository that this folder lies in, or else
the one of the package. SLM_LAYOUT names layout.txt in place of build/layout.txt."""
import os
import sys
from contextlib import contextmanager
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
ROOT = PACKAGE.parent.parent
STORYTELLER = ROOT / "examples/models/storyteller-q8_0.gguf"

if sys.platform.startswith("linux") and (ROOT / "build/libslm.so").exists():
    os.environ.setdefault("SLM_LIBRARY", str(ROOT / "build/libslm.so"))


@contextmanager
def freed():
    """The names of objects of slm as they are freed, of those made in the meantime."""
    from slm._ffi import function

    names = []
    real = {name: getattr(function, name) for name in vars(function) if name.endswith(("_free", "_end"))}

    def recorder(name, free):
        def record(out):
            if out.value is not None:
                names.append(name)
            free(out)

        return record

    for name, free in real.items():
        setattr(function, name, recorder(name, free))
    try:
        yield names
    finally:
        for name, free in real.items():
            setattr(function, name, free)
