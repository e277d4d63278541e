#!/bin/sh
# check.sh BUILD [PART] - builds examples/web and runs its tests; or one part of them, kernels, node or
# browser, where everything is built. Exit status 77 is a skip, and the last line says what is missing.
build=$1
web=$build/web
here=$(dirname "$0")

skip() {
    echo "skipped: $1"
    exit 77
}

for tool in clang wasm-ld node; do
    command -v $tool >/dev/null || skip "no $tool here"
done

case $2 in
"")
    ${MAKE:-make} BUILD="$build" web "$web/check_simd.wasm" "$build/slm" || exit 1
    exec tests/run.sh "$web" "web_kernels=$0 $build kernels" "web_node=$0 $build node" \
        "web_browser=$0 $build browser"
    ;;
kernels)
    exec node "$here/kernels.mjs" "$web/check_simd.wasm"
    ;;
node)
    for module in "$web"/page/*.wasm; do
        size=$(wc -c <"$module")
        echo "$module: $size bytes"
        [ "$size" -lt 1000000 ] || { echo "FAILED: a module may have 1,000,000 bytes"; exit 1; }
    done
    "$build/slm" run -m "$web/page/storyteller-q8_0.gguf" -p "Once upon a time" -n 200 --temp 0 --isa ref \
        >"$web/story.txt" || exit 1
    exec node "$here/node.mjs" "$web/page" "$web/story.txt"
    ;;
browser)
    for name in "$CHROMIUM" chromium chromium-browser google-chrome; do
        [ -n "$name" ] && chromium=$(command -v "$name") && break
    done
    [ -n "$chromium" ] || skip "no chromium here"
    if [ ! -d "$web/playwright/node_modules/playwright-core" ]; then
        command -v npm >/dev/null || skip "no npm here"
        mkdir -p "$web/playwright"
        (cd "$web/playwright" && npm install --no-audit --no-fund --prefix . playwright-core@1) ||
            skip "npm gives no playwright-core"
    fi
    exec node "$here/browser.mjs" "$web/page" "$web/playwright" "$chromium" "$web/screenshots"
    ;;
esac
echo "check.sh BUILD [kernels|node|browser]" >&2
exit 2
