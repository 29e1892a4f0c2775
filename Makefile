# make demo   build, serve, push an example, call it, roll back, keep serving
# make test   format, lints, and every test on both databases
# make bench  measure side by side with the references, and refresh bench/README.md
# make fuzz   search for inputs that break git-receiver, FUZZ_SECONDS a target (300)
# make release   one binary that needs nothing but the C library, with its size and checksum, in target/dist
# make deb       a Debian package of it, in target/debian
# make test-deb  install that into a fresh Debian that is booted, push there, upgrade, remove and purge it
# make setup  install what these need, where it is missing: from Debian's packages, and git clients from PyPI

.PHONY: demo test bench fuzz release deb test-deb setup setup-demo

CARGO ?= cargo

demo: setup-demo
	$(CARGO) build --release --locked
	exec target/release/picloud demo

test: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) build --workspace --locked
	tests/with-postgres $(CARGO) test --workspace --locked

# BENCH names the parts to measure; `bench/peers.py hello` and its like run one by itself, when this has built and installed.
BENCH ?= git peers swap fair table nodes idle
NGINX_MODULES = /usr/lib/nginx/modules
LUA_LIBRARIES = /usr/lib/$(shell uname -m)-linux-gnu/lua/5.1
bench: setup-demo
	@tests/install python3:python3 nginx:nginx-light fcgiwrap:fcgiwrap wrk:wrk npm:npm \
		psql:postgresql-client initdb:postgresql setpriv:util-linux \
		$(NGINX_MODULES)/ngx_http_lua_module.so:libnginx-mod-http-lua $(LUA_LIBRARIES)/cjson.so:lua-cjson
	$(CARGO) build --release --locked -p picloud
	$(CARGO) build --release --locked -p picloud --example bare_axum
	$(CARGO) build --release --locked -p git-receiver --example ingest
	$(CARGO) build --release --locked -p runtime --example live_table
	@for part in $(BENCH); do bench/$$part.py || exit 1; done
	@bench/page.py

# Built by itself, with flags of its own (git-receiver/fuzz/.cargo). An input that breaks something ends the search; it
# stays in target/fuzz/found with the others that were found, about which the real git is asked in the end.
FUZZ_SECONDS ?= 300
FUZZ_TARGETS ?= request pack object upload
fuzz: setup-demo
	@tests/install c++:g++
	cd git-receiver/fuzz && $(CARGO) build --release --target-dir ../../target/fuzz
	@mkdir -p $(addprefix target/fuzz/found/,request pack object upload)
	@for target in $(FUZZ_TARGETS); do \
		echo "$$target: $(FUZZ_SECONDS) seconds"; \
		target/fuzz/*/release/$$target -dict=git-receiver/fuzz/dictionary \
			-artifact_prefix=target/fuzz/found/$$target/broken- -max_total_time=$(FUZZ_SECONDS) \
			-max_len=4096 -timeout=20 -rss_limit_mb=512 -print_final_stats=1 \
			target/fuzz/found/$$target git-receiver/fuzz/corpus/$$target >target/fuzz/$$target.log 2>&1 \
			|| { tail -n 60 target/fuzz/$$target.log; exit 1; }; \
		grep '^stat::' target/fuzz/$$target.log; \
	done
	FUZZ_FOUND=$(CURDIR)/target/fuzz/found $(CARGO) test -p git-receiver --test fuzz --locked

# TARGET is another machine's, such as aarch64-unknown-linux-gnu (docs/install.md).
TARGET ?=
BINARY = target/$(if $(TARGET),$(TARGET)/)release/picloud
release: setup-demo
	$(CARGO) build --release --locked -p picloud $(if $(TARGET),--target $(TARGET))
	@mkdir -p target/dist
	@cp $(BINARY) target/dist/picloud
	@cd target/dist && sha256sum picloud | tee picloud.sha256 && du -h picloud

deb: release
	debian/build target/dist/picloud

# Apart from `make test`: once everything is built it takes 15 seconds, but cargo-deb, a release build and the first Debian take
# far longer than two minutes.
test-deb: deb
	tests/package $$(ls -t target/debian/picloud_*.deb | head -n 1)

# A C compiler and linker builds Rust and the embedded SQLite; git pushes.
setup-demo:
	@tests/install cc:gcc git:git

setup: setup-demo
	@tests/install caddy:caddy curl:curl openssl:openssl script:bsdutils psql:postgresql-client initdb:postgresql setpriv:util-linux \
		systemd-analyze:systemd unshare:util-linux
	@tests/venv tests/clients/requirements.txt target/clients-venv
	@tests/venv tests/api/requirements.txt target/api-venv
