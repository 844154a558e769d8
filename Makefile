# metallm: a thin front for meson; 'make' alone lists the targets. The scripts need no make.
.DEFAULT_GOAL := help
.PHONY: help build demo test check check-live tsan fuzz bench reproduce format lint install uninstall clean
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
export OPENBLAS_NUM_THREADS ?= 1

help: ## this list
	@echo "metallm: make TARGET"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

build: ## the tool, as build/metallm
	scripts/build build -Dtests=disabled

demo: ## sets up, trains and evaluates a router on real outcomes (scripts/demo)
	scripts/demo

test: ## sets up and runs everything (scripts/test)
	scripts/test

check: ## the suites under AddressSanitizer and UndefinedBehaviorSanitizer
	scripts/test asan

check-live: ## the gateway and classify before two real small LLMs (fetches 355 MB)
	scripts/setup test
	scripts/venv live tests/gateway/requirements-live.txt
	CC=gcc scripts/build build-gcc -Dtests=enabled -Ddeveloper=true
	meson test -C build-gcc --no-rebuild --print-errorlogs gateway-live gateway-classify_live

tsan: ## the threaded suites under ThreadSanitizer
	CC=gcc scripts/build build-tsan -Dtests=enabled -Db_sanitize=thread --optimization=1
	TSAN_OPTIONS="suppressions=$(CURDIR)/tests/support/tsan.supp" \
		meson test -C build-tsan --no-rebuild --print-errorlogs --suite unit --suite gateway --timeout-multiplier 8

fuzz: ## each fuzz target for FUZZ_SECONDS (60) with libFuzzer
	scripts/fuzz $(FUZZ_SECONDS)

bench: ## the benchmarks of bench/
	scripts/bench

reproduce: ## regenerates docs/results: experiments on recorded outcomes, beside a peer
	scripts/reproduce $(PART)

lint: ## layers, names, lengths, documents, formatting
	scripts/build build-gcc -Ddeveloper=true -Dtests=enabled
	meson test -C build-gcc --no-rebuild --print-errorlogs --suite lint

format: ## clang-format over all C files
	find include src tests bench examples -name '*.[ch]' | xargs clang-format-14 -i

install: build ## into PREFIX (/usr/local); DESTDIR is honoured
	meson configure build --prefix "$(PREFIX)"
	DESTDIR="$(DESTDIR)" meson install -C build --no-rebuild

uninstall: ## removes what install put there
	ninja -C build uninstall

clean: ## removes all build folders
	rm -rf build build-*
