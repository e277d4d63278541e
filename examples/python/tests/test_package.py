"""The package as it is given to others: sdist, wheel, the programs of the READMEs."""
import base64
import csv
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile
from pathlib import Path

from . import PACKAGE, ROOT, STORYTELLER


def programs(path):
    """The python blocks of a README, as one program."""
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
    return len(blocks), "".join(blocks)


class TestPackage(unittest.TestCase):
    def run_python(self, *arguments, cwd=ROOT, **environment):
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def build(self, folder, hook, where):
        """A hook of the backend, called as pip does: in the project's folder."""
        script = f"import slm_build; print(slm_build.{hook}({str(where)!r}))"
        flags = "-O0 -DSLM_NO_SIMD"  # seconds rather than a minute
        out = self.run_python("-c", script, cwd=folder, PYTHONPATH=str(folder / "backend"), CFLAGS=flags)
        return where / out.split()[-1]

    @unittest.skipUnless(any(map(shutil.which, ("cc", "gcc", "clang"))), "no C compiler here")
    def test_sdist_to_wheel_to_story(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            sdist = self.build(PACKAGE, "build_sdist", folder)
            with tarfile.open(sdist) as tar:
                tar.extractall(folder / "unpacked")
            (source,) = (folder / "unpacked").iterdir()
            self.assertTrue((source / "csrc/src/api.c").exists())
            wheel = self.build(source, "build_wheel", folder)
            self.assertRegex(wheel.name, r"^slm-[0-9.]+-py3-none-[a-z0-9_]+\.whl$")
            self.check_wheel(wheel)
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder / "site")
            environment = {"PYTHONPATH": str(folder / "site"), "SLM_LIBRARY": ""}
            script = f"import slm; print(next(slm.Context(slm.Model({str(STORYTELLER)!r})).generate('Once')))"
            self.assertTrue(self.run_python("-c", script, cwd=folder, **environment).strip())

    def check_wheel(self, path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            (record,) = [name for name in names if name.endswith("/RECORD")]
            rows = list(csv.reader(io.StringIO(archive.read(record).decode())))
            self.assertEqual([row[0] for row in rows], names)
            for name, digest, size in rows:
                if name != record:
                    data = archive.read(name)
                    found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                    self.assertEqual((digest, size), ("sha256=" + found, str(len(data))))
            self.assertIn("slm/py.typed", names)
            self.assertEqual({p.name for p in (PACKAGE / "slm").glob("*.py")} - {n[4:] for n in names}, set())

    def test_programs_of_the_readmes(self):
        for path in PACKAGE / "README.md", ROOT / "README.md":
            n, program = programs(path)
            self.assertGreater(n, 0, path)
            out = self.run_python("-c", program, PYTHONPATH=str(PACKAGE))
            self.assertGreater(len(out), 100)

    def test_python_3_9_can_read_it(self):
        import ast

        for path in list(PACKAGE.glob("slm/*.py")) + list(PACKAGE.glob("backend/*.py")):
            ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
