#!/bin/sh
# portability.sh BUILD NAME - slm as another compiler, standard, switch, C library, word size or byte
# order sees it: one configuration, which says what it did in its last line. What the machine has no
# compiler or emulator for is skipped (exit status 77), and the line says which package has it. The
# Makefile has the list of names; `make check-NAME` runs one.
#
# What runs tells a story with the reference kernels (tests/portability/story.c): the text, and the
# bits of all logits, must be those of the plain build on this machine, BUILD/portability/expected.txt,
# which the Makefile makes. x87 owes the text alone, as it rounds twice. Where there is no cmocka,
# tests/portability/cmocka.h stands in for it.
#
# shellcheck disable=SC2046,SC2086 # options and tests are words of one string
build=$1
name=$2
work=$build/portability
strict='-Wall -Wextra -Wshadow -Werror'
mkdir -p "$work" || exit 1
export LC_ALL=C

skip() {
    echo "skipped: $1"
    exit 77
}

needs() { # COMMAND PACKAGE
    command -v "$1" >/dev/null || skip "no $1 here (package $2)"
}

compilers=
for cc in gcc clang; do
    command -v $cc >/dev/null && compilers="$compilers${compilers:+ }$cc"
done

# story NAME COMPILER OPTION... - builds it.
story() {
    out=$work/story-$1
    shift
    "$@" ${level:--O2} $strict tests/portability/story.c slm.c -o "$out" -pthread
}

# tells EMULATOR... - runs what `story` built; text and bits as told by the plain build.
tells() {
    "$@" "$out" >"$out.txt" || return 1
    cmp "$work/expected.txt" "$out.txt"
}

# One that only has to tell the story, natively.
# Compiled the quick way, with asserts: switches are not about the code of kernels.
switches() {
    level='-O1 -DSLM_DEBUG'
    for cc in $compilers; do
        story "$name-$cc" $cc -std=c11 -pedantic "$@" && tells || exit 1
    done
    echo "$compilers: the story, bit for bit, with $*"
}

# suite "COMPILER" "OPTIONS" "EMULATOR" TEST... - the tests as the Makefile builds them, and run. Their
# own arithmetic must not be fused either: its results are compared bit for bit.
suite() {
    folder=$build/$name
    compiler=$1
    options=$2
    emulator=$3
    shift 3
    mkdir -p "$folder"
    ar rcs "$folder/libcmocka.a" # empty: the stand-in is a header
    ${MAKE:-make} -s --no-print-directory BUILD="$folder" CC="$compiler" AR="${ar:-ar}" \
        CPPFLAGS=-Itests/portability CFLAGS='-O2 -ffp-contract=off' LDFLAGS="$options -L$folder" \
        $(printf "$folder/%s " "$@") || exit 1
    for test in "$@"; do
        shift
        [ -f "$folder/$test.exe" ] && program=$test.exe || program=$test # as Windows' linkers add it
        set -- "$@" "$test=$emulator $folder/$program"
    done
    tests/run.sh "$folder" "$@"
}

# The tests but those named. test_process loads the shared library, which is not built here.
tests_without() {
    for test in check_kernels $(cd tests && ls test_*.c); do
        case " test_process $* " in
        *" ${test%.c} "*) ;;
        *) echo "${test%.c}" ;;
        esac
    done
}

# cross ARCHITECTURE EMULATOR TEST... - what gcc compiles for it, story and suite, under that qemu.
cross() {
    needs "$1-linux-gnu-gcc" "gcc-$1-linux-gnu"
    needs "${2%% *}" qemu-user
    ar=$1-linux-gnu-ar
    compiler=$1-linux-gnu-gcc
    emulator=$2
    export EMULATED="$2" # for tests of what an emulator cannot do
    shift 2
    story "$name" "$compiler" -static || exit 1
    tells $emulator || exit 1
    suite "$compiler" -static "$emulator" "$@"
}

case $name in
header)
    for cc in $compilers; do
        for std in c99 c11 c17 c2x; do
            $cc -x c -std=$std -pedantic $strict -Wconversion -fsyntax-only -include slm.h /dev/null ||
                exit 1
        done
        for std in c++11 c++14 c++17 c++20; do
            $cc -x c++ -std=$std -pedantic $strict -Wconversion -Wold-style-cast -fsyntax-only \
                -include slm.h /dev/null || exit 1
        done
    done
    echo "$compilers: slm.h alone in C99 to C23 and C++11 to C++20"
    ;;
strict_c11) switches -Wconversion ;;
cxx17)
    for cc in $compilers; do
        $cc -x c++ -std=c++17 -O2 $strict tests/portability/story.c slm.c -x none \
            -o "$work/story-cxx17-$cc" -pthread -lstdc++ || exit 1
        out=$work/story-cxx17-$cc
        tells || exit 1
    done
    echo "$compilers: the story, bit for bit, all of it compiled as C++17"
    ;;
