#!/bin/sh
# abi.sh BUILD [update] - holds slm.h against tests/abi.txt, the snapshot of everything a compiled
# caller relies on (tests/abi.awk says what that is), or writes the snapshot anew.
#
# With SLM_ABI 0, or raised since the snapshot, anything may be written. Else only additions: a new
# function or constant, or a field behind the others of a struct that tells its size.
snapshot=tests/abi.txt
work=$1/abi
export LC_ALL=C
mkdir -p "$work" || exit 1
awk -f tests/abi.awk slm.h >"$work/abi.c" || exit 1
${CC:-cc} -Wall -Wextra -Werror -I. "$work/abi.c" -o "$work/abi" || exit 1
"$work/abi" >"$work/abi.txt"
status=$?
[ $status = 77 ] && tail -n 1 "$work/abi.txt"
[ $status = 0 ] || exit $status

abi_of() {
    sed -n 's/^constant SLM_ABI: //p' "$1"
}

# Lines that no addition takes away; the sizes of structs that may grow are none.
lasting() {
    grep -v ', may grow$' "$1" | sort
}

if [ "$2" = update ]; then
    was=$(abi_of $snapshot 2>/dev/null)
    if [ "${was:-0}" != 0 ] && [ "$was" = "$(abi_of "$work/abi.txt")" ]; then
        lasting $snapshot >"$work/was"
        lasting "$work/abi.txt" >"$work/is"
        comm -23 "$work/was" "$work/is" >"$work/gone"
        if [ -s "$work/gone" ]; then
            cat "$work/gone"
            echo "abi: these are published as ABI $was: put them back, or raise SLM_ABI" >&2
            exit 1
        fi
    fi
    cp "$work/abi.txt" $snapshot || exit 1
    echo "$snapshot: $(wc -l <$snapshot) lines; say in CHANGES.md what moved"
    exit 0
fi

if ! diff -u $snapshot "$work/abi.txt"; then
    echo "abi: slm.h is not what $snapshot says is published. If that is meant, run" \
        "'make abi-update' and say in CHANGES.md what moved; if not, put it back."
    exit 1
fi
echo "$(grep -c '^function ' $snapshot) functions, $(grep -c '^struct ' $snapshot) structs," \
    "$(grep -c '^constant ' $snapshot) constants as published (ABI $(abi_of $snapshot))"
