# One command for each task. `make` alone lists them. All of them install what is missing, and say what.

target := $(or $(CARGO_TARGET_DIR),target)

.PHONY: fault-test help demo models console build test check bench deny book image

help:
	@echo "LSIE: topics in, synchronised 30-second segments, measures, rewards and posteriors out."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "Start with make demo. One test alone: tests/run.sh with cargo test --release --workspace NAME"

demo: build models ## the whole product on this machine: one made session, from its records to its posteriors
	$(target)/release/lsie demo --exit-when-done --port 0

models: ## fetch ONNX Runtime and the models into the cache, verified by hash
	@docker/setup/packages.sh build
	@docker/setup/models.sh

# --examples adds little work; it makes cargo choose the features that the tests need as well, so
# that `make test` after `make demo` builds nothing a second time.
console: ## the operator console, which the next build embeds; needs Node 18 or newer and npm
	@sinks/console/build.sh

build: ## the binary lsie, into target/release; with the console where Node is installed
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust with rustup; Cargo.toml names the version"; exit 1; }
	@docker/setup/packages.sh build
	@sinks/console/build.sh --if-possible
	cargo build --release --locked --workspace --bins --examples

test: ## everything that must hold: format, lints, all tests on a real Kafka and a real PostgreSQL, docs
	@tests/run.sh

check: ## the quick part of it: format and lints
	@tests/run.sh check

fault-test: ## RUNS=n seeded rounds of faults against the running engine, and their table; docs/RELIABILITY.md
	@tests/run.sh faults

bench: ## measure; what the figures mean and the bars they are held against: docs/BENCHMARKS.md
	@docker/setup/packages.sh bench
	@tests/run.sh with sh -c 'cargo bench --locked --workspace --bench "*" -- kafka:$$LSIE_TEST_KAFKA'

image: build ## the steps of docker/Dockerfile on a bare Debian root, where there is no container engine; as root
	@docker/setup/packages.sh image
	docker/try_image.sh $(target)/release/lsie

deny: ## what dependencies may be, and their advisories, which need a network
	@"$$(docker/lint/tools.sh)/cargo-deny" --locked --workspace check

book: ## the documentation as a book, into target/book
	@"$$(docker/lint/tools.sh)/mdbook" build docs
