#!/bin/sh
# check.sh BUILD [NAME...] - builds small host programs with a copy of slm inside, each in a folder
# BUILD/vendor/NAME without git, and wants from each the words of BUILD/dist_test, which is linked
# with the library as it is developed. Prints how long that took and how large the code of slm is.
# NAMEs are those of `builds` below; a build whose tools are missing is skipped, and says so.
set -eu
build=$(cd "$1" && pwd)
shift
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$build/vendor
dist=$build/dist
here=$root/tests/vendor
builds='gcc_O2 clang_O2 gcc_Os gcc_O3_flto clang_O3_flto gcc_hidden gcc_native musl cxx_host two_copies
    make cmake meson'
n_built=0
n_skipped=0

# A fresh folder with the host program and slm's two files, and go there.
begin() { # NAME
    name=$1
    rm -rf "${work:?}/$name"
    mkdir -p "$work/$name/third_party/slm"
    cd "$work/$name"
    cp "$root/tests/dist/dist_test.c" host.c
    cp "$dist/slm.c" "$dist/slm.h" third_party/slm/
}

# The command, and how many seconds it took in `seconds`.
timed() {
    start=$(date +%s.%N)
    if ! "$@" >log 2>&1; then
        echo "vendor: $name: FAILED: $*" >&2
        tail -n 20 log >&2
        exit 1
    fi
    seconds=$(date +%s.%N | awk -v start="$start" '{ printf "%.1f", $1 - start }')
}

# The program, which is run where it finds the model; the words; a line of the table.
finish() { # PROGRAM OBJECT WHAT
    (cd "$root" && "$work/$name/$1") >said
    if ! cmp -s "$expected" said; then
        echo "vendor: $name: FAILED: other words" >&2
        exit 1
    fi
    kib=$(size "$2" | awk 'NR > 1 { bytes += $1 + $2 } END { printf "%d", bytes / 1024 }')
    printf '| %s | %s | %s KiB |\n' "$3" "$seconds s" "$kib"
    n_built=$((n_built + 1))
}

# shellcheck disable=SC2086 # words of one string
compile() { # COMPILER "FLAGS FOR ALL" "FLAGS FOR LINKING"
    $1 $2 -c third_party/slm/slm.c -o slm.o &&
        $1 $2 $3 -Ithird_party/slm host.c slm.o -o host -pthread
}

# Builds with a compiler call for each file.
calls() { # NAME COMPILER "FLAGS FOR ALL" "FLAGS FOR LINKING" [WHAT HAS THE CODE]
    lacks "$2" && return
    begin "$1"
    timed compile "$2" "$3" "$4"
    finish host "${5:-slm.o}" "\`$2 $3${4:+ }$4\`"
}

lacks() { # TOOL...: true where one is not there
    for tool; do
        if ! command -v "$tool" >/dev/null; then
            echo "vendor: no $tool here: skipped" >&2
            n_skipped=$((n_skipped + 1))
            return 0
        fi
    done
    return 1
}

build_gcc_O2() { calls gcc_O2 gcc -O2 ''; }
build_clang_O2() { calls clang_O2 clang -O2 ''; }
build_gcc_Os() { calls gcc_Os gcc -Os ''; }
build_gcc_O3_flto() { calls gcc_O3_flto gcc '-O3 -flto=auto' '' host; }
build_clang_O3_flto() { calls clang_O3_flto clang '-O3 -flto' -fuse-ld=lld host; }
build_gcc_hidden() { calls gcc_hidden gcc '-O2 -fvisibility=hidden' ''; }
build_gcc_native() { calls gcc_native gcc '-O3 -march=native' ''; }
build_musl() { calls musl musl-gcc -O2 -static; }

build_cxx_host() {
    lacks gcc g++ && return
    begin cxx_host
    timed gcc -O2 -c third_party/slm/slm.c -o slm.o
    g++ -std=c++17 -O2 -Ithird_party/slm -x c++ host.c -x none slm.o -o host -pthread
    finish host slm.o '`gcc -O2`, linked by `g++`'
}

# The second has no SIMD, no threads, and the model still comes from a file.
build_two_copies() {
    lacks gcc && return
    begin two_copies
    first=-DSLM_PREFIX=first_slm_
    second='-DSLM_PREFIX=second_slm_ -DSLM_NO_SIMD -DSLM_NO_THREADS'
    for copy in first second; do
        eval "flags=\$$copy"
        # shellcheck disable=SC2086
        timed gcc -O2 $flags -c third_party/slm/slm.c -o $copy.o
        gcc -O2 -Ithird_party/slm -DSLM_PREFIX=${copy}_slm_ -Dmain=${copy}_main -c host.c -o ${copy}_host.o
    done
    gcc -DFIRST=first_main -DSECOND=second_main "$here/two.c" first.o first_host.o second.o \
        second_host.o -o host -pthread
    expected=$work/twice
    cat "$work/once" "$work/once" >"$expected"
    finish host second.o "\`gcc -O2 ${second#* }\`, beside a whole copy with another prefix"
    expected=$work/once
}

# The source tree rather than two files.
build_make() {
    lacks make && return
    begin make
    cp "$here/make/Makefile" .
    cp -r "$root/slm.c" "$root/slm.h" "$root/src" "$root/kernels" third_party/slm/
    MAKEFLAGS='' timed make
    finish host slm.o 'make, the tree of `slm.c`, `src/` and `kernels/`, `cc -O2`'
}

build_cmake() {
    lacks cmake && return
    begin cmake
    cp "$here/cmake/CMakeLists.txt" .
    cp host.c host_cpp.cpp
    cmake -S . -B out >cmake.log 2>&1
    MAKEFLAGS='' timed cmake --build out
    (cd "$root" && "$work/cmake/out/host_cpp") >said
    cmp said "$expected"
    finish out/host out/libslm.a 'CMake, Release, hosts in C and C++'
}

build_meson() {
    lacks meson ninja && return
    begin meson
    cp "$here/meson/meson.build" .
    meson setup out >meson.log 2>&1
    timed ninja -C out
    # A thin archive, of which size prints nothing.
    finish out/host "$(find out -name '*slm.c.o')" 'Meson, release'
}

mkdir -p "$work"
expected=$work/once
(cd "$root" && "$build/dist_test") >"$expected"
if [ "$(wc -c <"$expected")" -lt 60 ]; then
    echo "vendor: the story is too short to compare" >&2
    exit 1
fi
[ $# -gt 0 ] || set -- $builds
echo '| build | to build | code and constants |'
echo '|---|---|---|'
for which; do
    "build_$which"
done
echo "$n_built builds say the same, $n_skipped skipped"
