# make demo       build, start a server, push an example app, call it, roll back, keep serving
# make test       formatting, lints, API documentation, and all tests on both databases
# make bench      run the benchmarks against the reference servers, and update bench/README.md
# make faults     fault injection, long form: kills, full disks, unavailable databases, clock changes; prints recovery times
# make history    random transactions through failures, long form: checks that they are strictly serializable, on one node and on three
# make adversary  all attacks of hostile apps and clients at once, for ten minutes
# make fuzz       fuzz git-receiver, FUZZ_SECONDS per target (300)
# make release    build a release binary that only depends on the C library, with its checksum, in target/dist
# make deb        build a Debian package in target/debian
# make test-deb   test that package in a booted Debian: install, push, upgrade, remove, purge, and the steps of docs/install.md
# make cross      build the package for 64-bit ARM, and run the demo in an emulator
# make openapi    write docs/openapi.json, which a test compares with the API
# make reference write the tables of functions in docs/sdk.md and docs/sdk/, which a test compares with the signatures
# make setup      install missing dependencies of these targets: Debian packages, and git clients from PyPI, npm and Go

.PHONY: demo test snapshots bench faults history adversary fuzz openapi reference release deb test-deb cross setup setup-cross setup-demo

CARGO ?= cargo

demo: setup-demo
	$(CARGO) build --release --locked
	exec target/release/picloud demo

test: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked
	$(CARGO) build --workspace --all-targets --locked
	INSTA_UPDATE=no tests/with-postgres $(CARGO) test --workspace --locked

snapshots: setup
	$(CARGO) build --workspace --all-targets --locked
	INSTA_UPDATE=always INSTA_FORCE_PASS=1 tests/with-postgres $(CARGO) test --workspace --locked snapshot

openapi:
	PICLOUD_WRITE_OPENAPI=1 $(CARGO) test -p picloud --locked openapi_document

reference:
	PICLOUD_WRITE_REFERENCE=1 $(CARGO) test -p runtime --locked --test documentation tables_are

# BENCH selects the benchmarks. Once built and installed, one can be run directly, such as `bench/peers.py hello`.
BENCH ?= git peers state state_nodes swap fair table nodes idle
NGINX_MODULES = /usr/lib/nginx/modules
LUA_LIBRARIES = /usr/lib/$(shell uname -m)-linux-gnu/lua/5.1
bench: setup-demo
	@tests/install python3:python3 nginx:nginx-light fcgiwrap:fcgiwrap wrk:wrk npm:npm \
		psql:postgresql-client initdb:postgresql setpriv:util-linux \
		$(NGINX_MODULES)/ngx_http_lua_module.so:libnginx-mod-http-lua $(LUA_LIBRARIES)/cjson.so:lua-cjson
	$(CARGO) build --release --locked -p picloud
	$(CARGO) build --release --locked -p picloud --example bare_axum --example axum_sqlite --example axum_postgres
	$(CARGO) build --release --locked -p git-receiver --example ingest
	$(CARGO) build --release --locked -p platform --example live_table
	@for part in $(BENCH); do bench/$$part.py || exit 1; done
	@bench/page.py

# `make test` runs the short form. Each test prints its seed. FAULTS_OF selects the test modules.
FAULTS_OF ?= crash_recovery:: disk_faults:: unresponsive:: lock_contention:: ambiguous_commit:: point_in_time_recovery:: \
	database_outage:: unservable_apps:: clock_skew:: status:: lost_key:: shutdown:: under_load:: restore::
faults: setup
	$(CARGO) build --workspace --all-targets --locked
	@mkdir -p target/faults
	@FAULTS=long tests/with-postgres $(CARGO) test --workspace --locked --test e2e -- $(FAULTS_OF) 2>target/faults/log; \
		code=$$?; grep '^seed ' target/faults/log; grep '^recovered ' target/faults/log | sort -k2,2nr -k4; exit $$code

