#!/bin/sh
# bindings.sh BUILD rust|go - builds a binding as its users do, offline, and runs its tests with
# BUILD/layout.txt, which says what slm.h declares. Exit status 77: the language is not installed.
#
# The C code is compiled without the SIMD kernels, which take most of the time.
build=$(cd "$1" && pwd) || exit 1
flags='-O1 -DSLM_NO_SIMD'
SLM_LAYOUT=$build/layout.txt
export SLM_LAYOUT

have() {
    command -v "$1" >/dev/null || { echo "skipped: no $1 here"; exit 77; }
}

case $2 in
rust)
    have cargo
    cd examples/rust || exit 1
    CFLAGS=$flags CARGO_TARGET_DIR=$build/rust cargo test --offline || exit 1
    echo "cargo test: $(cargo --version), no network"
    ;;
go)
    have go
    # Go does not see changes outside of the package's folder: what the sources are is one of the
    # flags.
    sources=$(find slm.c slm.h src kernels -type f | sort | xargs cat | cksum | cut -d' ' -f1)
    CGO_CFLAGS="$flags -DSOURCES_$sources"
    GOFLAGS='-mod=mod' GOPROXY=off GOCACHE=$build/go
    export CGO_CFLAGS GOFLAGS GOPROXY GOCACHE
    cd examples/go || exit 1
    unformatted=$(gofmt -l .)
    [ -z "$unformatted" ] || { echo "gofmt: $unformatted"; exit 1; }
    go vet ./... && go test -race -count=1 ./... && GODEBUG=cgocheck=2 go test -count=1 . || exit 1
    echo "gofmt, go vet, go test -race and with cgocheck=2: $(go version)"
    ;;
*)
    echo "bindings.sh: no binding '$2'"
    exit 1
    ;;
esac
