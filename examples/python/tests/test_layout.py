"""The table of the package is slm.h, as a C compiler sees it."""
import ctypes
import dataclasses
import os
import unittest

import slm
from slm import _ffi
from slm._layout import LAYOUT

from . import ROOT

MIRRORS = {
    "slm_model_info": slm.ModelInfo,
    "slm_context_info": slm.ContextInfo,
    "slm_generate_stats": slm.GenerateStats,
    "slm_plan": slm.Plan,
}


class TestLayout(unittest.TestCase):
    def test_table_is_the_header(self):
        path = os.environ.get("SLM_LAYOUT", ROOT / "build/layout.txt")
        if not os.path.exists(path):
            self.assertFalse((ROOT / "slm.h").exists(), f"no {path}: `make layout` writes it")
            self.skipTest("this is not the repository")
        with open(path, encoding="utf-8") as file:
            self.assertEqual(
                LAYOUT.splitlines(), file.read().splitlines(), "slm.h changed: make python-layout, and look at its users"
            )

    def test_ctypes_lays_structs_out_as_the_compiler(self):
        if ctypes.sizeof(ctypes.c_void_p) != 8:
            self.skipTest("the table has the offsets of 64 bits")
        n = 0
        for kind, name, *rest in map(str.split, LAYOUT.splitlines()):
            if kind == "struct":
                self.assertEqual(ctypes.sizeof(getattr(_ffi.struct, name)), int(rest[0]), name)
            elif kind == "field":
                struct, field = name.split(".")
                found = getattr(getattr(_ffi.struct, struct), field)
                self.assertEqual((found.offset, found.size), (int(rest[0]), int(rest[1])), name)
                n += 1
        self.assertGreater(n, 200)

    def test_dataclasses_have_every_field(self):
        for name, mirror in MIRRORS.items():
            fields = [field for field, _ in getattr(_ffi.struct, name)._fields_]
            self.assertEqual(["struct_size"] + [f.name for f in dataclasses.fields(mirror)], fields)

    def test_every_function_is_there(self):
        for name, (_, *parameters) in _ffi.functions.items():
            self.assertTrue(callable(getattr(_ffi.function, name)), name)
            self.assertNotIn("slm_error*", parameters[:-1])
