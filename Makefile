# make demo   build, serve, push an example, call it, roll back, keep serving
# make test   format, lints, and every test on both databases
# make setup  install what these two need, where it is missing: from Debian's packages, and git clients from PyPI

.PHONY: demo test setup setup-demo

CARGO ?= cargo

demo: setup-demo
	$(CARGO) build --release --locked
	exec target/release/picloud demo

test: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) build --workspace --locked
	tests/with-postgres $(CARGO) test --workspace --locked

# A C compiler and linker builds Rust and the embedded SQLite; git pushes.
setup-demo:
	@tests/install cc:gcc git:git

setup: setup-demo
	@tests/install caddy:caddy psql:postgresql-client initdb:postgresql setpriv:util-linux
	@tests/clients/install
