#!/bin/sh
# check.sh BUILD - compiles what `make dist` wrote under BUILD/dist, as C11 and as C++17, with every
# compiler there is, and wants from each program the words of BUILD/dist_test, which is linked with
# the library as it is developed. Run by `make dist`.
set -e
build=$1
dist=$build/dist
program=$dist/program
"$build/dist_test" >"$dist/expected"
if [ "$(wc -c <"$dist/expected")" -lt 60 ]; then
    echo "dist: the story is too short to compare"
    exit 1
fi
n=0

# compare WHAT COMMAND...: runs the compiler, then the program.
compare() {
    what=$1
    shift
    if ! "$@" -O0 -DSLM_DEBUG -Wall -Wextra -I"$dist" -o "$program" -pthread; then
        echo "dist: FAILED to compile: $what"
        exit 1
    fi
    "$program" >"$dist/said"
    if ! cmp "$dist/expected" "$dist/said"; then
        echo "dist: FAILED: other words from $what"
        exit 1
    fi
    n=$((n + 1))
}

both() {
    compare "slm.c, $*" "$@" tests/dist/dist_test.c "$dist/slm.c"
    compare "slm_single.h, $*" "$@" -DDIST_SINGLE tests/dist/dist_test.c
}

for cc in gcc clang; do
    command -v $cc >/dev/null || continue
    both $cc -std=c11
    if echo '#include <string>' | $cc -x c++ -fsyntax-only - 2>/dev/null; then
        case $cc in gcc) cxx=g++ ;; *) cxx=clang++ ;; esac
        both $cxx -x c++ -std=c++17
    else
        echo "dist: $cc does not compile C++ here: skipped"
    fi
done
if [ $n = 0 ]; then
    both "${CC:-cc}" -std=c11
fi
rm -f "$program"
echo "$dist: $n programs say the same"
