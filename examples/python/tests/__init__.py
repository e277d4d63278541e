"""Run from anywhere:  python3 -m unittest discover -t examples/python -s examples/python/tests

The library is $SLM_LIBRARY, or else build/libslm of the repository that this folder lies in, or else
the one of the package. SLM_LAYOUT names layout.txt in place of build/layout.txt."""
import os
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
ROOT = PACKAGE.parent.parent
STORYTELLER = ROOT / "examples/models/storyteller-q8_0.gguf"

if sys.platform.startswith("linux") and (ROOT / "build/libslm.so").exists():
    os.environ.setdefault("SLM_LIBRARY", str(ROOT / "build/libslm.so"))
