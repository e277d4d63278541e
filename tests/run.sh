#!/bin/sh
# run.sh BUILD NAME=COMMAND... - runs tests, or whole configurations of tests, from the repository
# root: a line for each, and a summary. Output goes to BUILD/logs/NAME.log and is shown where a test
# fails. Exit status 77 of a command means skipped, and its last line says why.
#
# Under make -jN they run N at a time, each line when its test is through; what runs tests of its own
# then takes these in turn.

# The summary of a run.sh inside, or what cmocka counts, or else the last line.
detail_of() {
    awk '/^[0-9]+ passed, [0-9]+ failed, / { summary = $0; sub(/, [0-9]+ s$/, "", summary) }
        /^\[  (PASSED |SKIPPED|FAILED )/ { n[$2] += $4; seen = 1 }
        { last = $0 }
        END { if (summary != "") print summary
              else if (!seen) print substr(last, 1, 100)
              else { printf "%d tests passed", n["PASSED"]
                     if (n["SKIPPED"]) printf ", %d skipped", n["SKIPPED"]
                     if (n["FAILED"]) printf ", %d failed", n["FAILED"] } }' "$1"
}

run_one() { # BUILD NAME=COMMAND
    name=${2%%=*}
    log=$1/logs/$name.log
    start=$(date +%s)
    sh -c "${2#*=}" >"$log" 2>&1
    status=$?
    seconds=$(($(date +%s) - start))
    detail=$(detail_of "$log")
    case $status in
    0) word=ok ;;
    77) word=skipped detail=${detail#skipped: } ;;
    *) word=FAILED detail="$detail
---- the end of $log (exit status $status)
$(grep -vE '^\[ RUN      \]|^\[       OK \]|^ok ' "$log" | tail -n 40)
----" ;;
    esac
    # One write, whatever else runs.
    printf '%-8s%-20s%4d s  %s\n' "$word" "$name" "$seconds" "$detail"
    echo "$word" >>"$1/logs/results"
}

if [ "$1" = --one ]; then
    run_one "$2" "$3"
    exit 0
fi

build=$1
shift
flags=" $MAKEFLAGS"
jobs=${flags#* -j}
[ "$jobs" != "$flags" ] || jobs=1
jobs=${RUN_JOBS:-${jobs%%[!0-9]*}}
[ $# = 1 ] || export RUN_JOBS=1
begin=$(date +%s)
mkdir -p "$build/logs"
: >"$build/logs/results"
printf '%s\0' "$@" | xargs -0 -n 1 -P "${jobs:-1}" "$0" --one "$build"
passed=$(grep -c ok "$build/logs/results")
skipped=$(grep -c skipped "$build/logs/results")
failed=$(($# - passed - skipped))
echo "$passed passed, $failed failed, $skipped skipped, $(($(date +%s) - begin)) s"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
