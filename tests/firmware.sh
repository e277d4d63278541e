#!/bin/sh
# firmware.sh BUILD BOARD... - examples/firmware: what slm.c asks for on bare metal is what
# tests/firmware.allow lists, no double among it; it is no larger than it may be; and the machines that
# qemu plays, cortex-m and riscv, tell the host's story.
#
# shellcheck disable=SC2086 # tools are words of one string
build=$(cd "$1" && pwd)/firmware
shift
# Text and constants of slm.o for the Cortex-M7 with examples/firmware/minimal.flags.
budget=65536
make="${MAKE:-make} -s --no-print-directory -C examples/firmware BUILD=$build"
export LC_ALL=C

needs() { # COMMAND PACKAGE
    command -v "$1" >/dev/null || {
        echo "skipped: no $1 here (package $2)"
        exit 77
    }
}
for board in "$@"; do
    case $board in
    cortex-m)
        needs arm-none-eabi-gcc "gcc-arm-none-eabi, libnewlib-arm-none-eabi"
        needs qemu-system-arm qemu-system-arm
        ;;
    riscv)
        needs riscv64-unknown-elf-gcc "gcc-riscv64-unknown-elf, picolibc-riscv64-unknown-elf"
        needs qemu-system-riscv64 qemu-system-misc
        ;;
    esac
done

failed=0
complain() {
    echo "firmware: $1"
    sed 's/^/    /' "$2"
    failed=1
}

mkdir -p "$build"
$make "$build/story-host" || exit 1
"$build/story-host" | sed '/^-- /d' >"$build/expected.txt" || exit 1
[ "$(wc -w <"$build/expected.txt")" -gt 30 ] || complain "no story:" "$build/expected.txt"

sed 's/#.*//; s/[ \t]*$//; /^$/d' tests/firmware.allow | sort >"$build/allowed"
size=
for board in "$@"; do
    $make "$build/story-$board.elf" || exit 1
    case $board in
    cortex-m)
        nm=arm-none-eabi-nm
        size=$(arm-none-eabi-size "$build/slm-$board.o" | awk 'NR == 2 { print $1 + $2 + $3 }')
        [ "$size" -le $budget ] || {
            echo "firmware: slm.o has $size bytes, $budget are the budget"
            failed=1
        }
        ;;
    riscv) nm=riscv64-unknown-elf-nm ;;
    esac
    $nm -u "$build/slm-$board.o" | awk '{ print $NF }' | sort -u >"$build/imported"
    comm -23 "$build/imported" "$build/allowed" >"$build/extra"
    [ ! -s "$build/extra" ] || complain "$board: imported, but not in tests/firmware.allow:" "$build/extra"
    # The subroutines of libgcc, too, are free of doubles.
    $nm "$build/story-$board.elf" | grep -E ' (__aeabi_([a-z0-9]*2d|d[a-z0-9]*)|__[a-z]*df[a-z0-9]*)$' >"$build/extra" &&
        complain "$board: arithmetic in double:" "$build/extra"
    timeout 300 $make run-$board >"$build/$board.txt" || complain "$board: failed:" "$build/$board.txt"
    sed '/^-- /d' "$build/$board.txt" | cmp "$build/expected.txt" - || complain "$board tells:" "$build/$board.txt"
done
[ $failed = 0 ] && echo "$*: the host's story, without doubles${size:+, slm.o of $size bytes}"
exit $failed
