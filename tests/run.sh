#!/bin/sh
# run.sh BUILD NAME=COMMAND... - runs tests from the repository root: a line for each, and a summary.
# Output goes to BUILD/logs/NAME.log and is shown where a test fails. Exit status 77 of a command
# means skipped, and its last line says why.
build=$1
shift
mkdir -p "$build/logs"
failed=0
passed=0
for test in "$@"; do
    name=${test%%=*}
    log=$build/logs/$name.log
    start=$(date +%s)
    sh -c "${test#*=}" >"$log" 2>&1
    status=$?
    seconds=$(($(date +%s) - start))
    # What cmocka counts, or else the last line.
    detail=$(awk '/^\[  (PASSED |SKIPPED|FAILED )/ { n[$2] += $4; seen = 1 }
        END { if (seen) printf "%d tests passed", n["PASSED"]
              if (n["SKIPPED"]) printf ", %d skipped", n["SKIPPED"]
              if (n["FAILED"]) printf ", %d failed", n["FAILED"] }' "$log")
    [ -n "$detail" ] || detail=$(tail -n 1 "$log" | cut -c 1-100)
    case $status in
    0) word=ok passed=$((passed + 1)) ;;
    77) word=skipped ;;
    *) word=FAILED failed=$((failed + 1)) ;;
    esac
    printf '%-8s%-20s%4d s  %s\n' "$word" "$name" "$seconds" "$detail"
    if [ "$word" = FAILED ]; then
        echo "---- $log (exit status $status)"
        grep -vE '^\[ RUN      \]|^\[       OK \]|^ok ' "$log" | tail -n 40
        echo "----"
    fi
done
echo "$passed passed, $failed failed, $(($# - passed - failed)) skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
