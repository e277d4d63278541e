"""Builds the wheel and the sdist of this folder with Python and a C compiler, and nothing else.

A PEP 517 backend: pip calls build_wheel and build_sdist. slm.c is compiled as its README says, one
compiler call, and lies beside the modules in the wheel. It is taken from the repository that this
folder is a part of; an sdist carries a copy in csrc/. The version is that of slm.h.

$CC and $CFLAGS are used if they are set; CFLAGS stand behind -O2.
"""
import base64
import hashlib
import io
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
LIBRARY = {"darwin": "libslm.dylib", "win32": "slm.dll"}.get(sys.platform, "libslm.so")


def _sources():
    """The folder that has slm.c."""
    for folder in HERE / "csrc", HERE.parent.parent:
        if (folder / "slm.c").exists() and (folder / "slm.h").exists():
            return folder
    raise FileNotFoundError(f"neither {HERE}/csrc nor the repository around {HERE} has slm.c")


def _version():
    header = (_sources() / "slm.h").read_text(encoding="utf-8")
    return re.search(r'^#define SLM_VERSION "([^"]+)"', header, re.M).group(1)


def _metadata():
    project = (HERE / "pyproject.toml").read_text(encoding="utf-8")  # tomllib came with Python 3.11

    def field(name):
        return re.search(rf'^{name} = "(.*)"', project, re.M).group(1)

    readme = (HERE / field("readme")).read_text(encoding="utf-8")
    head = [
        ("Metadata-Version", "2.1"),
        ("Name", field("name")),
        ("Version", _version()),
        ("Summary", field("description")),
        ("License", "MIT"),
        ("Requires-Python", field("requires-python")),
        ("Description-Content-Type", "text/markdown"),
    ]
    return "".join(f"{key}: {value}\n" for key, value in head) + "\n" + readme


def _compiler():
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    for name in "cc", "gcc", "clang":
        if shutil.which(name):
            return [name]
    raise RuntimeError("slm needs a C compiler: install gcc or clang, or set CC")


def _compile(folder):
    """slm.c as a shared library in folder."""
    out = Path(folder) / LIBRARY
    shared = {"darwin": ["-dynamiclib", "-fPIC"], "win32": ["-shared"]}
    flags = shared.get(sys.platform, ["-shared", "-fPIC", "-Wl,-Bsymbolic"])
    command = _compiler() + ["-O2"] + shlex.split(os.environ.get("CFLAGS", "")) + flags
    command += ["slm.c", "-o", str(out), "-pthread"]
    print(" ".join(command), flush=True)
    subprocess.run(command, cwd=_sources(), check=True)
    return out


def _tag():
    """py3-none-PLATFORM: no compiled code depends on the version of Python."""
    name = re.sub(r"[-.\s]", "_", sysconfig.get_platform())
    return "py3-none-" + name.replace("universal2", platform.machine())


def _time():
    """Of the files in the archives: $SOURCE_DATE_EPOCH, for the same bytes each time; at least the
    first moment that zip knows."""
    return max(int(os.environ.get("SOURCE_DATE_EPOCH", "315532800")), 315532800)


class _Wheel:
    def __init__(self, path):
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        self._record = []

    def add(self, name, data, mode=0o644):
        info = zipfile.ZipInfo(name, time.gmtime(_time())[:6])
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = (0o100000 | mode) << 16
        self._zip.writestr(info, data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        self._record.append(f"{name},sha256={digest},{len(data)}\n")

    def close(self, info):
        record = "".join(self._record) + f"{info}/RECORD,,\n"
        self.add(f"{info}/RECORD", record.encode())
        self._zip.close()


def _license():
    return next(p for p in (HERE / "LICENSE", HERE.parent.parent / "LICENSE") if p.exists()).read_bytes()


def _write_info(wheel, info):
    wheel.add(f"{info}/METADATA", _metadata().encode())
    text = f"Wheel-Version: 1.0\nGenerator: slm_build\nRoot-Is-Purelib: false\nTag: {_tag()}\n"
    wheel.add(f"{info}/WHEEL", text.encode())
    wheel.add(f"{info}/LICENSE", _license())


def _build(wheel_directory, write_package):
    name = f"slm-{_version()}-{_tag()}.whl"
    info = f"slm-{_version()}.dist-info"
    wheel = _Wheel(Path(wheel_directory) / name)
    write_package(wheel)
    _write_info(wheel, info)
    wheel.close(info)
    return name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    def write(wheel):
        for path in sorted((HERE / "slm").iterdir()):
            if path.suffix == ".py" or path.name == "py.typed":
                wheel.add(f"slm/{path.name}", path.read_bytes())
        with tempfile.TemporaryDirectory() as folder:
            wheel.add(f"slm/{LIBRARY}", _compile(folder).read_bytes(), 0o755)

    return _build(wheel_directory, write)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """For `pip install -e`: the library lies in the package's folder."""
    _compile(HERE / "slm")
    return _build(wheel_directory, lambda wheel: wheel.add("slm_editable.pth", f"{HERE}\n".encode()))


def build_sdist(sdist_directory, config_settings=None):
    base = f"slm-{_version()}"
    sources = _sources()
    files = {f"{base}/PKG-INFO": _metadata().encode()}
    for path in [HERE / "pyproject.toml", HERE / "README.md", Path(__file__)]:
        files[f"{base}/{path.relative_to(HERE)}"] = path.read_bytes()
    for folder, pattern in ("slm", "*.py"), ("slm", "py.typed"), ("tests", "*.py"):
        for path in sorted((HERE / folder).glob(pattern)):
            files[f"{base}/{folder}/{path.name}"] = path.read_bytes()
    files[f"{base}/LICENSE"] = _license()
    for pattern in "slm.[ch]", "src/**/*.*", "kernels/**/*.*":
        for path in sorted(sources.glob(pattern)):
            if path.suffix in (".c", ".h", ".inc"):
                files[f"{base}/csrc/{path.relative_to(sources).as_posix()}"] = path.read_bytes()
    with tarfile.open(Path(sdist_directory) / f"{base}.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mtime = _time()
            tar.addfile(entry, io.BytesIO(data))
    return f"{base}.tar.gz"
