#!/bin/sh
# portability.sh BUILD [NAME...] - slm as other compilers, standards, switches, C libraries, word
# sizes and byte orders see it. A line for each configuration and a summary; what the machine has no
# compiler or emulator for is skipped, and the line says which package has it.
#
#     tests/portability.sh build             all
#     tests/portability.sh build s390x       one
#     tests/portability.sh build --one NAME  the same without the frame of tests/run.sh
#
# What runs tells a story with the reference kernels (tests/portability/story.c): the text, and the
# bits of all logits, must be those of the plain build on this machine. x87 owes the text alone, as
# it rounds twice. Where there is no cmocka, tests/portability/cmocka.h stands in for it.
build=$1
work=$build/portability
names='header strict_c11 cxx17 no_threads no_files no_simd no_threads_no_files nothing
    i386_x87 i386_sse aarch64 s390x powerpc musl mingw64 macos'
strict='-Wall -Wextra -Wshadow -Werror'
mkdir -p "$work" || exit 1
export LC_ALL=C

# The story as this machine's own compiler has it.
expected() {
    ${CC:-cc} -O2 tests/portability/story.c slm.c -o "$work/expected" -pthread &&
        "$work/expected" >"$work/expected.txt"
}

if [ "$2" != --one ]; then
    shift
    wanted=${*:-$names}
    set --
    for name in $wanted; do
        set -- "$@" "$name=tests/portability.sh $build --one $name"
    done
    expected || exit 1
    exec tests/run.sh "$work" "$@"
fi
name=$3
[ -s "$work/expected.txt" ] || expected || exit 1

skip() {
    echo "skipped: $1"
    exit 77
}

needs() { # COMMAND PACKAGE
    command -v "$1" >/dev/null || skip "no $1 here (package $2)"
}

compilers() {
    for cc in gcc clang; do
        command -v $cc >/dev/null && echo $cc
    done
}

# story NAME COMPILER OPTION... - builds it.
story() {
    out=$work/story-$1
    shift
    "$@" -O2 $strict tests/portability/story.c slm.c -o "$out" -pthread
}

# tells EMULATOR... - runs what `story` built; text and bits as told by the plain build.
tells() {
    "$@" "$out" >"$out.txt" || return 1
    cmp "$work/expected.txt" "$out.txt"
}

# suite "COMPILER OPTION..." "EMULATOR" TEST... - tests built the way of `make test`, and run. Their
# own arithmetic must not be fused either: its results are compared bit for bit.
suite() {
    compile=$1
    emulator=$2
    shift 2
    for test in "$@"; do
        program=$work/$name-$test.exe # what Windows runs, too
        sources=tests/$test.c
        grep -q '^#include "../slm.c"' "$sources" || sources="$sources slm.c"
        echo "$name: $test"
        # shellcheck disable=SC2086
        $compile -O2 -ffp-contract=off -Wall -Wextra -Itests/portability $sources -o "$program" -pthread -lm &&
            $emulator "$program" >"$program.log" 2>&1 || {
            tail -n 20 "$program.log"
            return 1
        }
        tail -n 1 "$program.log"
    done
}

units='test_math test_unicode test_dequant test_gguf test_limits test_sampler test_tokenizer'

# One that only has to tell the story, natively.
switches() {
    for cc in $(compilers); do
        story "$name-$cc" $cc -std=c11 -pedantic "$@" && tells || return 1
    done
    echo "$(echo $(compilers)): the story, bit for bit, with $*"
}

case $name in
header)
    for cc in $(compilers); do
        for std in c99 c11 c17 c2x; do
            $cc -x c -std=$std -pedantic $strict -Wconversion -fsyntax-only -include slm.h /dev/null ||
                exit 1
        done
        for std in c++11 c++14 c++17 c++20; do
            $cc -x c++ -std=$std -pedantic $strict -Wconversion -Wold-style-cast -fsyntax-only \
                -include slm.h /dev/null || exit 1
        done
    done
    echo "$(echo $(compilers)): slm.h alone in C99 to C23 and C++11 to C++20"
    ;;