no_threads) switches -DSLM_NO_THREADS ;;
no_files) switches -DSLM_NO_FILES ;;
no_simd) switches -DSLM_NO_SIMD ;;
no_threads_no_files) switches -DSLM_NO_THREADS -DSLM_NO_FILES ;;
nothing) switches -DSLM_NO_THREADS -DSLM_NO_FILES -DSLM_NO_SIMD ;;
minimal)
    # As firmware has it, but for doubles; then with messages, which must say what was left out.
    for cc in $compilers; do
        $cc -std=c11 -O0 -DSLM_DEBUG $strict @examples/firmware/minimal.flags \
            tests/portability/left_out.c slm.c -o "$work/left_out-$cc" && "$work/left_out-$cc" || exit 1
    done
    switches @examples/firmware/minimal.flags -DSLM_NO_ERRORS
    ;;
chat)
    # Templates, computed in double.
    level='-O1 -DSLM_DEBUG'
    talk() { # NAME OPTION...
        program=$work/chat-$1
        shift
        $cc -std=c11 $level $strict "$@" tests/portability/chat.c slm.c -o "$program" -pthread &&
            "$program" >"$program.txt" && cmp "$work/chat-plain.txt" "$program.txt"
    }
    cc=${compilers%% *}
    $cc $level -DSLM_NO_SIMD tests/portability/chat.c slm.c -o "$work/chat-plain" -pthread &&
        "$work/chat-plain" >"$work/chat-plain.txt" || exit 1
    talk no_tools @examples/firmware/chat.flags -DSLM_NO_TOOLS -DSLM_NO_MESSAGES -DSLM_SMALL || exit 1
    for cc in $compilers; do
        talk tools @examples/firmware/chat.flags || exit 1
    done
    switches @examples/firmware/chat.flags
    ;;
families)
    # Each family alone, with what src/arch/families.h says that it needs and no more.
    n=0
    for family in $(sed -n 's/^ *X(\([a-z0-9_]*\),.*/\1/p' src/arch/families.h); do
        pattern=$(echo "$family" | sed 's/_/[-_]/g')
        files=$(grep -lE "^kv general.architecture str \"$pattern\"" tests/golden/models/*.txt) || {
            echo "no golden vectors: $family"
            exit 1
        }
        ${CC:-cc} -O1 -DSLM_DEBUG -DSLM_NO_SIMD -DSLM_SMALL -DSLM_ONLY_FAMILIES "-DSLM_FAMILY_$family" \
            tests/test_golden.c slm.c -o "$work/family" -pthread -lm || exit 1
        "$work/family" --threads 1 $files || exit 1
        n=$((n + 1))
    done
    echo "$n families, each by itself"
    ;;
no_double)
    # Without a double the logits are others; the golden vectors are what they owe.
    ${MAKE:-make} -s --no-print-directory BUILD="$build/$name" \
        CPPFLAGS='-DSLM_NO_DOUBLE -DSLM_NO_CHAT -DSLM_NO_SIMD' CFLAGS='-O2 -DSLM_DEBUG' \
        "$build/$name/test_golden" || exit 1
    "$build/$name/test_golden" --threads 1
    ;;
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
    suite "$cc" "" "" $(tests_without)
    ;;
aarch64) cross aarch64 qemu-aarch64 $(tests_without) ;;
aarch64-*) # another processor
    model=${name#aarch64-}
    needs qemu-aarch64 qemu-user
    qemu-aarch64 -cpu help | grep -qw -- "$model" ||
        skip "no $model in $(qemu-aarch64 --version | head -n 1)"
    cross aarch64 "qemu-aarch64 -cpu $model" check_kernels test_golden
    ;;
s390x)
    # Big endian. check_kernels writes float weights as the machine has them.
    cross s390x qemu-s390x $(tests_without check_kernels)
    ;;
powerpc)
    # Big endian and 32 bits. qemu's processor has no square root for the libm that test_math
    # compares with.
    cross powerpc qemu-ppc $(tests_without check_kernels test_math)
    ;;
musl)
    needs musl-gcc musl-tools
    story musl musl-gcc -static && tells || exit 1
    suite musl-gcc -static "" $(tests_without)
    ;;
mingw64)
    needs x86_64-w64-mingw32-gcc gcc-mingw-w64-x86-64-win32
    story mingw64.exe x86_64-w64-mingw32-gcc -static || exit 1
    x86_64-w64-mingw32-gcc -O2 $strict -static examples/hello.c slm.c -o "$work/hello.exe" || exit 1
    command -v wine >/dev/null || {
        echo "built; not run: no wine here (package wine64)"
        exit 0
    }
    WINEPREFIX=$(cd "$work" && pwd)/wine
    export WINEPREFIX WINEDEBUG=-all
    tells wine || exit 1
    # Without test_math: what stands for libm there is no oracle, sqrt is off by a bit. The others are
    # about what POSIX has.
    ar=x86_64-w64-mingw32-ar
    suite x86_64-w64-mingw32-gcc -static wine \
        $(tests_without test_math test_platform test_shapes test_sweep test_threads)
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
        clang --target=$target -std=c11 -ffreestanding -nostdlibinc -O0 -DSLM_DEBUG $strict -isystem "$headers" -c slm.c \
            -o "$work/macos.o" || exit 1
    done
    echo "compiled for arm64 and x86-64 with stub headers; never run"
    ;;
*)
    echo "no configuration '$name': CHECK and CHECK_LONG in the Makefile have those there are" >&2
    exit 1
    ;;
esac
