# slm - `make help` lists the targets. Wants GNU make and any C11 compiler, and cmocka for the tests.
#
# slm.c is one translation unit, so a library is one compiler call and everything depends on all of
# its sources. Other compilers, flags and sanitizers use these same rules in a folder of their own:
#
#     make CC=clang CFLAGS='-O1 -g -fsanitize=address' BUILD=build/asan unit

CFLAGS = -O2
WARN   = -Wall -Wextra
STRICT = -Wall -Wextra -Wshadow -Wconversion -Werror
BUILD  = build
PREFIX = /usr/local
LIBDIR = $(PREFIX)/lib
SHELL  = /bin/sh

VERSION := $(shell sed -n 's/^\#define SLM_VERSION "\(.*\)"/\1/p' slm.h)
ABI     := $(shell sed -n 's/^\#define SLM_ABI \([0-9]*\).*/\1/p' slm.h)
SOURCES := slm.c slm.h $(sort $(shell find src kernels -name '*.[ch]' -o -name '*.inc'))

ifeq ($(shell uname -s),Darwin)
SO       = libslm.dylib
SO_NAMED = libslm.$(ABI).dylib
SO_FLAGS = -dynamiclib -install_name $(LIBDIR)/$(SO_NAMED)
else
SO       = libslm.so
SO_NAMED = libslm.so.$(ABI)
SO_FLAGS = -shared -Wl,-soname,$(SO_NAMED) -Wl,-Bsymbolic -Wl,--version-script=$(BUILD)/slm.map
endif

