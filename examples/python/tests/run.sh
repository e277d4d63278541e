#!/bin/sh
# run.sh BUILD - the package's tests with the library of BUILD, from the repository root.
if ! command -v python3 >/dev/null || ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then
    echo "skipped: no python3 of 3.9 or later here"
    exit 77
fi
for name in so dylib; do
    [ ! -e "$1/libslm.$name" ] || SLM_LIBRARY=$PWD/$1/libslm.$name
done
export SLM_LIBRARY SLM_LAYOUT="$1/layout.txt" PYTHONDONTWRITEBYTECODE=1
exec python3 -X dev -m unittest discover -t examples/python -s examples/python/tests
