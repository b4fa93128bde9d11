# The two commands of the README are `make demo` and `make test`; each sets up .venv by itself.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: setup demo test quick lint types browser check-tests mutants bench clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "boneexp needs Python 3.11 or newer; name one: make setup PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m compileall -q boneexp
	touch $(READY)

demo: $(READY)
	bash demo.sh $(BIN)/boneexp demo

test: lint types check-tests

# Before each commit: under a minute on two cores.
quick: lint types
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist worksteal -m "not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# The tests of artifacts/report.html run in Debian's Chromium; without it they are skipped.
browser:
	@if [ ! -x /usr/bin/chromium ] || [ ! -x /usr/bin/chromedriver ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	    apt-get -o Acquire::Retries=0 -o Acquire::http::Timeout=20 update -qq; apt-get install -qq -y --no-install-recommends chromium chromium-driver; \
	  fi || echo "Chromium could not be installed: the tests of artifacts/report.html will be skipped"; \
	fi

check-tests: $(READY) browser
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal

# How many small changes of the code its tests find, in a drawn sample; not part of CI.
mutants: $(READY)
	$(BIN)/python benchmarks/mutants.py

# Speed, as ratios to what others do, in one run: five to six minutes on two cores; BENCH=full takes longer and keeps
# the figures in benchmarks/results. What cannot be installed is skipped with a message. Guild needs an old pydantic.
GUILD := build/guild
PEERS := .venv/peers
bench: $(READY) $(PEERS) $(GUILD)
	$(BIN)/python -m compileall -q boneexp
	$(BIN)/python benchmarks/bench.py $(if $(filter full,$(BENCH)),--full --into benchmarks/results)
	$(if $(filter full,$(BENCH)),$(BIN)/python benchmarks/performance_page.py)

$(PEERS): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]' && touch $@ || \
	  echo "the peers could not all be installed: those that are missing are skipped"

$(GUILD):
	@$(PYTHON) -m venv $@ && $@/bin/python -m pip install --quiet --disable-pip-version-check guildai==0.8.1 'pydantic<2' setuptools || \
	  { rm -rf $@; echo "Guild could not be installed: it is skipped"; }

clean:
	rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache
