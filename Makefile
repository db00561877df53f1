# What there is to do. Every target installs what it needs and this machine lacks.
SHELL := /bin/bash
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

.PHONY: run test check docs bench crs fuzz build install

# Both gates and two sample services on this machine; prints what to try. Ctrl-C stops it.
run:
	@deploy/local/run

# Every test, through the real binaries.
test: build
	cargo test --workspace

# What CI runs.
check: install
	cargo fmt --all -- --check
	cargo fmt --manifest-path tests/fuzz/Cargo.toml -- --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	$(MAKE) build
	.ci/test

# Writes the generated pages: docs/CONFIGURATION.md, ERRORS.md, METRICS.md, RULES_REFERENCE.md.
docs: build
	UPDATE=1 cargo test --workspace --test it -- documents::

# Side-by-side measurements, one `name = value` line a figure.
bench:
	@deploy/local/install bench
	cargo build --release --workspace --bins
	@$(or $(CARGO_TARGET_DIR),target)/release/bench

# The OWASP Core Rule Set: its regression suite (where GATEHOUSE_TEST_DATA has it), Debian's package, and verdicts beside those of
# nginx with ModSecurity 3.
crs:
	@deploy/local/install crs
	cargo test -p gatehouse-waf --test crs -- --nocapture

# Searches for inputs that break a parser or a rule, FUZZ_SECONDS (600) a target; FUZZ_ONLY=name,... chooses targets.
fuzz: install
	@tests/fuzz/run

# The binaries that run, tests and benches start.
build: install
	cargo build --workspace --bins

install:
	@deploy/local/install
