# The words of everyday work. `make demo` and `make test` need nothing but a Debian 12 and its network.

# Where `make setup` puts Rust if there is none.
export PATH := $(HOME)/.cargo/bin:$(PATH)

TARGET := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/x86_64-unknown-linux-gnu/release
DEMO := $(TARGET)/demo
# Copies: what a long run measures must not change meanwhile.
BENCHED := $(TARGET)/benched
PREFIX ?= /usr/local
# Packing a root keeps owners and device files: that is root's work.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# nextest runs every test in a process of its own, and shows the slow ones.
VM_TESTS := $(if $(shell cargo nextest --version 2>/dev/null),cargo nextest run --no-fail-fast,cargo test --no-fail-fast)

.PHONY: build install setup demo check unit vm test power-cuts bench-boot bench-order bench-bundles bench-activation bench-changes

build:
	cargo build --release -p livekit -p init -p cleanup

install:
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(RELEASE)/livekit
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/lib/livekit $(RELEASE)/init $(RELEASE)/cleanup

# What the other targets need installed.
setup:
	tests/setup

# A small Debian live system, from nothing to its login prompt in this terminal.
demo: setup build $(DEMO)/livekit-demo.iso
	@echo "Log in as root with the password: live   (Ctrl-A X ends the machine)"
	$(RELEASE)/livekit run $(DEMO)/livekit-demo.iso

$(DEMO)/livekit-demo.iso: $(RELEASE)/livekit $(RELEASE)/init $(RELEASE)/cleanup
	mkdir -p $(DEMO)
	$(SUDO) $(RELEASE)/livekit build-iso --debian bookworm --append "console=tty0 console=ttyS0" --output $@

$(RELEASE)/livekit $(RELEASE)/init $(RELEASE)/cleanup: build ;

# Minutes, and no machine is started.
check:
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	$(MAKE) unit

# What squashfs keeps of owners, devices and security attributes only root can make and look at.
ifneq ($(SUDO),)
unit: export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER := sudo -E
endif
# The same inputs for the reader every time; without it, others in every run.
unit: export BOLERO_RANDOM_SEED := 1
unit:
	cargo test --quiet
	cargo test --quiet -p tests --lib --bin bench_boot --bin bench_bundles --test licences

# Whole machines, two at a time.
vm: build
	$(VM_TESTS) -p tests

test: setup
	$(MAKE) check
	$(MAKE) vm

# A hundred power cuts for each kind of medium, where `make vm` has a few; the same moments in every run. Half an hour each.
CUTS := 100
power-cuts: build
	LIVEKIT_POWER_CUTS=$(CUTS) cargo test -p tests --test power_cuts -- --nocapture --test-threads 2

# Instructions and memory of a boot, beside live-boot's: docs/performance.md. BENCH='--write' puts them there.
bench-boot: build
	cargo build --release -p tests --bin bench_boot --bin bench_marker
	install -D -t $(BENCHED) $(addprefix $(RELEASE)/,livekit init cleanup bench_boot bench_marker)
	$(SUDO) env LIVEKIT_PROGRAMS=$(BENCHED) $(BENCHED)/bench_boot $(BENCH)

# Reads from the medium until login, with files in any order and in that of the boot.
bench-order: override BENCH += reads --alone
bench-order: bench-boot

# Packing beside mksquashfs and gensquashfs: docs/performance.md. BENCH='--write' puts the figures there.
bench-bundles: build
	cargo build --release -p tests --bin bench_bundles
	install -D -t $(BENCHED) $(addprefix $(RELEASE)/,livekit init cleanup bench_bundles)
	$(SUDO) env LIVEKIT_PROGRAMS=$(BENCHED) $(BENCHED)/bench_bundles $(BENCH)

# One more bundle on the running system, beside systemd-sysext: docs/performance.md.
bench-activation: build
	cargo build --release -p tests --bin bench_activation --bin probe
	install -D -t $(BENCHED) $(addprefix $(RELEASE)/,livekit init cleanup bench_activation probe)
	$(SUDO) env LIVEKIT_PROGRAMS=$(BENCHED) $(BENCHED)/bench_activation

# Writing into a session on FAT, beside an ext4 of its own: docs/performance.md.
bench-changes: build
	cargo build --release -p tests --bin bench_changes --bin probe
	install -D -t $(BENCHED) $(addprefix $(RELEASE)/,livekit init cleanup bench_changes probe)
	$(SUDO) env LIVEKIT_PROGRAMS=$(BENCHED) $(BENCHED)/bench_changes
