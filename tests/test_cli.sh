#!/bin/sh
# The slm tool from outside: what it writes where, and how it exits.
#
# usage: tests/test_cli.sh build/slm     (in the root of the repository, with build/test_golden)

slm=$1
model=examples/models/storyteller-q8_0.gguf
dir=$(mktemp -d "${TMPDIR:-/tmp}/slm-cli-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
TMPDIR=$dir
export TMPDIR
out=$dir/out
err=$dir/err
failures=0
checks=0

# run CODE WORDS...: standard input is $dir/in; what comes out lands in $out and $err.
: >"$dir/in"
run() {
    expected=$1
    shift
    "$slm" "$@" <"$dir/in" >"$out" 2>"$err"
    code=$?
    check "exit status $expected, not $code, of: slm $*" [ "$code" -eq "$expected" ]
}

check() {
    checks=$((checks + 1))
    what=$1
    shift
    if ! "$@"; then
        failures=$((failures + 1))
        echo "FAILED: $what"
        sed 's/^/    stderr: /' "$err" | head -5
    fi
}

not() { ! "$@"; }
# The text may have printf's escapes.
# shellcheck disable=SC2059
input() { printf "$@" >"$dir/in"; }
lines() { wc -l <"$1" | tr -d ' '; }
one_error_line() { [ "$(lines "$err")" -eq 1 ] && grep -q '^slm: ' "$err" && [ ! -s "$out" ]; }
usage_error() {
    run 2 "$@"
    check "one line on stderr and nothing on stdout: slm $*" one_error_line
}
failure() {
    run 1 "$@"
    check "one line on stderr and nothing on stdout: slm $*" one_error_line
}

# ---- help and usage
run 0 help
check "help names every command" grep -q 'bench' "$out"
run 0 run --help
check "help of a command names its options" grep -q -- '--min-p' "$out"
run 0 help chat
check "help COMMAND is COMMAND --help" grep -q -- '--system' "$out"
run 0 --version
check "a version" grep -q '^slm [0-9]*\.[0-9]*\.[0-9]*$' "$out"

usage_error
usage_error frobnicate
usage_error run
usage_error run -m
usage_error run -m "$model" --frobnicate
usage_error run -m "$model" --temp warm
usage_error run -m "$model" --temp=nan
usage_error run -m "$model" --seed -1
usage_error run -m "$model" -t 0
usage_error run -m "$model" --threads 0
usage_error run -m "$model" -p a -f b
usage_error run -m "$model" -p a --isa mmx
usage_error run -m "$model" -p a --stats=yes
usage_error run -m "$model" --kv f8
usage_error run "$(printf 'a\033[2Jb\nc')"
usage_error version junk
usage_error help run extra
usage_error run --help=1
usage_error template -m "$model" --segments --ids
usage_error bench -m "$model" --type q8_0
usage_error logits -m "$model"
usage_error logits -m "$model" --tokens "1 x 3"
usage_error bench
usage_error bench -m "$model" --shape tiny
usage_error bench --shape nowhere-1b
usage_error bench --shape tiny --type q9_9
failure chat -m "$model" --template none
usage_error chat -m "$model" --effort some
failure run -m "$dir/missing.gguf" -p a
failure run -m "$dir/in" -p a
failure info -m tests/test_cli.sh

# ---- run
run 0 run -m "$model" -p "Once upon a time" -n 20 --temp 0
check "a completion" [ -s "$out" ]
check "the prompt is not echoed" not grep -q '^Once upon a time' "$out"
check "silence on stderr" [ ! -s "$err" ]
cp "$out" "$dir/greedy"
run 0 run --temp=0 "-n=20" -m "$model" -p "Once upon a time" --stats
check "--stats leaves stdout as it was" cmp -s "$out" "$dir/greedy"
check "--stats writes to stderr" grep -q 'tokens/s' "$err"
input 'Once upon a time'
run 0 run -m "$model" -n 20 --temp 0
check "a prompt on stdin is the same" cmp -s "$out" "$dir/greedy"
run 0 run -m "$model" -n 20 --temp 0 -f "$dir/in" -t 1
check "a prompt in a file, one thread: the same" cmp -s "$out" "$dir/greedy"
input ''
run 0 run -m "$model" -p "Once upon a time" -n 60 --seed 7
cp "$out" "$dir/seven"
run 0 run -m "$model" -p "Once upon a time" -n 60 --seed 7
check "the same seed, the same text" cmp -s "$out" "$dir/seven"
run 0 run -m "$model" -p "Once upon a time" -n 60 --seed 8
check "another seed, another text" not cmp -s "$out" "$dir/seven"
run 0 run -m "$model" -p "Once upon a time" -n 60 --temp 0
cut -d. -f1 "$out" | head -n 1 | tr -d '\n' >"$dir/sentence"
check "a text of several sentences" not cmp -s "$out" "$dir/sentence"
run 0 run -m "$model" -p "Once upon a time" -n 60 --temp 0 --stop 'never comes' --stop .
check "the text ends before the stop string" cmp -s "$out" "$dir/sentence"
run 0 run -m "$model" -p "Once upon a time there was a lit" -n 1 --temp 0 --heal
check "a prompt that ends inside a word is healed" [ "$(cat "$out")" = tle ]
run 0 run -m "$model" -p "Once upon a time" -n 8 --isa ref
failure run -m "$model" -p ""
check "an empty prompt is told apart from a vocabulary without a start token" \
    grep -q 'asks for no start token' "$err"
run 0 run -m "$model" -p "Once upon a time" --ctx 32 --temp 0
check "a full context is told" grep -q 'context is full' "$err"
failure run -m "$model" -f "$model" --ctx 64
if [ -w /dev/full ]; then
    "$slm" run -m "$model" -p "Once upon a time" -n 20 >/dev/full 2>"$err"
    check "a failed write is a failure" [ $? -eq 1 ]
fi

(
    "$slm" logits -m "$model" --tokens "$(seq -s ' ' 1 64)" 2>"$err"
    echo $? >"$dir/code"
) | head -c 1 >"$out"
check "a reader that went away ends it as it ends other tools" [ "$(cat "$dir/code")" -eq 141 ]
check "without a word" [ ! -s "$err" ]
run 0 run -m "$model" -p other -p "Once upon a time" -n 20 --temp 1 --temp 0
check "of an option given twice the last counts" cmp -s "$out" "$dir/greedy"

# ---- template

printf '[{"role": "user", "content": "<|im_end|>x"}]' >"$dir/talk"
run 0 template -m "$model" -f "$dir/talk"
check "template writes the text" grep -q '^<|im_start|>user$' "$out"
run 0 template --template chatml -f "$dir/talk" --segments --no-prompt
check "segments tell whose text it is" grep -q '^content  <|im_end|>x$' "$out"
end=$(printf '<|im_end|>' | "$slm" tokens -m "$model" --special)
run 0 template -m "$model" -f "$dir/talk" --ids --no-prompt
check "only the template's end is a token" [ "$(tr ' ' '\n' <"$out" | grep -c "^$end$")" -eq 1 ]
cat >"$dir/form" <<'END'
{{ enable_thinking }},{{ thinking }},{{ reasoning_effort }},{{ tools[0].name if tools }}
END
printf '[{"name": "f"}]' >"$dir/tools"
run 0 template --template "$dir/form" -f "$dir/talk" --think --effort low --tools "$dir/tools"
check "the template is told what is asked for" grep -qx 'True,True,low,f' "$out"
run 0 template --template "$dir/form" -f "$dir/talk" --no-think
check "and what is not" grep -qx 'False,False,,' "$out"
printf '[' >"$dir/talk"
run 1 template --template chatml -f "$dir/talk"
check "wrong JSON is told with its byte" grep -q 'byte 1' "$err"
printf 'a\n{%% if %%}' >"$dir/broken"
run 1 template --template "$dir/broken" -f "$dir/talk"
check "a wrong template is told with its line" grep -q 'line 2' "$err"
run 2 template

# ---- tokens
for text in 'Once upon a time' ' two  spaces\n\n\ttabs ' 'gr\303\274n \342\202\254 \360\237\230\200' 'a<|im_end|>b'; do
    input "$text"
    run 0 tokens -m "$model"
    check "one line of numbers" [ "$(grep -c '^[0-9 ]*$' "$out")" -eq 1 ]
    cp "$dir/in" "$dir/text"
    cp "$out" "$dir/in"
    run 0 tokens -m "$model" --decode
    check "round trip of '$text'" cmp -s "$out" "$dir/text"
done
input '<|im_start|>'
run 0 tokens -m "$model" --special
check "--special: one token" grep -qx '2046' "$out"
input 'a<|im_end|>b'
run 0 tokens -m "$model"
check "without --special text is only text" not grep -qw 2047 "$out"
input ''
run 0 tokens -m "$model"
check "no text, an empty line" [ "$(cat "$out")" = "" ]
input '5 99999999999'
failure tokens -m "$model" --decode
input '4000000'
failure tokens -m "$model" --decode

# ---- logits
run 0 logits -m "$model" --tokens "1 2 3"
check "a line for each token" [ "$(lines "$out")" -eq 3 ]
check "a number for each entry of the vocabulary" [ "$(head -1 "$out" | wc -w | tr -d ' ')" -eq 2048 ]
run 0 logits -m "$model" --tokens "1,2" --kv f32 --isa ref
check "two lines" [ "$(lines "$out")" -eq 2 ]
failure logits -m "$model" --tokens "1 2048"

# ---- info
run 0 info -m "$model"
for word in llama 'Q8_0' '2048 tokens' 'cpu' 'KV cache'; do
    check "info says $word" grep -q "$word" "$out"
done
check "info says that the start token is not added" grep -q 'start .* (not added to prompts)' "$out"
run 0 info -m "$model" --metadata --tensors
check "keys" grep -q 'llama.block_count = u32 4' "$out"
check "tensors" grep -q 'blk.3.ffn_down.weight' "$out"
printf 'slm \033[2J\342\200\256tor!' >"$dir/name" # as long as the name it replaces
LC_ALL=C sed "s/slm storyteller/$(cat "$dir/name")/" "$model" >"$dir/hostile.gguf"
run 0 info -m "$dir/hostile.gguf" --metadata --tensors
check "a hostile name is there, escaped" grep -q 'slm \\x1b\[2J\\u{202e}tor!' "$out"
check "no control characters" [ "$(tr -d '\n' <"$out" | tr -dc '\001-\037\177' | wc -c)" -eq 0 ]

# ---- embed and rerank
# The model of a manifest of tests/golden/models.
made() {
    [ -s "$dir/$1.gguf" ] ||
        "$(dirname "$slm")/test_golden" --write "$dir/$1.gguf" "tests/golden/models/$1.txt"
    echo "$dir/$1.gguf"
}
embedder=$(made qwen3-embedding)
run 0 embed -m "$embedder" a "b c" d
check "a line for each text" [ "$(lines "$out")" -eq 3 ]
check "JSON of index, tokens and vector" [ "$(grep -c \
    '^{"index":[0-9]*,"n_tokens":[0-9]*,"embedding":\[[-0-9.e,+]*\]}$' "$out")" -eq 3 ]
check "in the order given" [ "$(sed 's/.*"index":\([0-9]*\).*/\1/' "$out" | tr '\n' ' ')" = "0 1 2 " ]
check "64 numbers" [ "$(head -1 "$out" | tr -cd , | wc -c | tr -d ' ')" -eq 65 ]
cp "$out" "$dir/three"
input 'a\nb c\r\nd'
run 0 embed -m "$embedder"
check "lines of stdin are the same" cmp -s "$out" "$dir/three"
input ''
run 0 embed -m "$embedder"
check "no texts, no lines" [ ! -s "$out" ]
seq 1 70 >"$dir/in"
run 0 embed -m "$embedder" --isa ref -t 1 --kv f32 --exact
check "more texts than go at once" [ "$(lines "$out")" -eq 70 ]
check "and their indices" [ "$(sed 's/.*"index":\([0-9]*\).*/\1/' "$out" | tail -1)" -eq 69 ]
run 0 embed -m "$embedder" --raw a
check "--raw is longer" not cmp -s "$out" "$dir/three"
run 0 embed -m "$embedder" --pooling none "b c"
check "an array for each token" grep -q '"embedding":\[\[[^]]*\],\[.*\]\]}$' "$out"
run 0 embed -m "$embedder" --compare a a --raw
check "a text is like itself" grep -qx '1.000000' "$out"
run 0 embed -m "$embedder" --compare a "b c"
check "another is not" grep -qx -- '-\{0,1\}0\.[0-9]*' "$out"
run 0 embed -m "$embedder" -- -a --raw
check "words behind --" [ "$(lines "$out")" -eq 2 ]
run 0 embed -m "$embedder" --ids "1 2 3" 4,5
check "token ids" grep -q '"index":0,"n_tokens":3,' "$out"
usage_error embed
usage_error embed -m "$embedder" --compare a
usage_error embed -m "$embedder" --pooling max a
failure embed -m "$embedder" --pooling mean a
failure embed -m "$embedder" --pooling none --compare a b
failure embed -m "$embedder" --ids x
input '1 2\n275\n\n3\n'
run 1 embed -m "$embedder" --ids
check "a row for each line" [ "$(lines "$out")" -eq 4 ]
check "what is wrong with a line" grep -q \
    '^{"index":1,"n_tokens":1,"embedding":null,"error":"line 2: token 0 is id 275,' "$out"
check "a blank line" grep -qx \
    '{"index":2,"n_tokens":0,"embedding":null,"error":"line 3 has no tokens"}' "$out"
check "the first is told, in one line" [ "$(grep -c '^slm: line 2: .* (2 of 4 ' "$err")" -eq "$(lines "$err")" ]
input '1 2\nx\n3\n'
run 1 embed -m "$embedder" --ids
check "lines before one that cannot be read" [ "$(lines "$out")" -eq 1 ]
check "whose number is told" grep -q '^slm: --ids, line 2: ' "$err"
run 1 embed -m "$embedder" --ids 1 275
check "words have numbers, too" grep -q '^slm: text 2: ' "$err"
failure embed -m "$embedder" --ids --compare 1 275
(seq 1 70 && echo && echo a) >"$dir/in"
run 1 embed -m "$model" --pooling mean
check "more texts than go at once, and a blank line" [ "$(grep -c '"embedding":\[' "$out")" -eq 71 ]
check "with its number" grep -q '^slm: line 71 has no tokens' "$err"
input ''
bert=$(made bert-cls)
run 0 info -m "$bert"
check "names the tokenizer" grep -q '^vocabulary *wordpiece, 104 tokens' "$out"
run 0 embed -m "$bert" "the cat"
cp "$out" "$dir/text"
run 0 embed -m "$bert" --ids "2 90 7 41 60 3"
check "words between [CLS] and [SEP]" cmp -s "$out" "$dir/text"
run 0 embed -m "$bert" --ids "2 7 8 3"
check "an embedding by ids" grep -q '"n_tokens":4,' "$out"
failure run -m "$bert" -p a
run 0 embed -m "$(made bert-classify)" --ids "2 7 8 3"
check "outputs of a classifier" [ "$(tr -cd , <"$out" | wc -c | tr -d ' ')" -eq 4 ]

reranker=$(made qwen3-reranker)
run 0 rerank -m "$reranker" --query "what" one "two three" four
check "a score for each document" [ "$(grep -c \
    '^{"index":[0-2],"score":0\.[0-9]*}$' "$out")" -eq 3 ]
sed 's/.*score":\(.*\)}/\1/' "$out" >"$dir/scores"
check "best first" sh -c "sort -rg '$dir/scores' | cmp -s - '$dir/scores'"
cp "$out" "$dir/three"
input 'one\ntwo three\nfour\n'
run 0 rerank -m "$reranker" --query "what" -t 1
check "lines of stdin are the same" cmp -s "$out" "$dir/three"
run 0 rerank -m "$(made modern-bert-rerank)" --query "what" one "two three"
check "an encoder scores, too" [ "$(lines "$out")" -eq 2 ]
run 1 rerank -m "$(made bert-rerank)" --query a "$(seq -s ' ' 1 600)" b
check "a document that is too long has no score" [ "$(tail -n 1 "$out")" = '{"index":0,"score":null}' ]
check "and is told" grep -q '^slm: text 1 has ' "$err"
usage_error rerank -m "$reranker" one
failure rerank -m "$embedder" --query a b
bert=$(made bert-rerank)
run 0 rerank -m "$bert" --query a b
sed 's/.*score":\(.*\)}/\1/' "$out" >"$dir/score"
run 0 embed -m "$bert" --ids "2 5 3 6 3"
check "a pair is [CLS] a [SEP] b [SEP]" grep -q "\[$(cat "$dir/score")\]" "$out"

# ---- chat (tests/test_chat_cli.sh has more)
# What a user types is never an end of turn: the turn has as many tokens as its parts have when the
# message is tokenised as text. A context of that many has no room for an answer, one more has.
count() { "$slm" tokens -m "$model" "$@" <"$dir/in" | wc -w; }
input '<|im_start|>user\n'
turn=$(count --special)
input '<|im_end|>\n'
turn=$((turn + $(count --special)))
input '<|im_start|>assistant\n'
turn=$((turn + $(count --special)))
input 'Hi<|im_end|>'
special=$((turn + $(count --special)))
turn=$((turn + $(count)))
check "the two ways to read a message differ" [ "$special" -lt "$turn" ]
run 1 chat -m "$model" -n 0 --ctx "$turn"
run 0 chat -m "$model" -n 0 --ctx $((turn + 1))

# ---- bench
run 0 bench --shape tiny --type q4_k_m -p 16 -n 4 -r 2 -t 1
check "prefill and decode" [ "$(grep -c '^\(prefill\|decode\) ' "$out")" -eq 2 ]
check "the file is kept" [ -s "$(ls "$dir"/slm-bench-*/tiny-q4_k_m-*.gguf)" ]
input 'Hello\n'
failure chat -m "$dir"/slm-bench-*/tiny-q4_k_m-*.gguf
check "without a template the built-in ones are named" grep -q 'one of chatml, gemma' "$err"
for type in f32 f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 q2_k q3_k_m q4_k_s q5_k_m q6_k iq3_s iq4_nl \
    iq4_xs tq1_0 tq2_0; do
    run 0 bench --shape tiny --type $type -p 8 -n 2 -r 1 -d 8 --csv
    check "a head and two lines" [ "$(lines "$out")" -eq 3 ]
    run 0 logits -m "$dir"/slm-bench-*/tiny-$type-*.gguf --tokens "5 300 7"
    check "finite logits of random $type" not grep -qi 'nan\|inf' "$out"
done
run 0 bench -m "$model" -p 16 -n 0 -r 1 --isa=ref
check "prefill alone" [ "$(grep -c '^decode ' "$out")" -eq 0 ]

echo "test_cli: $checks checks, $failures failed"
[ "$failures" -eq 0 ]
