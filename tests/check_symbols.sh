#!/bin/sh
# check_symbols.sh BUILD - what slm asks of a host, seen in the object file of a plain -O2 compile:
#   - it imports only what tests/symbols.allow lists;
#   - it has no mutable data: no byte in .data, .bss, .tdata, .init_array (.data.rel.ro is constant);
#   - it exports exactly the functions that slm.h declares, all of them slm_*;
#   - the SLM_PREFIX block of slm.h renames exactly these functions.
build=$1
work=$build/symbols
export LC_ALL=C
if [ "$(uname -s)" != Linux ]; then
    echo "skipped: reads ELF object files"
    exit 77
fi
for tool in nm objdump; do
    command -v $tool >/dev/null || { echo "skipped: no $tool here (package binutils)"; exit 77; }
done
mkdir -p "$work"
failed=0

complain() {
    echo "symbols: $1"
    sed 's/^/    /' "$2"
    failed=1
}

# The lines of $1 that are not in $2; both sorted.
extra() {
    comm -23 "$1" "$2" >"$work/extra"
    [ -s "$work/extra" ]
}

compilers=
for cc in gcc clang; do
    command -v $cc >/dev/null && compilers="$compilers $cc"
done
[ -n "$compilers" ] || compilers=cc
set -- $compilers

# ---- What the header declares ----

# Names of the functions declared, after the preprocessor has seen slm.h with these options.
declared() {
    "$cc" -E -P -x c "$@" '-DSLM_API=SLM_DECLARED' slm.h | tr '\n' ' ' |
        grep -o 'SLM_DECLARED [^(;]*(' | sed 's/.*[ *]\([A-Za-z_0-9]*\) *($/\1/' | sort
}
cc=$1
declared >"$work/declared"
sed 's/^slm_/acme_/' "$work/declared" | sort >"$work/renamed"
declared -DSLM_PREFIX=acme_ >"$work/prefixed"
sed -n 's/^#define \(slm_[a-z_0-9]*\) SLM_NAME(.*/\1/p' slm.h | sort >"$work/listed"
[ "$(wc -l <"$work/declared")" -gt 10 ] || complain "slm.h: few declarations found" "$work/declared"
extra "$work/renamed" "$work/prefixed" && complain "slm.h: not renamed by SLM_PREFIX:" "$work/extra"
extra "$work/listed" "$work/declared" &&
    complain "slm.h: in the SLM_PREFIX block, but not declared:" "$work/extra"

# ---- What the objects have ----

sed 's/#.*//; s/[ \t]*$//; /^$/d' tests/symbols.allow | sort -u >"$work/allowed"
for cc in "$@"; do
    object=$work/slm-$cc.o
    "$cc" -O2 -c slm.c -o "$object" || exit 1
    nm -u "$object" | awk '{ print $NF }' | sort -u >"$work/imported"
    extra "$work/imported" "$work/allowed" &&
        complain "$cc: imported, but not in tests/symbols.allow:" "$work/extra"
    nm -g --defined-only "$object" | awk '{ print $3 }' | sort >"$work/exported"
    extra "$work/exported" "$work/declared" &&
        complain "$cc: exported, but not declared in slm.h:" "$work/extra"
    extra "$work/declared" "$work/exported" &&
        complain "$cc: declared in slm.h, but not defined:" "$work/extra"
    objdump -h "$object" | awk '$2 ~ /^\.(data|bss|tdata|tbss|init_array|fini_array|ctors|dtors)/ &&
        $2 !~ /^\.data\.rel\.ro/ && $3 !~ /^0*$/ { print $2, "0x" $3, "bytes" }' >"$work/mutable"
    if [ -s "$work/mutable" ]; then
        objdump -t "$object" | grep -E ' O \.(data|bss|tdata|tbss)' |
            grep -v 'data\.rel\.ro' >>"$work/mutable"
        complain "$cc: mutable data:" "$work/mutable"
    fi
done

# The renaming once more, in an object: a copy of slm that is somebody's own.
"$cc" -O0 -DSLM_NO_SIMD -DSLM_PREFIX=acme_ -c slm.c -o "$work/acme.o" || exit 1
nm -g --defined-only "$work/acme.o" | awk '{ print $3 }' | sort >"$work/exported"
extra "$work/exported" "$work/renamed" && complain "exported under SLM_PREFIX=acme_:" "$work/extra"

nm -D --defined-only "$build/libslm.so" | awk '{ print $3 }' | sort >"$work/exported"
extra "$work/exported" "$work/declared" && complain "libslm.so exports:" "$work/extra"
extra "$work/declared" "$work/exported" && complain "libslm.so lacks:" "$work/extra"

[ $failed = 0 ] && echo "$(wc -l <"$work/declared") functions, $(wc -l <"$work/imported") imports, no mutable data ($*)"
exit $failed
