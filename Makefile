# make serve   the server; ARGS="--port 9000" is passed on
# make test    all tests; sets up what they need on the first call
# make check   the definition of done: format, lint, types, tests
# make fast    while you write: lint, types and the tests of the core
# make docs    build/docs, the documentation as pages
# make npm     build/npm, the package for npm: the recorder and its types
# make soak    the tests with their long fault runs; make bench   the comparison with peers

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Command and Debian package of what only the tests need.
NODE := node:nodejs npm:npm
TOOLS := caddy:caddy certutil:libnss3-tools chromium:chromium ffprobe:ffmpeg firefox-esr:firefox-esr \
	$(NODE) nginx:nginx-light openssl:openssl pg_ctlcluster:postgresql pulseaudio:pulseaudio sox:sox systemd-analyze:systemd
TYPED := tsconfig.json tsconfig.worker.json tsconfig.worklet.json tests/web tests/web/journal
SIDE_BY_SIDE := -n 2
TSC := node_modules/.bin/tsc
NPM_BUILD := build/npm
RECORDER := src/micwire/web/recorder

.PHONY: serve test check lint types fast npm soak bench docs tools clean

serve: $(VENV)/runtime
	$(BIN)/micwire serve $(ARGS)

test: $(VENV)/dev tools node_modules/installed
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

check: lint types test

lint: $(VENV)/dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check

# A page, a worker, the audio thread and Node have globals of their own.
types: $(VENV)/dev node_modules/installed
	$(BIN)/mypy
	set -e; for project in $(TYPED); do $(TSC) -p $$project; done

fast: lint types
	$(BIN)/python -m pytest tests/core

npm: node_modules/installed
	rm -rf $(NPM_BUILD)
	mkdir -p $(NPM_BUILD)
	cp -r package.json README.md LICENSE $(RECORDER) $(NPM_BUILD)
	$(TSC) -p tsconfig.npm.json --outDir $(NPM_BUILD)/recorder

soak: $(VENV)/dev tools node_modules/installed
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --soak $(ARGS)

bench: $(VENV)/dev
	$(BIN)/python -m bench $(ARGS)

docs: $(VENV)/dev
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/docs/index.html"

clean:
	rm -rf $(VENV) node_modules build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Stamps: done once, and again when what they depend on changes.
$(VENV)/runtime: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "micwire needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "no virtual environment could be made: on Debian install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/dev: $(VENV)/runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# No lock file: it would hold download addresses. The versions are exact all the same.
node_modules/installed: package.json
	@command -v npm >/dev/null || $(MAKE) tools TOOLS="$(NODE)"
	npm install --no-package-lock --ignore-scripts --silent
	@touch $@

tools:
	@missing=; for tool in $(TOOLS); do \
		command -v $${tool%%:*} >/dev/null || missing="$$missing $${tool##*:}"; \
	done; \
	test -n "$$missing" || exit 0; \
	if test "$$(id -u)" = 0; then as_root=; elif command -v sudo >/dev/null; then as_root=sudo; \
	else echo "the tests need these packages; as root: apt-get install$$missing" >&2; exit 1; fi; \
	command -v apt-get >/dev/null || { echo "the tests need these programs:$$missing" >&2; exit 1; }; \
	set -x; $$as_root apt-get update -q && \
	$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing
