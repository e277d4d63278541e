#!/bin/sh
# ffi_smoke.sh LIBRARY - the ctypes test, where there is a Python to run it.
if ! command -v python3 >/dev/null; then
    echo "skipped: no python3 here"
    exit 77
fi
exec python3 tests/ffi_smoke.py "$1"
