#!/bin/sh
# slm chat from outside, in a pipe and on a terminal, with a model that answers by heart
# (tests/scripted_model.c) and with the story model.
#
# usage: tests/test_chat_cli.sh build/slm     (in the root of the repository, with build/scripted_model
#                                              and build/test_golden)

slm=$1
build=$(dirname "$slm")
story=examples/models/storyteller-q8_0.gguf
dir=$(mktemp -d "${TMPDIR:-/tmp}/slm-chat-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
model=$dir/scripted.gguf
talk=$dir/talk.jsonl
out=$dir/out
err=$dir/err
failures=0
checks=0

check() {
    checks=$((checks + 1))
    what=$1
    shift
    if ! "$@"; then
        failures=$((failures + 1))
        echo "FAILED: $what"
        sed 's/^/    stdout: /' "$out" | head -5
        sed 's/^/    stderr: /' "$err" | head -5
    fi
}

not() { ! "$@"; }
lines() { wc -l <"$1" | tr -d ' '; }
says() { grep -q -- "$1" "$err"; }
is() { printf '%b' "$1" | cmp -s - "$out"; }

# chat CODE INPUT WORDS...: INPUT has printf's escapes.
chat() {
    expected=$1
    printf '%b' "$2" >"$dir/in"
    shift 2
    "$slm" chat -m "$model" "$@" <"$dir/in" >"$out" 2>"$err"
    code=$?
    check "exit status $expected, not $code, of: slm chat $*" [ "$code" -eq "$expected" ]
}

"$build/scripted_model" "$model" || exit 1

# ---- Answers
chat 0 'Hi\n\nHi\n'
check "a line for each message" is 'Hello there all.\nHello there all.\n'
check "silence on stderr" [ ! -s "$err" ]
chat 0 'Hi' --think
check "reasoning is not the answer" is 'Hello there all.\n'
chat 0 'Hi\n/stats\n' --think
check "tokens of each kind" grep -q '^last answer  *6  *0  *5  *4  *0  *0 ' "$err"
chat 0 'Hi\n/stats\n' --think --think-budget 2
check "a budget" grep -q '^last answer  *6  *0  *4  *6  *0  *4 ' "$err"
check "and the answer all the same" is 'Hello there all.\n'
chat 0 'Hi\n/stats\n' --think --no-think
check "the last of --think and --no-think counts" grep -q '^last answer  *[0-9]*  *0  *0 ' "$err"
chat 1 'refuse\nHi\n'
check "what a template refuses is told, and the talk goes on" says 'I refuse'
check "without that message" is 'Hello there all.\n'
chat 0 'hostile\n'
check "in a pipe bytes go out as they are" is 'a\0033[2Jb\0342\0202\0254\n'

# ---- Input
chat 0 'a\\\nb\n"""\n\n/c\n\n"""\n"""d"""\n"""e\nf"""\n//g\n/help\n' --save "$talk"
check "lines" grep -q '"content": "a\\nb"' "$talk"
check "a block, whose lines are no commands" grep -q '"content": "\\n/c\\n"\|"content": "/c\\n"' "$talk"
check "a block on a line" grep -q '"content": "d"' "$talk"
check "a block whose signs share lines with text" grep -q '"content": "e\\nf"' "$talk"
check "a slash that is no command" grep -q '"content": "/g"' "$talk"
check "help" says '^  /retry '
rm "$talk"
chat 0 'x"\\y\t\0001\0177\0377\0342\0202z\0342\0200\0250' --save "$talk"
check "any bytes become JSON" grep -qF '"content": "x\"\\y\u0009\u0001\u007f' "$talk"
check "bytes that are no characters become U+FFFD" \
    grep -q "$(printf '\357\277\275\357\277\275.*z\342\200\250')" "$talk"
chat 0 '' --load "$talk"
chat 1 '/frobnicate\n/help me\n'
check "unknown commands" says 'no command /frobnicate'
check "arguments of those without" says '/help takes no argument'
check "are not said to the model" [ ! -s "$out" ]
chat 0 'Hi\n/exit\nHi\n'
check "/exit leaves" is 'Hello there all.\n'
chat 0 'Hi\n/quit'
check "so does /quit" is 'Hello there all.\n'

# ---- History
rm "$talk"
chat 0 'one\n' --save "$talk" --system 'Be "nice".'
chat 0 'two\n' --save "$talk" --think
cat >"$dir/wanted" <<'END'
{"role": "system", "content": "Be \"nice\"."}
{"role": "user", "content": "one"}
{"role": "assistant", "content": "Hello there all."}
{"role": "user", "content": "two"}
{"role": "assistant", "content": "Hello there all.", "reasoning_content": "One two three four"}
END
check "a talk goes on in its file" cmp "$talk" "$dir/wanted"
chat 0 '/undo\n/stats\n' --save "$talk"
check "/undo takes a turn back" says '^3 messages'
head -3 "$dir/wanted" >"$dir/three"
check "in the file, too" cmp "$talk" "$dir/three"
chat 0 'two\n/retry\n/retry\n' --save "$talk" --think
check "/retry answers again" is 'Hello there all.\nHello there all.\nHello there all.\n'
check "and keeps one answer" cmp "$talk" "$dir/wanted"
chat 0 '/system Be brief.\n/clear\n/stats\nthree\n' --save "$talk"
check "/system replaces instructions" [ "$(head -1 "$talk")" = '{"role": "system", "content": "Be brief."}' ]
check "/clear leaves the file" [ "$(lines "$talk")" -eq 5 ]
check "and says so" says 'no longer saved'
check "/clear keeps the instructions alone" says '^1 messages'
chat 0 '/system\n/stats\n' --load "$talk"
check "/system without text removes them" says '^4 messages'
chat 0 "/load $talk\n/stats\nfour\n" --system x
check "/load goes on with another talk" says '^5 messages'
check "in its file" [ "$(lines "$talk")" -eq 7 ]
chat 1 "/save $talk\n"
check "/save overwrites no file" says 'exists; /load'
chat 1 'one\n' --save "$dir/missing/talk.jsonl"
check "a file that cannot be written is told before an answer is made" [ ! -s "$out" ]
check "with its name" says '^slm: cannot write .*/missing/talk.jsonl: '
chat 1 "/save $dir/missing/talk.jsonl\n/save\n"
check "/save tells it, too" says '^slm: cannot write .*/missing/talk.jsonl: '
check "and does not keep the name" says '^slm: /save FILE: to which file?'
chat 0 "one\n/save $dir/new.jsonl\ntwo\n"
check "/save saves what was and what comes" [ "$(lines "$dir/new.jsonl")" -eq 4 ]
chat 0 "five\n" --load "$dir/new.jsonl" --save "$dir/newer.jsonl"
check "from one file to another" [ "$(lines "$dir/newer.jsonl")" -eq 6 ]
check "and the first stays" [ "$(lines "$dir/new.jsonl")" -eq 4 ]
chat 1 "five\n" --load "$dir/new.jsonl" --save "$talk"
check "two talks are not mixed" says 'has a talk already'
chat 1 '' --load "$dir/missing.jsonl"
check "a missing file is told" says 'missing.jsonl'
printf '%s' "$(cat "$dir/new.jsonl")" >"$talk" # without the last newline
chat 0 'six\n' --save "$talk"
check "a last line without an end" [ "$(lines "$talk")" -eq 6 ]
printf '{"role": "user", "content": "\\ud83d\\ude00 \\u0041", "more": [1, {"x": null}]}\n\r\n' >"$talk"
chat 0 '/retry\n' --save "$talk"
check "what else a line says stays, blank lines do not matter" grep -qF '"more": [1, {"x": null}]}' "$talk"
check "a message without an answer gets one" is 'Hello there all.\n'

broken() {
    printf '{"role": "user", "content": "a"}\n%b\n' "$1" >"$talk"
    cp "$talk" "$dir/before"
    chat 1 'Hi\n' --save "$talk"
    check "one line of complaint, with the line's number: $1" \
        sh -c "[ \$(wc -l <'$err') -eq 1 ] && grep -q 'talk.jsonl, line 2: ' '$err'"
    check "and the file is as it was" cmp -s "$talk" "$dir/before"
    check "no answer" [ ! -s "$out" ]
}
broken '{"role": "assistant", "content": "b"'
broken '{"role": "user"}, {"role": "user"}'
broken '{"content": "no role"}'
broken '{"role": 1}'
broken '["role"]'
broken 'null'
broken '\0377\0376'
broken '{"role": "user", "content": "\0001"}'

# ---- Tools
rm -f "$talk"
cat >"$dir/tools" <<'END'
[{"type": "function", "function": {"name": "add", "description": "adds", "parameters":
  {"type": "object", "properties": {"a": {"type": "integer"}}}}}]
END
chat 0 'Hi\n{"sum": 3}\n' --tools "$dir/tools" --save "$talk"
check "a call, and what its result leads to" \
    is 'Wait.\n{"name": "add", "arguments": {"a": 1}}\nThe sum is 3.\n'
cat >"$dir/wanted" <<'END'
{"role": "user", "content": "Hi"}
{"role": "assistant", "content": "Wait.", "tool_calls": [{"id": "call00000", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]}
{"role": "tool", "tool_call_id": "call00000", "name": "add", "content": "{\"sum\": 3}"}
{"role": "assistant", "content": "The sum is 3."}
END
check "all of it is kept" cmp "$talk" "$dir/wanted"
chat 0 '/undo\n' --save "$talk"
check "and taken back at once" [ ! -s "$talk" ]
chat 1 'Hi\n' --tools "$dir/tools" --save "$talk"
check "without a result the turn is taken back" [ ! -s "$talk" ]
check "and that is told" says 'without a result'
printf '[' >"$dir/broken"
chat 1 'Hi\n' --tools "$dir/broken"
check "tools that are no JSON are told with their file" says "$dir/broken: "

# ---- The context
chat 0 'Hi\nHi\n/stats\n'
check "what is in the cache is not read again" grep -q '^last answer  *14  *9 ' "$err"
chat 1 'endless\n' --ctx 64 --save "$talk"
check "a full context is told, with what to do" says '^slm: the context is full.*/undo.*/clear.*--ctx'
check "what was said is kept" grep -q 'on and on and' "$talk"
chat 1 'Hi\nHi\n' --ctx 12
check "a talk that does not fit as well" says '^slm: the context is full.*/undo'
chat 1 'Hi\nHi\nHi\nHi\n' --ctx 12
check "once, and not for every line" [ "$(lines "$err")" -eq 1 ]
check "and what becomes of the others" says 'messages go unanswered'
chat 1 'Hi\nHi\n/clear\nHi\nHi\n' --ctx 12
check "and again after a command" [ "$(grep -c 'context is full' "$err")" -eq 2 ]
chat 0 'Hi\n/clear\nHi\n' --ctx 12
check "/clear helps" is 'Hello there all.\nHello there all.\n'

# The second answer is the same whether the first turn is in the cache or read from a file.
again() {
    model=$1
    shift
    rm -f "$talk"
    chat 0 'abc\ndef\n' --temp 0 -n 6 --save "$talk" "$@"
    head -2 "$talk" >"$dir/first.jsonl"
    chat 0 'def\n' --temp 0 -n 6 --load "$dir/first.jsonl" --save "$dir/again.jsonl" "$@"
    check "$model: as if all had been read at once" cmp "$talk" "$dir/again.jsonl"
    rm "$dir/again.jsonl"
}
again "$story"
for name in llama-3.2 mamba2 granitehybrid lfm2; do
    "$build/test_golden" --write "$dir/$name.gguf" "tests/golden/models/$name.txt"
    again "$dir/$name.gguf" --template chatml
done
model=$story
chat 0 'Tell me a story about a dog and a ball.\n' -n 30 --temp 0
cp "$out" "$dir/fresh"
chat 0 'Hello\n/clear\nTell me a story about a dog and a ball.\n' -n 30 --temp 0
tail -c "$(wc -c <"$dir/fresh")" "$out" >"$dir/last"
check "/clear forgets" cmp -s "$dir/last" "$dir/fresh"
chat 0 'Tell me a story about a dog and a ball.\n' -n 30 --temp 0 --system 'You tell sad stories.'
check "instructions make a difference" not cmp -s "$out" "$dir/fresh"
model=$dir/scripted.gguf

# ---- A terminal
# on_terminal CODE 'SCRIPT' [NAME=VALUE] -- WORDS...: see tests/pty_talk.py.
on_terminal() {
    expected=$1
    printf '%s\n' "$2" >"$dir/in"
    shift 2
    settings=
    while [ "$1" != -- ]; do
        settings="$settings $1"
        shift
    done
    shift
    # shellcheck disable=SC2086
    python3 tests/pty_talk.py TERM=xterm NO_COLOR= $settings "$slm" chat -m "$model" "$@" \
        <"$dir/in" >"$out" 2>"$err"
    code=$?
    check "exit status $expected, not $code, on a terminal: $*" [ "$code" -eq "$expected" ]
}
has() { grep -qF "$(printf '%b' "$1")" "$out"; }
if ! python3 -c 'import pty' 2>/dev/null; then
    echo "test_chat_cli: no python3 with a module pty here: nothing is tried on a terminal"
else
    tab=$(printf '\t')
    on_terminal 0 "> ${tab}Hi\\n
> ${tab}\\x04" -- --think
    check "reasoning is dim, the answer is not" has '\0033[2mOne two three four'
    check "and begins on a line of its own" has '\0033[0m'
    on_terminal 0 "> ${tab}Hi\\n
> ${tab}/quit\\n" NO_COLOR=1 -- --think
    check "NO_COLOR" not has '\0033'
    check "marks instead of colours" has '(thinking)'
    on_terminal 0 "> ${tab}Hi\\n
> ${tab}\\x04" TERM=dumb -- --think
    check "a terminal that knows no colours" not has '\0033'
    on_terminal 0 "> ${tab}hostile\\n
> ${tab}\\x04" --
    check "no model sends commands to a terminal" has 'a\\x1b[2Jb'
    on_terminal 0 "> ${tab}Hi\\n
add> ${tab}3\\n
3.${tab}
> ${tab}Hi\\n
add> ${tab}\\x03
> ${tab}/stats\\n
4 messages${tab}
> ${tab}\\x04" -- --tools "$dir/tools"
    check "results are asked for" has 'result of add> '
    check "Ctrl-C takes the turn back" has 'without a result'
    rm -f "$talk"
    on_terminal 0 "> ${tab}endless\\n
on and on and${tab}\\x03
> ${tab}Hi\\n
Hello there all.${tab}
> ${tab}a\\\\\\n
| ${tab}b\\n
> ${tab}\\x22\\x22\\x22\\n
| ${tab}c\\n
| ${tab}\\x03
> ${tab}\\x03
again${tab}\\x03" -- --save "$talk" --ctx 1000000
    check "Ctrl-C stops an answer, which is kept" grep -q '"assistant", "content": "on and on and' "$talk"
    check "the talk goes on" [ "$(lines "$talk")" -eq 6 ]
    check "a message of two lines" grep -q '"a\\nb"' "$talk"
    check "Ctrl-C drops a block" not grep -q '"c"' "$talk"
fi

# Without a terminal an interrupt stops the answer and the program.
printf 'endless\nHi\n' >"$dir/in"
: >"$out"
(exec "$slm" chat -m "$model" --ctx 1000000 <"$dir/in" >"$out" 2>"$err") &
child=$!
tries=0
while [ ! -s "$out" ] && [ $tries -lt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -INT $child
wait $child
check "an interrupt in a pipe is a failure" [ $? -eq 1 ]
check "and the end" not grep -q Hello "$out"

echo "test_chat_cli: $checks checks, $failures failed"
[ "$failures" -eq 0 ]
