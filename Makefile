# make demo   build, serve, push an example, call it, roll back, keep serving
# make test   format, lints, the pages of the code, and every test on both databases
# make bench  measure side by side with the references, and refresh bench/README.md
# make faults   kills, full disks, frozen and lost databases, set clocks: the long forms, with a table of the times to recovery
# make adversary   everything that hostile apps and visitors do, at once, for ten minutes
# make fuzz   search for inputs that break git-receiver, FUZZ_SECONDS a target (300)
# make release   one binary that needs nothing but the C library, with its size and checksum, in target/dist
# make deb       a Debian package of it, in target/debian
# make test-deb  install that into a fresh Debian that is booted, push there, upgrade, remove and purge it, and follow docs/install.md
# make cross     the package for 64-bit ARM, with its first push in an emulator
# make openapi  write docs/openapi.json, which a test compares with the API
# make setup  install what these need, where it is missing: from Debian's packages, and git clients from PyPI and npm

.PHONY: demo test bench faults adversary fuzz openapi release deb test-deb cross setup setup-cross setup-demo

CARGO ?= cargo

demo: setup-demo
	$(CARGO) build --release --locked
	exec target/release/picloud demo

test: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked
	$(CARGO) build --workspace --all-targets --locked
	tests/with-postgres $(CARGO) test --workspace --locked

openapi:
	PICLOUD_WRITE_OPENAPI=1 $(CARGO) test -p picloud --locked openapi_document

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
	$(CARGO) build --release --locked -p platform --example live_table
	@for part in $(BENCH); do bench/$$part.py || exit 1; done
	@bench/page.py

# The short forms of these tests are part of `make test`; each prints the seed that repeats it. FAULTS_OF names the modules to run.
FAULTS_OF ?= crash_recovery:: disk_faults:: unresponsive:: lock_contention:: ambiguous_commit:: point_in_time_recovery:: \
	database_outage:: unservable_apps:: clock_skew:: status:: lost_key:: shutdown:: under_load:: restore::
faults: setup
	$(CARGO) build --workspace --all-targets --locked
	@mkdir -p target/faults
	@FAULTS=long tests/with-postgres $(CARGO) test --workspace --locked --test e2e -- $(FAULTS_OF) 2>target/faults/log; \
		code=$$?; grep '^seed ' target/faults/log; grep '^recovered ' target/faults/log | sort -k2,2nr -k4; exit $$code

# All attacks at once for ten minutes on forty apps, on the release binary.
adversary: setup
	$(CARGO) build --release --locked -p picloud
	$(CARGO) build --workspace --all-targets --locked
	FAULTS=long PICLOUD_BINARY=$(CURDIR)/target/release/picloud $(CARGO) test --workspace --locked --test e2e -- adversary --nocapture

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

# TARGET is another machine's. Debian's cross compiler is for the C that is in it, and links it.
TARGET ?=
BINARY = target/$(if $(TARGET),$(TARGET)/)release/picloud
DIST = target/dist$(if $(TARGET),/$(TARGET))
ARM = aarch64-unknown-linux-gnu
ifeq ($(TARGET),$(ARM))
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER ?= aarch64-linux-gnu-gcc
# What the cross compiler came with is the machine that it is for, as far as programs in user space see.
RUN = qemu-aarch64 -L /usr/aarch64-linux-gnu
endif
release: setup-demo $(if $(TARGET),setup-cross)
	$(CARGO) build --release --locked -p picloud $(if $(TARGET),--target $(TARGET))
	@mkdir -p $(DIST)
	@cp $(BINARY) $(DIST)/picloud
	@cd $(DIST) && sha256sum picloud | tee picloud.sha256 && du -h picloud

deb: release
	RUN="$(RUN)" debian/build $(DIST)/picloud target/debian $(TARGET)

# Apart from `make test`, which has two minutes once all is built: this is a second release build, and takes as long as the first.
cross:
	$(MAKE) deb TARGET=$(ARM)
	qemu-aarch64 -L /usr/aarch64-linux-gnu target/dist/$(ARM)/picloud --version
	qemu-aarch64 -L /usr/aarch64-linux-gnu target/dist/$(ARM)/picloud demo --exit --listen 127.0.0.1:0

# Apart from `make test`: once everything is built, two Debians are booted for one to three minutes; cargo-deb, a release build and
# what the Debians are made of take far longer the first time.
test-deb: deb
	tests/package $$(ls -t target/debian/picloud_*_$$(dpkg --print-architecture).deb | head -n 1)

setup-cross:
	@tests/install aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu /usr/aarch64-linux-gnu/include/stdio.h:libc6-dev-arm64-cross \
		qemu-aarch64:qemu-user
	@command -v rustup >/dev/null && rustup target add $(TARGET) || true

# A C compiler and linker builds Rust and the embedded SQLite; git pushes.
setup-demo:
	@tests/install cc:gcc git:git

OTHER_CLOCK = /usr/lib/$(shell uname -m)-linux-gnu/faketime/libfaketimeMT.so.1
setup: setup-demo
	@tests/install caddy:caddy curl:curl openssl:openssl script:bsdutils psql:postgresql-client initdb:postgresql setpriv:util-linux \
		systemd-analyze:systemd unshare:util-linux pgbouncer:pgbouncer $(OTHER_CLOCK):libfaketime
	@tests/install jgit:jgit-cli java:default-jre-headless
	@tests/venv tests/clients/requirements.txt target/clients-venv
	@tests/npm tests/clients target/clients-node
	@tests/npm tests/workflows target/workflows-node
	@tests/go tests/clients/with_go_git.go target/clients-go/with_go_git
	@tests/venv tests/api/requirements.txt target/api-venv
	@tests/venv tests/caddy/requirements.txt target/caddy-venv
