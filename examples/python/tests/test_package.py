"""The package as it is given to others: sdist, wheel, the programs of the READMEs."""
import base64
import csv
import hashlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
import venv
import zipfile
from pathlib import Path

from . import PACKAGE, ROOT, STORYTELLER


def programs(path):
    """The python blocks of a README, as one program."""
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
    return len(blocks), "".join(blocks)


class TestPackage(unittest.TestCase):
    built = None

    def run_python(self, *arguments, cwd=ROOT, program=sys.executable, **environment):
        result = subprocess.run(
            [program, *arguments],
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

    def build_all(self):
        """A folder with the sdist unpacked in `source` and the wheel of that in `site`, made once: the
        compiler takes longest."""
        if not any(map(shutil.which, ("cc", "gcc", "clang"))):
            self.skipTest("no C compiler here")
        if self.built is None:
            folder = Path(tempfile.mkdtemp())
            self.addClassCleanup(shutil.rmtree, folder)
            sdist = self.build(PACKAGE, "build_sdist", folder)
            with tarfile.open(sdist) as tar:
                tar.extractall(folder / "unpacked")
            (source,) = (folder / "unpacked").iterdir()
            wheel = self.build(source.rename(folder / "source"), "build_wheel", folder)
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder / "site")
            type(self).built = folder, wheel
        return self.built

    def test_sdist_to_wheel_to_story(self):
        folder, wheel = self.build_all()
        self.assertTrue((folder / "source/csrc/src/api.c").exists())
        self.assertRegex(wheel.name, r"^slm-[0-9.]+-py3-none-[a-z0-9_]+\.whl$")
        self.check_wheel(wheel)
        environment = {"PYTHONPATH": str(folder / "site"), "SLM_LIBRARY": ""}
        script = f"import slm; print(next(slm.Context(slm.Model({str(STORYTELLER)!r})).generate('Once')))"
        self.assertTrue(self.run_python("-c", script, cwd=folder, **environment).strip())

    def test_pip_installs_it(self):
        """Offline, into an empty environment, as it is and editable. The compiler here is a program that
        has the library already."""
        folder, _ = self.build_all()
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        environment = folder / "venv"
        python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
        if subprocess.run([*pip, "--python", sys.executable, "--version"], capture_output=True).returncode:
            self.skipTest("no pip of 22.3 or later here")
        venv.create(environment, symlinks=os.name != "nt")
        (library,) = (folder / "site/slm").glob("*slm.[ds]*")
        compiler = folder / "cc.py"
        compiler.write_text(
            f"import shutil, sys; shutil.copy({str(library)!r}, sys.argv[sys.argv.index('-o') + 1])"
        )
        flags = ["--quiet", "--no-index", "--no-build-isolation", "--no-deps"]
        clean = {"PYTHONPATH": "", "SLM_LIBRARY": "", "CC": shlex.join([sys.executable, str(compiler)])}
        for extra, place in ([], environment), (["--editable"], folder / "source"):
            install = [*pip[1:], "--python", str(python), "install", *flags, *extra, str(folder / "source")]
            self.run_python(*install, cwd=folder, **clean)
            script = "import slm; print(slm.__file__)"
            out = self.run_python("-c", script, cwd=folder, program=str(python), **clean)
            self.assertTrue(out.startswith(str(place)), out)

    @unittest.skipUnless(shutil.which("mypy"), "no mypy here")
    def test_types(self):
        """What py.typed promises, of the package and of a program that uses it."""
        with tempfile.TemporaryDirectory() as name:
            program = Path(name) / "program.py"
            program.write_text(programs(PACKAGE / "README.md")[1])
            command = ["mypy", "--strict", "--python-version", "3.9", "--cache-dir", name + "/cache"]
            result = subprocess.run(
                [*command, "slm", str(program)], cwd=PACKAGE, capture_output=True, text=True
            )
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

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
