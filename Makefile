# The two that matter:  make demo  (see it work),  make test  (everything that CI runs).

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# The tests start some hundred Pythons: without kept bytecode each compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test check bench crash peers fmt docs lock clean

install: $(STAMP)  ## make .venv with Skerry, the model server and the development tools

$(STAMP): pyproject.toml requirements.lock hatch_build.py src/skerry/server/_numbers.c
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Skerry needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock --editable '.[server,zstd]' --group dev
	touch $@

demo: $(STAMP)  ## start the platform, deploy a real classifier, classify a photograph (ONCE=1 exits afterwards)
	$(BIN)/python examples/demo.py $(if $(ONCE),--once)

test: $(STAMP) check  ## everything that CI runs
	$(BIN)/python -m pytest -n 3 --dist loadfile

check: $(STAMP)  ## style, types, import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(STAMP)  ## all benchmarks; BENCH=--quick for the short form
	for file in benchmarks/*.py; do $(BIN)/python -P $$file $(BENCH) || exit 1; done

peers: $(STAMP)  ## what CI leaves out: KServe's own clients, in an environment of 700 MB, schemathesis (and MLServer, for the benchmarks)
	$(BIN)/python -m benchmarks.model_server.servers
	$(BIN)/python -m pytest tests/server_clients tests/conformance/test_conformance_kserve.py

crash: $(STAMP)  ## a thousand power cuts, replayed against the store (needs a C compiler)
	$(BIN)/python -m tests.store.powercut --runs 1000

fmt: $(STAMP)  ## format the code
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

docs: $(STAMP)  ## rewrite the generated parts of the reference
	$(BIN)/python docs/generate.py

lock:  ## pin what is installed now
	$(BIN)/python -m pip freeze --exclude-editable --exclude skerry | grep -v ' @ ' > requirements.lock

clean:  ## remove what was made here
	rm -rf $(VENV) .demo