# Tests of state on several nodes, and the checker of histories in process. One after the other, since one measures throughput.
history: setup
	$(CARGO) build --workspace --all-targets --locked
	@mkdir -p target/history
	@FAULTS=long tests/with-postgres $(CARGO) test --workspace --locked --test e2e -- --test-threads 1 nodes::state 2>target/history/log; \
		code=$$?; grep '^seed ' target/history/log; exit $$code
	FAULTS=long tests/with-postgres $(CARGO) test --workspace --locked --lib -- --test-threads 1 state::tests::history state::tests::nodes

# Ten minutes, forty apps, the release binary.
adversary: setup
	$(CARGO) build --release --locked -p picloud
	$(CARGO) build --workspace --all-targets --locked
	FAULTS=long PICLOUD_BINARY=$(CURDIR)/target/release/picloud $(CARGO) test --workspace --locked --test e2e -- adversary --nocapture

# Outside the workspace, with its own flags (git-receiver/fuzz/.cargo). A crash ends the run; its input is kept in
# target/fuzz/found with the generated corpus, which is compared with git at the end.
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

# TARGET is a target triple for cross compilation. Debian's cross compiler compiles the C code, and links.
TARGET ?=
BINARY = target/$(if $(TARGET),$(TARGET)/)release/picloud
DIST = target/dist$(if $(TARGET),/$(TARGET))
ARM = aarch64-unknown-linux-gnu
ifeq ($(TARGET),$(ARM))
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER ?= aarch64-linux-gnu-gcc
# The cross compiler's sysroot is enough for user-mode emulation.
RUN = qemu-aarch64 -L /usr/aarch64-linux-gnu
endif
release: setup-demo $(if $(TARGET),setup-cross)
	$(CARGO) build --release --locked -p picloud $(if $(TARGET),--target $(TARGET))
	@mkdir -p $(DIST)
	@cp $(BINARY) $(DIST)/picloud
	@cd $(DIST) && sha256sum picloud | tee picloud.sha256 && du -h picloud

deb: release
	RUN="$(RUN)" debian/build $(DIST)/picloud target/debian $(TARGET)

# Not part of `make test`: it needs a second full release build.
cross:
	$(MAKE) deb TARGET=$(ARM)
	qemu-aarch64 -L /usr/aarch64-linux-gnu target/dist/$(ARM)/picloud --version
	qemu-aarch64 -L /usr/aarch64-linux-gnu target/dist/$(ARM)/picloud demo --exit --listen 127.0.0.1:0

# Not part of `make test`: it boots two Debian systems for one to three minutes. The first run also builds cargo-deb, a
# release binary and the base images.
test-deb: deb
	tests/package $$(ls -t target/debian/picloud_*_$$(dpkg --print-architecture).deb | head -n 1)

setup-cross:
	@tests/install aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu /usr/aarch64-linux-gnu/include/stdio.h:libc6-dev-arm64-cross \
		qemu-aarch64:qemu-user
	@command -v rustup >/dev/null && rustup target add $(TARGET) || true

# A C compiler and linker for Rust and the embedded SQLite; git for the push.
setup-demo:
	@tests/install cc:gcc git:git

FAKETIME = /usr/lib/$(shell uname -m)-linux-gnu/faketime/libfaketimeMT.so.1
setup: setup-demo
	@tests/install caddy:caddy curl:curl openssl:openssl script:bsdutils psql:postgresql-client initdb:postgresql setpriv:util-linux \
		systemd-analyze:systemd unshare:util-linux pgbouncer:pgbouncer $(FAKETIME):libfaketime
	@tests/install jgit:jgit-cli java:default-jre-headless
	@tests/venv tests/clients/requirements.txt target/clients-venv
	@tests/npm tests/clients target/clients-node
	@tests/npm tests/workflows target/workflows-node
	@tests/go tests/clients/with_go_git.go target/clients-go/with_go_git
	@tests/venv tests/api/requirements.txt target/api-venv
	@tests/venv tests/caddy/requirements.txt target/caddy-venv
