# Every command here but `bench` builds in the dev profile, so they share what they build.

.DEFAULT_GOAL := help
# `cargo` runs its own jobs, and two of them would wait for each other's lock.
.NOTPARALLEL:

# rustup installs here, and not every shell has it in PATH. For demo/bootstrap, which looks for cargo in PATH.
cargo_bin := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin
export PATH := $(PATH):$(cargo_bin)
# make looks up a program in the PATH that it was started with.
CARGO ?= $(shell command -v cargo || echo '$(cargo_bin)/cargo')

# Tests wait for servers more than they compute. A variable of the environment goes first.
export RUST_TEST_THREADS ?= 6

demo := $(or $(CARGO_TARGET_DIR),target)/debug/examples/demo

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: bootstrap ## the whole pipeline on this machine, from a queue to the view of an analyst; KEEP=1 leaves it up
	@$(CARGO) build --locked --bins --example demo
	@$(demo)

.PHONY: demo-down
demo-down: ## stop what `make demo KEEP=1` left running
	@if [ -x $(demo) ]; then $(demo) down; else echo 'no demo was built here, so none runs'; fi

.PHONY: test
test: bootstrap ## all tests, on a PostgreSQL, SQS and KMS of their own
	@$(CARGO) test --locked

.PHONY: soak
soak: bootstrap ## all tests in full doses: 20,000 cases a property, long fault injection
	@PII_VAULT_SOAK=1 PROPTEST_CASES=$${PROPTEST_CASES:-20000} $(CARGO) test --locked

.PHONY: bench
bench: bootstrap ## what rotating keys costs, beside floors of the same run; for one: BENCH='--rows 1000000 --days 10'
	@$(CARGO) bench --locked --bench rotation -- $(BENCH)

.PHONY: lint
lint: lint-format lint-clippy lint-doc ## formatting, clippy and rustdoc, warnings denied

.PHONY: lint-format
lint-format:
	$(CARGO) fmt --check

# `-D warnings` stands where no dependency sees it, unlike in RUSTFLAGS. Covers rustc's own warnings too.
.PHONY: lint-clippy
lint-clippy:
	$(CARGO) clippy --all-targets --locked -- -D warnings

# Private items as well: this is a program, and the readers of its documentation are its developers.
.PHONY: lint-doc
lint-doc:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --locked --document-private-items

.PHONY: bootstrap
bootstrap: ## check for, or install, what the others need (Debian and its kin; see demo/bootstrap)
	@demo/bootstrap

.PHONY: clean
clean: demo-down ## stop the demo; delete what was built, .venv too
	@$(CARGO) clean
	@rm -rf .venv