strict_c11) switches -std=c11 -pedantic -Wconversion ;;
cxx17)
    for cc in $(compilers); do
        $cc -x c++ -std=c++17 -O2 $strict tests/portability/story.c slm.c -x none \
            -o "$work/story-cxx17-$cc" -pthread -lstdc++ || exit 1
        out=$work/story-cxx17-$cc
        tells || exit 1
    done
    echo "$(echo $(compilers)): the story, bit for bit, all of it compiled as C++17"
    ;;
no_threads) switches -DSLM_NO_THREADS ;;
no_files) switches -DSLM_NO_FILES ;;
no_simd) switches -DSLM_NO_SIMD ;;
no_threads_no_files) switches -DSLM_NO_THREADS -DSLM_NO_FILES ;;
nothing) switches -DSLM_NO_THREADS -DSLM_NO_FILES -DSLM_NO_SIMD ;;
i386_x87 | i386_sse)
    # The headers of the kernel are the same for both word sizes, but lie where gcc -m32 looks only
    # with a package that excludes all cross compilers.
    cc="gcc -m32 -idirafter /usr/include/$(gcc -print-multiarch)"
    [ $name = i386_sse ] && cc="$cc -msse2 -mfpmath=sse"
    echo 'int main(void) { return 0; }' | $cc -x c - -o "$work/$name-probe" 2>/dev/null ||
        skip "gcc -m32 links nothing here (package gcc-12-multilib)"
    story $name $cc || exit 1
    if [ $name = i386_x87 ]; then
        "$out" | sed '$d' >"$out.txt" && sed '$d' "$work/expected.txt" | cmp - "$out.txt" || exit 1
    else
        tells || exit 1
    fi
    suite "$cc" "" $units check_kernels test_golden
    ;;
aarch64 | s390x | powerpc)
    arch=$name
    emulator=$name
    [ $name = powerpc ] && emulator=ppc
    needs $arch-linux-gnu-gcc gcc-$arch-linux-gnu
    needs qemu-$emulator qemu-user
    story $name $arch-linux-gnu-gcc -static && tells qemu-$emulator || exit 1
    # powerpc: qemu's processor has no square root for the libm that test_math compares with.
    # Big endian: test_dequant and check_kernels write float weights as the machine has them.
    case $name in
    aarch64) set -- $units check_kernels ;;
    s390x) set -- test_math test_unicode test_gguf test_limits test_sampler test_tokenizer ;;
    powerpc) set -- test_unicode test_gguf test_limits test_sampler test_tokenizer ;;
    esac
    suite "$arch-linux-gnu-gcc -static" qemu-$emulator "$@" test_golden
    ;;
musl)
    needs musl-gcc musl-tools
    story musl musl-gcc -static && tells || exit 1
    suite "musl-gcc -static" "" $units test_golden
    ;;
mingw64)
    needs x86_64-w64-mingw32-gcc gcc-mingw-w64-x86-64-win32
    story mingw64.exe x86_64-w64-mingw32-gcc -static || exit 1
    x86_64-w64-mingw32-gcc -O2 $strict -static examples/hello.c slm.c -o "$work/hello.exe" || exit 1
    command -v wine >/dev/null || {
        echo "built; not run: no wine here"
        exit 0
    }
    WINEPREFIX=$(cd "$work" && pwd)/wine
    export WINEPREFIX WINEDEBUG=-all
    tells wine || exit 1
    # Without test_math: what stands for libm there is no oracle, sqrt is off by a bit.
    suite "x86_64-w64-mingw32-gcc -static" wine ${units#test_math } test_golden
    ;;
macos)
    needs clang clang
    # A compiler without a system: the headers are ours, so this shows that the branch is C and
    # imports what the system has, and no more than that.
    headers=$work/macos
    mkdir -p "$headers/sys"
    awk -v to="$headers" '/^==== / { file = to "/" $2; next } file != "" { print >file }' \
        tests/portability/macos.txt
    for target in arm64-apple-macos11 x86_64-apple-macos11; do
        clang --target=$target -std=c11 -ffreestanding -nostdlibinc -O1 $strict -isystem "$headers" -c slm.c \
            -o "$work/macos.o" || exit 1
    done
    echo "compiled for arm64 and x86-64 with stub headers; never run"
    ;;
*)
    echo "no configuration '$name'; there are: $names" >&2
    exit 1
    ;;
esac
