#!/bin/sh
# run.sh BUILD - tests of slm.hpp with every C++ compiler there is, from the repository root: as C++17
# and C++20, with and without exceptions, under address and undefined-behaviour sanitizers or the thread
# sanitizer; the chat program; the C++ programs of the READMEs.
build=$1
work=$build/cpp
folder=examples/cpp
strict='-Wall -Wextra -Wshadow -Wconversion -Werror'
n=0
mkdir -p "$work" || exit 1

# compile COMPILER OPTION... OUT: a program of ours.
library=$build/libslm.a
compile() {
    "$@" $strict -I. -I$folder $library -pthread || exit 1
}

test_with() { # SANITIZERS COMPILER OPTION...
    sanitize="-O0 -g1 -fsanitize=$1 -fno-sanitize-recover=all"
    shift
    { echo 'int main() { return 0; }' | "$1" $sanitize -x c++ - -o "$work/test" && "$work/test"; } \
        2>"$work/probe" || {
        echo "no sanitizers with $1: without them"
        sanitize=-O0
    }
    compile "$@" $sanitize $folder/tests/test_slm.cpp -o "$work/test"
    "$work/test" || { echo "FAILED: $*"; exit 1; }
    n=$((n + 1))
}

# program COMPILER FILE: the ```cpp block of a README, built and run.
program() {
    awk '/^```cpp$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$2" >"$work/readme.cpp"
    [ -s "$work/readme.cpp" ] || { echo "no C++ program in $2"; exit 1; }
    compile "$1" -std=c++17 -O0 "$work/readme.cpp" -o "$work/readme"
    "$work/readme" >"$work/said" || exit 1
    [ "$(wc -c <"$work/said")" -gt 100 ] || { echo "the program of $2 says too little"; exit 1; }
}

for cxx in g++ clang++; do
    command -v $cxx >/dev/null || continue
    echo '#include <string>' | $cxx -x c++ -fsyntax-only - 2>/dev/null || continue
    found="$found $cxx"
    case $cxx in
    g++)
        test_with address,undefined $cxx -std=c++17 -fno-exceptions -fno-rtti
        test_with address,undefined $cxx -std=c++20 -DSLM_CPP_EXCEPTIONS
        # What the library's own threads do it does not see: it must not look at the library at all.
        ln -sf "$(cd "$build" && pwd)/libslm.so" "$work/libslm.so.1"
        library="$work/libslm.so.1 -Wl,-rpath,$(cd "$work" && pwd)"
        TSAN_OPTIONS=ignore_noninstrumented_modules=1 test_with thread $cxx -std=c++17 -DSLM_CPP_EXCEPTIONS
        library=$build/libslm.a
        ;;
    clang++)
        test_with address,undefined $cxx -std=c++20
        test_with address,undefined $cxx -std=c++17 -DSLM_CPP_EXCEPTIONS
        ;;
    esac
done
[ $n -gt 0 ] || { echo "skipped: no C++ compiler here"; exit 77; }
set -- $found
compile "$1" -std=c++17 -O0 $folder/chat.cpp -o "$work/chat"
printf 'Tell me a story.\nAnd then?\n\n' | "$work/chat" >"$work/said" || exit 1
[ "$(wc -l <"$work/said")" -gt 1 ] || exit 1
program "$1" README.md
program "$1" $folder/README.md
echo "$n builds with$found, the chat program, 2 programs of READMEs"
