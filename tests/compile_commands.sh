#!/bin/sh
# compile_commands.sh - writes build/compile_commands.json for clangd and clang-tidy.
#
# Modules include nothing themselves. So each gets a prefix header, slm.c up to the line that includes
# the module, and a command that puts it in front.
set -e
root=$(pwd)
out=build/compile_commands
mkdir -p $out
json=build/compile_commands.json
separator=''

# entry FILE OPTION...
entry() {
    file=$1
    shift
    printf '%s\n  {"directory": "%s", "file": "%s", "arguments": ["cc", "-I.", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-unused-function"' \
        "$separator" "$root" "$file" >>$json
    for option in "$@" -c "$file"; do
        printf ', "%s"' "$option" >>$json
    done
    printf ']}' >>$json
    separator=,
}

printf '[' >$json
entry slm.c -std=c11
grep -n '^#include "' slm.c | grep -v '"slm.h"' | tr ':"' '  ' | while read -r line _ module; do
    prefix=$out/$(echo "$module" | tr / _).h
    head -n $((line - 1)) slm.c >"$prefix"
    entry "$module" -x c -std=c11 -include "$prefix"
done
separator=,
for file in examples/*.c examples/cli/*.c tests/*.c tests/dist/*.c bench/*.c; do
    [ -f "$file" ] && entry "$file" -std=gnu11
done
printf '\n]\n' >>$json
echo "$json: $(grep -c '"file"' $json) entries"
