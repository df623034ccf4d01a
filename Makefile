# weft: every target has a line of help; `make help` prints them. V=1 shows the commands as they run.
SHELL := /bin/bash
BINDIR ?= /opt/cni/bin
SBINDIR ?= /usr/local/bin
SHAREDIR ?= /usr/local/share
UNITDIR ?= /usr/local/lib/systemd/system
DESTDIR ?=
BIN := node_modules/.bin
# Node's headers, where they lie beside this Node; otherwise node-gyp fetches them.
NODE_PREFIX := $(shell node -p "path.dirname(path.dirname(process.execPath))")
NODE_DIR := $(if $(wildcard $(NODE_PREFIX)/include/node/node.h),--nodedir=$(NODE_PREFIX))
SOURCES := $(shell find netlink cni plan firewall ipam cluster plugins runtime inspect agent cli bin scripts -name '*.ts' -o -name '*.cjs' -o -name '*.cc' -o -name '*.h') $(wildcard examples/*)

.DEFAULT_GOAL := build
ifndef V
.SILENT:
endif
.PHONY: help deps build validators check format pure test demo bench plots install uninstall clean

help: ## explain every target
	awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' Makefile

deps: node_modules/.installed ## install what is missing: Debian packages for building and running, npm packages

node_modules/.installed: package.json package-lock.json .taprc
	scripts/install-packages.sh build
# Not `npm ci`: it insists on packages for other systems, which not every registry has. The lock file holds all the same.
	echo 'npm packages'
	npm install --no-save --no-audit --no-fund --loglevel=error
	$(BIN)/tap build >/dev/null 2>&1
	touch $@

build: dist/bin/weft ## make the executables: dist/bin/{weft,bridge,ptp,...}

build/Release/weft.node: node_modules/.installed binding.gyp $(wildcard netlink/native/* bin/launcher/* runtime/native/* scripts/seccomp/*.cc)
	echo 'addon and launcher'
	$(BIN)/node-gyp configure build $(NODE_DIR) --loglevel=error >build.log 2>&1 || { cat build.log; rm -f build.log; exit 1; }
	rm -f build.log
	touch $@

dist/bin/weft: build/Release/weft.node $(SOURCES)
	$(BIN)/tsx scripts/build.ts

validators: node_modules/.installed ## generate the configuration validators from the JSON schemas
	$(BIN)/tsx scripts/generate-validators.ts

check: build ## formatter, linter, compiler, import rules and pure tests: under a minute, no root needed
	$(BIN)/biome check --error-on-warnings .
	$(BIN)/tsc -p .
	$(BIN)/tap run $$(cat test/pure.list)

format: node_modules/.installed ## format the sources
	$(BIN)/biome check --write .

test: build ## install what is missing, build, run all tests (root; simulated hosts, real containerd and Podman)
	scripts/install-packages.sh test
	$(BIN)/tap run -R $(BIN)/tsx -r scripts/test-report.ts

test-machine: build ## what this kernel may lack (VLANs, VRFs, cgroup v2 alone, ...), tested in virtual machines with Debian's kernel (root; minutes with KVM)
	scripts/install-packages.sh test
	scripts/install-packages.sh machine
	$(BIN)/tap run -j 1 -t 7200 -R $(BIN)/tsx -r scripts/test-report.ts test/machine/*.machine.ts

demo: build ## containers on a bridge, on two hosts with a tunnel, and one taken apart, all simulated; show each step, take it away again (root)
	scripts/install-packages.sh demo
	dist/bin/weft demo bridge
	dist/bin/weft demo two-hosts
	dist/bin/weft demo container

bench: build ## compare with Debian's containernetworking-plugins in one run, and show where the time goes (root; some minutes)
	scripts/install-packages.sh bench
	$(BIN)/tsx bench/run.ts --json dist/bench.json
	$(BIN)/tsx bench/where.ts --json dist/where.json
	$(BIN)/tsx bench/ipam.ts
	$(BIN)/tsx bench/containers.ts --json dist/containers.json
	$(BIN)/tsx bench/cluster.ts --json dist/cluster.json

plots: node_modules/.installed ## draw what the last `make bench` found: docs/*.svg and the tables of docs/performance.md
	$(BIN)/tsx bench/document.ts dist/bench.json dist/where.json

bench-throughput: build ## measure TCP, UDP, round trips and CPU between containers on two hosts, by weft and by hand (root; some minutes)
	scripts/install-packages.sh test
	$(BIN)/tsx bench/throughput.ts --json dist/throughput.json --into docs/throughput.md

COMPLETIONS := bash-completion/completions/weft zsh/site-functions/_weft fish/vendor_completions.d/weft.fish

install: build ## put the executables where runtimes look, weft on the path, completion, manual page, the agent's unit [DESTDIR= BINDIR= SBINDIR= SHAREDIR= UNITDIR=]
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(SBINDIR) $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SHAREDIR)/man/man8
	install dist/bin/* $(DESTDIR)$(BINDIR)
	ln -sf $(BINDIR)/weft $(DESTDIR)$(SBINDIR)/weft
	sed 's#/opt/cni/bin#$(BINDIR)#' contrib/systemd/weft-agent.service >$(DESTDIR)$(UNITDIR)/weft-agent.service
	for file in $(COMPLETIONS); do \
	  install -d $(DESTDIR)$(SHAREDIR)/$$(dirname $$file) && \
	  dist/bin/weft completion $${file%%[-/]*} >$(DESTDIR)$(SHAREDIR)/$$file || exit 1; \
	done
	dist/bin/weft __manual >$(DESTDIR)$(SHAREDIR)/man/man8/weft.8

# Every plugin is weft's launcher under another name; a file of that name that is not is somebody else's, and stays.
uninstall: ## take away what `make install` put there
	cd $(DESTDIR)$(BINDIR) && for file in *; do [ $$file = weft ] || ! cmp -s $$file weft || rm $$file; done && rm -f weft weft-*
	cd $(DESTDIR)$(SHAREDIR) && rm -f $(COMPLETIONS) man/man8/weft.8
	rm -f $(DESTDIR)$(SBINDIR)/weft $(DESTDIR)$(UNITDIR)/weft-agent.service

clean: ## remove what was built
	rm -rf build dist