LIB      = $(BUILD)/libslm.a
EXAMPLES = $(patsubst examples/%.c,$(BUILD)/%,$(wildcard examples/*.c))
BENCHES  = $(patsubst bench/%.c,$(BUILD)/%,$(wildcard bench/*.c))
TESTS    = $(patsubst tests/%.c,%,$(wildcard tests/test_*.c tests/check_kernels.c))
COMPILE  = $(CC) $(CPPFLAGS) $(CFLAGS) $(WARN)
MODEL    = examples/models/storyteller-q8_0.gguf

all: $(LIB) $(BUILD)/$(SO) $(BUILD)/slm $(EXAMPLES) ## the libraries, the slm tool and the examples

help: ## this list
	@echo "Targets:"
	@sed -n 's/^\([a-z_-]*\):.*## \(.*\)/  \1|\2/p' Makefile | \
	    awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'
	@echo "Variables: CC CFLAGS BUILD; for install PREFIX LIBDIR DESTDIR"

# ---- The library, the tool, the examples -------------------------------------------------------

# Written anew only when the compiler or its flags change; then everything is compiled again.
$(BUILD)/flags: always
	@mkdir -p $(BUILD)
	@echo '$(COMPILE) $(LDFLAGS)' | cmp -s - $@ || echo '$(COMPILE) $(LDFLAGS)' > $@

$(BUILD)/slm.o: $(SOURCES) $(BUILD)/flags
	$(COMPILE) -c slm.c -o $@

$(BUILD)/slm.pic.o: $(SOURCES) $(BUILD)/flags
	$(COMPILE) -fPIC -c slm.c -o $@

$(LIB): $(BUILD)/slm.o
	rm -f $@ && $(AR) rcs $@ $<

$(BUILD)/$(SO): $(BUILD)/slm.pic.o
	@echo '{ global: slm_*; local: *; };' > $(BUILD)/slm.map
	$(CC) $(CFLAGS) $(LDFLAGS) $(SO_FLAGS) $< -o $@ -pthread

$(BUILD)/slm: $(wildcard examples/cli/*.[ch]) $(LIB)
	$(COMPILE) $(wildcard examples/cli/*.c) $(LIB) $(LDFLAGS) -o $@ -pthread

$(EXAMPLES): $(BUILD)/%: examples/%.c $(LIB)
	$(COMPILE) $< $(LIB) $(LDFLAGS) -o $@ -pthread

$(BENCHES): $(BUILD)/%: bench/%.c $(LIB)
	$(COMPILE) $< $(LIB) $(LDFLAGS) -o $@ -pthread -lm

demo: $(BUILD)/slm ## a model of 3 MB tells a story
	@echo 'Tell me a story about a dog and a ball.' | tee /dev/stderr | \
	    $(BUILD)/slm chat -m $(MODEL) --temp 0.6 --seed 3

bench: $(BUILD)/slm $(BENCHES) ## what the machine can do, prefill and decode against it
	bench/run --build $(BUILD)

install: all ## header, libraries, slm.pc and the tool into DESTDIR/PREFIX
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 644 slm.h $(DESTDIR)$(PREFIX)/include
	install -m 755 $(BUILD)/slm $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(LIB) $(DESTDIR)$(LIBDIR)
	install -m 755 $(BUILD)/$(SO) $(DESTDIR)$(LIBDIR)/$(SO_NAMED)
	ln -sf $(SO_NAMED) $(DESTDIR)$(LIBDIR)/$(SO)
	printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(LIBDIR)' 'includedir=$${prefix}/include' '' \
	    'Name: slm' 'Description: small language models inside your program' \
	    'Version: $(VERSION)' 'Cflags: -I$${includedir}' 'Libs: -L$${libdir} -lslm' \
	    'Libs.private: -pthread' > $(DESTDIR)$(LIBDIR)/pkgconfig/slm.pc

# ---- WebAssembly -------------------------------------------------------------------------------

# Two modules, with shared memory for threads and without: see examples/web/README.md.
WEB        = $(BUILD)/web
WEB_CC     = clang
WEB_LD     = wasm-ld
WEB_FLAGS  = --target=wasm32 -O2 -nostdlib -ffreestanding -Iexamples/web/include -msimd128 \
             -mbulk-memory -mmutable-globals -msign-ext -mnontrapping-fptoint
WEB_LINK   = $(WEB_LD) --no-entry --stack-first -z stack-size=1048576 --import-memory \
             --max-memory=4294967296 --gc-sections -s
WEB_PAGE   = $(patsubst examples/web/%,%,$(wildcard examples/web/*.js examples/web/*.css \
             examples/web/*.html)) $(notdir $(MODEL)) slm.wasm slm-threads.wasm
WEB_TEST   = examples/web/test

web: $(WEB_PAGE:%=$(WEB)/page/%) ## the page in build/web/page, for any server of static files

web-demo: web ## builds the page and shows it at http://localhost:8080
	node examples/web/serve.mjs $(WEB)/page

$(WEB)/page/slm-threads.wasm: WEB_THREADS = -matomics
$(WEB)/page/%.wasm: examples/web/wasm.c $(wildcard examples/web/*.c examples/web/include/*.h) $(SOURCES)
	@mkdir -p $(WEB)/$* $(@D)
	for f in wasm glue libc; do $(WEB_CC) $(WEB_FLAGS) $(WEB_THREADS) $(WARN) \
	    -c examples/web/$$f.c -o $(WEB)/$*/$$f.o || exit; done
	$(WEB_LINK) --export=__stack_pointer $(if $(WEB_THREADS),--shared-memory) $(WEB)/$*/*.o -o $@

$(WEB)/page/%.gguf: examples/models/%.gguf
	@mkdir -p $(@D)
	cp $< $@

$(WEB)/page/%: examples/web/%
	@mkdir -p $(@D)
	cp $< $@

# tests/check_kernels.c over the module's kernels.
$(WEB)/check_simd.wasm: $(wildcard $(WEB_TEST)/*.c $(WEB_TEST)/include/*.h tests/*.h) \
                        tests/check_kernels.c examples/web/libc.c $(SOURCES)
	@mkdir -p $(WEB)/check_simd
	for f in $(WEB_TEST)/check_simd $(WEB_TEST)/shim examples/web/libc; do $(WEB_CC) $(WEB_FLAGS) \
	    $(WARN) -I$(WEB_TEST)/include -c $$f.c -o $(WEB)/check_simd/$$(basename $$f).o || exit; done
	$(WEB_LINK) $(WEB)/check_simd/*.o -o $@

config-web = MAKE='$(MAKE) -s' $(WEB_TEST)/check.sh $(BUILD)

.PHONY: web web-demo

# ---- Tests -------------------------------------------------------------------------------------

cmocka:
	@printf '#include <%s.h>\n' stdarg stddef stdint setjmp cmocka | \
	    $(CC) $(CPPFLAGS) -fsyntax-only -xc - 2>/dev/null || { echo "The tests need cmocka," \
	    "which this compiler does not find: install the package libcmocka-dev" >&2; exit 1; }

# A test of internals includes slm.c; the others use the library as everybody does.
TEST_LINK = $(if $(shell grep -l '^.include "../slm.c"' $<),,$(LIB)) $(LDFLAGS)

$(BUILD)/check_kernels $(BUILD)/test_golden: $(BUILD)/%: tests/%.c $(wildcard tests/*.h) $(LIB)
	$(COMPILE) $< $(TEST_LINK) -o $@ -pthread -lm

# These include slm.c and have no use for its kernels, which take most of the time to compile.
NO_SIMD   = attention chat_output collisions dequant heal json live_file math math_single ops platform sampler sampler_stages templates \
            threads tokenizer unicode
TEST_SIMD = $(if $(filter $(NO_SIMD),$*),-DSLM_NO_SIMD)
# Sanitized, most of these take longer to optimise than to run.
SLOW      = attention heal templates threads tokenizer
TEST_O    = $(if $(findstring -fsanitize,$(CFLAGS)),$(if $(filter-out $(SLOW),$(filter $(NO_SIMD),$*)),-O0))

$(BUILD)/test_%: tests/test_%.c $(wildcard tests/*.h) $(LIB) | cmocka
	$(COMPILE) $(TEST_SIMD) $(TEST_O) $< $(TEST_LINK) -o $@ -lcmocka -pthread -lm

# Writes the model that tests/test_chat_cli.sh talks with.
$(BUILD)/scripted_model: tests/scripted_model.c $(wildcard tests/*.h) $(LIB)
	$(COMPILE) $< $(LIB) $(LDFLAGS) -o $@ -pthread -lm

$(BUILD)/dist_test: tests/dist/dist_test.c $(LIB)
	$(COMPILE) -I. $< $(LIB) $(LDFLAGS) -o $@ -pthread

# tests/run.sh takes NAME=COMMAND for each test.
KERNELS_GOLDEN = check_kernels=$(BUILD)/check_kernels test_golden=$(BUILD)/test_golden \
                 "test_golden_ref=$(BUILD)/test_golden --isa ref --threads 1"
GOLDEN_OTHERS  = $(foreach isa,avx2 avx_vnni avx512 avx512_vnni,\
                     "test_golden_$(isa)=$(BUILD)/test_golden --isa $(isa) --threads 1")
OTHERS         = $(filter-out check_kernels test_golden,$(TESTS))
INNER          = $(filter $(NO_SIMD:%=test_%) test_limits test_sweep,$(TESTS))
# Half a minute to a minute each under sanitizers.
TESTS_SLOW     = test_attention test_delta_net test_heal test_invariance test_plan test_sampler test_sampler_stages test_templates test_tokenizer
TESTS_INNER    = $(filter-out $(TESTS_SLOW),$(INNER))
TESTS_OUTER    = $(filter-out $(TESTS_SLOW) $(INNER),$(OTHERS))
UNIT_OTHERS    = $(foreach t,$(OTHERS),$(t)=$(BUILD)/$(t))
UNIT           = $(UNIT_OTHERS) $(KERNELS_GOLDEN)

unit: $(addprefix $(BUILD)/,$(TESTS)) ## the C tests alone
	@tests/run.sh $(BUILD) $(UNIT)

unit-inner: $(addprefix $(BUILD)/,$(TESTS_INNER)) # those that include slm.c
	@tests/run.sh $(BUILD) $(foreach t,$(TESTS_INNER),$(t)=$(BUILD)/$(t))

unit-slow: $(addprefix $(BUILD)/,$(TESTS_SLOW))
	@tests/run.sh $(BUILD) $(foreach t,$(TESTS_SLOW),$(t)=$(BUILD)/$(t))

unit-outer: $(addprefix $(BUILD)/,$(TESTS_OUTER)) # and the fuzzers' corpus
	@tests/run.sh $(BUILD) $(filter-out $(foreach t,$(INNER) $(TESTS_SLOW),$(t)=$(BUILD)/$(t)),$(UNIT_OTHERS))

unit-others: $(addprefix $(BUILD)/,$(OTHERS))
	@tests/run.sh $(BUILD) $(UNIT_OTHERS)

kernels-golden: $(BUILD)/check_kernels $(BUILD)/test_golden
	@tests/run.sh $(BUILD) $(KERNELS_GOLDEN)

test: $(addprefix $(BUILD)/,$(TESTS) scripted_model) all ## every test: the C tests, and the ways to build, install and import
	+@tests/run.sh $(BUILD) $(UNIT) $(GOLDEN_OTHERS) "cli=tests/test_cli.sh $(BUILD)/slm" \
	    "chat_cli=tests/test_chat_cli.sh $(BUILD)/slm" \
	    "one_compiler_call=$(MAKE) -s one-compiler-call" \
	    "symbols=tests/check_symbols.sh $(BUILD)" \
	    "abi=CC='$(CC)' tests/abi.sh $(BUILD)" \
	    "dist=$(MAKE) -s dist" "install=$(MAKE) -s check-install" \
	    "ffi_smoke=tests/ffi_smoke.sh $(BUILD)/$(SO)" $(QUICK_BINDINGS)

one-compiler-call:
	@mkdir -p $(BUILD)/one_call
	$(CC) -O2 examples/hello.c slm.c -pthread -o $(BUILD)/one_call/hello
	$(BUILD)/one_call/hello

check-symbols: $(BUILD)/$(SO) ## what the object imports and exports, no mutable data
	@tests/check_symbols.sh $(BUILD)

check-install: all
	@rm -rf $(BUILD)/installed
	@$(MAKE) -s install PREFIX=/usr DESTDIR=$(BUILD)/installed
	$(CC) -O2 -I$(BUILD)/installed/usr/include -x c tests/dist/dist_test.c -x none \
	    -L$(BUILD)/installed/usr/lib -lslm -Wl,-rpath,$(abspath $(BUILD))/installed/usr/lib \
	    -o $(BUILD)/installed/dist_test
	$(BUILD)/installed/dist_test

# ---- Bindings ----------------------------------------------------------------------------------

# tests/bindings.sh runs those that have a compiler of their own; the others are part of make test.
QUICK_BINDINGS = "python=examples/python/tests/run.sh $(BUILD)" "cpp=examples/cpp/tests/run.sh $(BUILD)"

BINDINGS       = rust go
config-rust    = tests/bindings.sh $(BUILD) rust
config-go      = tests/bindings.sh $(BUILD) go

test check check-long $(BINDINGS:%=check-%): $(BUILD)/layout.txt

check-python: $(BUILD)/$(SO) $(BUILD)/layout.txt ## the tests of examples/python
	@tests/run.sh $(BUILD) "python=examples/python/tests/run.sh $(BUILD)"

check-python-long: export SLM_LONG = 1
check-python-long: check-python ## the same, with many more interrupts

check-cpp: $(LIB) $(BUILD)/$(SO) ## the tests of examples/cpp
	@tests/run.sh $(BUILD) "cpp=examples/cpp/tests/run.sh $(BUILD)"

check-warnings: check-cpp-warnings

# The header's three faces, in both standards.
check-cpp-warnings:
	@set -e; for cxx in $(call HAVE,g++ clang++); do for std in c++17 c++20; do \
	    for face in -fno-exceptions -fexceptions -DSLM_CPP_EXCEPTIONS; do \
	        $$cxx -std=$$std -pedantic $$face $(STRICT) -fsyntax-only -x c++ examples/cpp/tests/test_slm.cpp; \
	    done; $$cxx -std=$$std $(STRICT) -fsyntax-only -x c++ examples/cpp/chat.cpp; done; done

# What the Python package knows of slm.h: its tests hold it against layout.txt.
python-layout: $(BUILD)/layout.txt ## writes examples/python/slm/_layout.py anew, after slm.h changed
	@{ echo '"""slm.h as `make python-layout` read it: see tests/layout.awk."""'; \
	   echo 'LAYOUT = """\'; cat $<; echo '"""'; } > examples/python/slm/_layout.py

rust-package: $(BUILD)/dist/slm.c $(BUILD)/dist/slm.h ## the Rust crate with all of slm inside
	@mkdir -p examples/rust/vendor
	cp $(BUILD)/dist/slm.c $(BUILD)/dist/slm.h examples/rust/vendor
	cd examples/rust && CARGO_TARGET_DIR='$(abspath $(BUILD))/rust' \
	    cargo package --offline --allow-dirty --no-verify

.PHONY: check-python check-python-long check-cpp check-cpp-warnings python-layout rust-package

# ---- Processes and refusals --------------------------------------------------------------------

# Includes slm.c, and its kernels are not what it is about.
$(BUILD)/test_sweep: TEST_SIMD = -DSLM_NO_SIMD

# Programs that export their functions (-rdynamic) and load the shared library as well.
PROCESS = -DPROCESS_LIBRARY='"$(BUILD)/$(SO)"' -DPROCESS_DECOY='"$(BUILD)/process_decoy"'

$(BUILD)/process_decoy: tests/process_decoy.c tests/process.h tests/testing.h $(BUILD)/$(SO)
	$(COMPILE) $(PROCESS) $< $(LDFLAGS) -rdynamic -o $@ -ldl -pthread -lm

$(BUILD)/test_process: tests/test_process.c tests/process.h tests/testing.h $(LIB) \
                       $(BUILD)/$(SO) $(BUILD)/process_decoy | cmocka
	$(COMPILE) $(PROCESS) $< $(LIB) $(LDFLAGS) -rdynamic -o $@ -lcmocka -ldl -pthread -lm

races: $(BUILD)/test_races $(BUILD)/test_threads
	@tests/run.sh $(BUILD) test_races=$(BUILD)/test_races test_threads=$(BUILD)/test_threads

.PHONY: races

# ---- Fuzzers -----------------------------------------------------------------------------------

# tests/fuzz/fuzz_NAME.c is fed by a plain main with the files of tests/corpus/NAME as one of the
# tests, and by libFuzzer or AFL++ with whatever they think of.
FUZZERS      = gguf split vocab text prompt template json output
FUZZ_HEADERS = $(wildcard tests/*.h tests/fuzz/*.h)
FUZZ_CC      = clang
FUZZ_COMPILE = $(FUZZ_CC) $(SANITIZE)
FUZZ_DICT    = $(if $(filter gguf split vocab,$(1)),-dict=tests/fuzz/gguf.dict)
SECONDS      = 60

UNIT_OTHERS += $(foreach f,$(FUZZERS),"corpus_$(f)=$(BUILD)/fuzz/replay_$(f) tests/corpus/$(f)")

unit unit-others unit-outer test: $(FUZZERS:%=$(BUILD)/fuzz/replay_%)

$(BUILD)/test_hostile $(BUILD)/test_generate $(BUILD)/test_heal $(BUILD)/test_jinja: $(FUZZ_HEADERS)
$(BUILD)/test_shapes: $(wildcard examples/cli/*.[ch])

$(BUILD)/fuzz/replay_%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(FUZZ_HEADERS) $(LIB)
	@mkdir -p $(BUILD)/fuzz
	$(COMPILE) $< tests/fuzz/replay.c $(LIB) $(LDFLAGS) -o $@ -pthread

fuzz: $(FUZZERS:%=$(BUILD)/fuzz/fuzz_%) ## the fuzzers, with clang's libFuzzer and sanitizers
	@echo "One of them:  mkdir found; $(BUILD)/fuzz/fuzz_gguf -dict=tests/fuzz/gguf.dict found tests/corpus/gguf"
	@echo "Each of them: make fuzz-run SECONDS=$(SECONDS)"
	@echo "With AFL++:   make fuzz-afl"

$(BUILD)/fuzz/fuzz_gguf: FUZZ_MUTATOR = tests/fuzz/mutator.c
$(BUILD)/fuzz/fuzz_split: FUZZ_MUTATOR = -DMUTATE_SPLIT tests/fuzz/mutator.c

$(BUILD)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/mutator.c $(FUZZ_HEADERS) $(BUILD)/fuzz/slm.o
	$(FUZZ_COMPILE) -fsanitize=fuzzer,address,undefined $< $(FUZZ_MUTATOR) $(BUILD)/fuzz/slm.o \
	    -o $@ -pthread

$(BUILD)/fuzz/slm.o: $(SOURCES)
	@mkdir -p $(BUILD)/fuzz
	$(FUZZ_COMPILE) -fsanitize=fuzzer-no-link,address,undefined -c slm.c -o $@

fuzz-run: fuzz ## each fuzzer for SECONDS seconds; what is found lies in build/fuzz
	@set -e; $(foreach f,$(FUZZERS),mkdir -p $(BUILD)/fuzz/found/$(f); \
	    echo "fuzz_$(f): $(SECONDS) s"; $(BUILD)/fuzz/fuzz_$(f) -max_total_time=$(SECONDS) \
	    -max_len=16384 -timeout=25 -verbosity=0 -print_final_stats=1 $(call FUZZ_DICT,$(f)) \
	    -artifact_prefix=$(BUILD)/fuzz/$(f)- $(BUILD)/fuzz/found/$(f) tests/corpus/$(f);)

fuzz-afl: ## the same for AFL++, with its compiler: prints how to run them
	$(MAKE) CC=afl-clang-fast BUILD=$(BUILD)/afl CFLAGS='$(SANITIZE) -fsanitize=address,undefined' \
	    $(FUZZERS:%=$(BUILD)/afl/fuzz/replay_%)
	$(CC) -O2 -fPIC -shared -DMUTATE_AFL tests/fuzz/mutator.c slm.c -pthread \
	    -o $(BUILD)/afl/mutator.so
	@echo "AFL_CUSTOM_MUTATOR_LIBRARY=$(BUILD)/afl/mutator.so afl-fuzz -m none -i tests/corpus/gguf" \
	    "-o $(BUILD)/afl/gguf -x tests/fuzz/gguf.dict -- $(BUILD)/afl/fuzz/replay_gguf @@"

corpus: $(BUILD)/fuzz/corpus ## writes the hand-made files of tests/corpus anew
	$(BUILD)/fuzz/corpus tests/corpus

$(BUILD)/fuzz/corpus: tests/fuzz/corpus.c $(FUZZ_HEADERS) $(LIB)
	@mkdir -p $(BUILD)/fuzz
	$(COMPILE) $< $(LIB) $(LDFLAGS) -o $@ -pthread

check-warnings: check-fuzz-warnings

check-fuzz-warnings:
	@set -e; for cc in $(call HAVE,gcc clang); do for f in $(wildcard tests/fuzz/*.c); do \
	    $$cc -O1 $(STRICT) -fsyntax-only $$f; done; done

.PHONY: fuzz fuzz-run fuzz-afl corpus check-fuzz-warnings

# ---- dist: two files, or one header ------------------------------------------------------------

AMALGAMATE = awk -f tests/dist/amalgamate.awk
DIST       = $(addprefix $(BUILD)/dist/,slm.c slm.h slm_single.h)

$(BUILD)/dist/slm.c: $(SOURCES) tests/dist/amalgamate.awk
	@mkdir -p $(BUILD)/dist
	$(AMALGAMATE) slm.c > $@

$(BUILD)/dist/slm.h: slm.h
	@mkdir -p $(BUILD)/dist
	cp slm.h $@

$(BUILD)/dist/slm_single.h: $(SOURCES) tests/dist/amalgamate.awk
	@mkdir -p $(BUILD)/dist
	$(AMALGAMATE) -v single=1 slm.c > $@

dist: $(DIST) $(BUILD)/dist_test ## slm in two files, or one
	@CC='$(CC)' tests/dist/check.sh $(BUILD)

check-vendor: $(DIST) $(BUILD)/dist_test ## slm inside CMake, Meson and make programs, with other flags, twice in one program
	@tests/vendor/check.sh $(BUILD)

.PHONY: check-vendor

# ---- Portability and ABI -----------------------------------------------------------------------

# Includes slm.c, and its kernels are not what it is about.
$(BUILD)/test_limits: TEST_SIMD = -DSLM_NO_SIMD

check-abi: ## slm.h is what tests/abi.txt says is published
	@CC='$(CC)' tests/abi.sh $(BUILD)

abi-update: ## writes tests/abi.txt anew
	@CC='$(CC)' tests/abi.sh $(BUILD) update

# The same as plain words, for the tests of bindings: tests/layout.awk has the format.
$(BUILD)/layout.txt: slm.h tests/abi.awk tests/layout.awk
	@mkdir -p $(BUILD)
	@awk -f tests/abi.awk slm.h > $(BUILD)/layout.c
	@$(CC) -I. $(BUILD)/layout.c -o $(BUILD)/layout
	@$(BUILD)/layout > $(BUILD)/layout.all && awk -f tests/layout.awk $(BUILD)/layout.all > $@

layout: $(BUILD)/layout.txt ## build/layout.txt: structs, fields, constants and functions, for bindings
	@echo "$(BUILD)/layout.txt: $$(wc -l < $(BUILD)/layout.txt) lines"

# What tests/portability/story.c tells as this machine's own compiler has it: the configurations of
# tests/portability.sh compare with that.
$(BUILD)/portability/expected.txt: tests/portability/story.c $(SOURCES)
	@mkdir -p $(BUILD)/portability
	@$(CC) -O2 tests/portability/story.c slm.c -o $(BUILD)/portability/expected -pthread
	@$(BUILD)/portability/expected > $@

# Other compilers, emulators and C libraries; each is a name that tests/portability.sh knows. Behind
# "aarch64-" stands a processor of qemu-aarch64: another one is a word more.
PORTABLE      = header nothing macos
PORTABLE_LONG = strict_c11 no_simd minimal chat families no_double no_threads no_files no_threads_no_files cxx17 i386_x87 i386_sse musl mingw64 s390x \
                powerpc aarch64 aarch64-max \
                aarch64-cortex-a53 aarch64-cortex-a76 aarch64-neoverse-n1 aarch64-neoverse-v1

check check-long check-portability $(addprefix check-,$(PORTABLE) $(PORTABLE_LONG)): \
    $(BUILD)/portability/expected.txt

check-portability: ## standards, switches, i386, arm64, big endian, musl, Windows, macOS: what is installed
	+@$(call CONFIGURATIONS,$(PORTABLE) $(PORTABLE_LONG))

.PHONY: check-abi abi-update layout check-portability

# ---- Checks for developers ---------------------------------------------------------------------

# A configuration is a name in one of these two lists. What it does is in config-NAME, or else in
# tests/portability.sh. What it says goes to build/logs/NAME.log, what it builds to build/NAME.
CHECK      = asan_gcc asan_inner warnings $(PORTABLE) firmware $(BINDINGS)
CHECK_LONG = asan_golden asan_slow vendor web clang clang_unit races asan_clang O0 Os native fast tsan valgrind $(PORTABLE_LONG)
SANITIZERS = asan_gcc asan_inner asan_slow asan_golden asan_clang
FLAGS      = O0 Os native fast

HAVE     = $(foreach c,$(1),$(if $(shell command -v $(c)),$(c)))
SANITIZE = -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all -DSLM_DEBUG
ASAN     = $(SANITIZE) -fsanitize=address,undefined
TSAN     = $(SANITIZE) -fsanitize=thread -DSLM_NO_SIMD

CONFIGURATIONS = tests/run.sh $(BUILD) $(foreach c,$(1),"$(c)=$(or $(config-$(c)),tests/portability.sh $(BUILD) $(c))")

# A target COMPILER FLAGS: skipped where that compiler links nothing with these flags.
BUILT = mkdir -p $(BUILD); echo 'int main(void) { return 0; }' | \
        $(2) $(3) -x c - -o $(BUILD)/probe-$(c) || { echo no $(2) here that links with $(3); exit 77; }; \
        $(MAKE) -s --no-print-directory $(1) CC='$(2)' CFLAGS='$(3)' BUILD=$(BUILD)/$(c)

config-warnings   = $(MAKE) -s --no-print-directory check-warnings
config-vendor     = $(MAKE) -s --no-print-directory $(DIST) $(BUILD)/dist_test && tests/vendor/check.sh $(BUILD)
config-symbols    = $(MAKE) -s $(BUILD)/$(SO) && tests/check_symbols.sh $(BUILD)
config-abi        = CC='$(CC)' tests/abi.sh $(BUILD)
config-firmware   = tests/firmware.sh $(BUILD) cortex-m riscv
config-firmware_cortex_m = tests/firmware.sh $(BUILD) cortex-m
config-clang      = $(call BUILT,all kernels-golden,clang,-O2)
config-clang_unit = $(call BUILT,unit,clang,-O2)
config-asan_gcc   = $(call BUILT,unit-outer,gcc,$(ASAN))
config-asan_inner = $(call BUILT,unit-inner,gcc,$(ASAN))
config-asan_slow  = $(call BUILT,unit-slow,gcc,$(ASAN))
config-asan_golden = $(call BUILT,kernels-golden,gcc,$(ASAN))
config-asan_clang = $(call BUILT,unit,clang,$(ASAN))
config-O0         = $(call BUILT,kernels-golden,$(CC),-O0 -DSLM_DEBUG)
config-Os         = $(call BUILT,kernels-golden,$(CC),-Os)
config-native     = $(call BUILT,kernels-golden,$(CC),-O3 -march=native)
config-fast       = $(call BUILT,kernels-golden,$(CC),-O2 -ffast-math)
# Without the SIMD kernels, which ThreadSanitizer makes many times slower.
config-races      = $(call BUILT,races,$(CC),$(TSAN))
config-tsan       = $(call BUILT,unit,$(CC),$(TSAN))
config-valgrind   = command -v valgrind || { echo no valgrind here; exit 77; }; \
                    $(call BUILT,memcheck,$(CC),-O1 -g)

check: ## the everyday matrix: sanitizers, warnings, standards; check-NAME is one
	+@$(call CONFIGURATIONS,$(CHECK))

check-long: ## what takes longer: clang, races, flags, valgrind, i386, musl, Windows; others under qemu
	+@$(call CONFIGURATIONS,$(CHECK_LONG))

check-sanitizers: ## the C tests under address and undefined-behaviour sanitizers
	+@$(call CONFIGURATIONS,$(SANITIZERS))

check-flags: ## kernels and golden vectors at -O0, -Os, -O3 -march=native and -ffast-math
	+@$(call CONFIGURATIONS,$(FLAGS))

check-%:
	+@$(call CONFIGURATIONS,$*)

check-warnings: $(addprefix warnings-,$(call HAVE,gcc clang)) ## as C11, as C++17, the header alone, the tool and the tests: no warnings
	@echo "$(call HAVE,gcc clang): as C11, as C++17, the header alone, the tool and the tests"

warnings-%:
	@mkdir -p $(BUILD)
	@set -e; object=$(BUILD)/warnings-$*.o; \
	    $* -std=c11 -O2 $(STRICT) -Wc++-compat -pthread -c slm.c -o $$object; \
	    $* -x c++ -std=c++17 -O1 $(STRICT) -fsyntax-only slm.c; \
	    $* -x c -std=c99 -pedantic $(STRICT) -fsyntax-only -include slm.h /dev/null; \
	    $* -x c++ -std=c++11 -pedantic $(STRICT) -fsyntax-only -include slm.h /dev/null; \
	    for f in $(wildcard examples/*.c examples/cli/*.c tests/*.c tests/dist/*.c bench/*.c); do \
	        $* -I. -O1 $(STRICT) -fsyntax-only $$f; done

# Valgrind takes everything 20 to 50 times longer and has no AVX-512, which the library sees.
MEMCHECK     = valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite
# valgrind computes long double in 64 bits, which is no oracle for test_math.
MEMCHECK_NOT = test_math
memcheck: $(addprefix $(BUILD)/,$(TESTS)) $(FUZZERS:%=$(BUILD)/fuzz/replay_%)
	@tests/run.sh $(BUILD) $(foreach t,$(filter-out $(MEMCHECK_NOT),$(TESTS)), \
	    "$(t)=$(MEMCHECK) $(BUILD)/$(t)") \
	    $(foreach f,$(FUZZERS),"corpus_$(f)=$(MEMCHECK) $(BUILD)/fuzz/replay_$(f) tests/corpus/$(f)")

compile_commands: ## build/compile_commands.json for clangd and clang-tidy
	tests/compile_commands.sh

format: ## clang-format over our C files
	clang-format -i $$(find slm.c slm.h src kernels examples tests bench -name '*.[ch]')

clean: ## removes build/
	rm -rf $(BUILD)

always:
.DELETE_ON_ERROR:
.PHONY: all help demo bench install cmocka unit unit-others unit-inner unit-slow unit-outer kernels-golden test one-compiler-call \
        check-symbols check-install dist check check-long check-sanitizers check-flags check-warnings memcheck \
        compile_commands format clean always
