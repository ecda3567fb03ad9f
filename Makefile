# The two commands of the README: `make demo` and `make test`. Each makes what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(wildcard gunicorn_raindrops/_native/*.[ch]) gunicorn_raindrops/_native/build.py
BUILT := $(VENV)/.built
OLD_GUNICORN := .venv-gunicorn23
RELEASE := .venv-release
DEPLOY := .venv-deploy

.PHONY: demo docs test test-old test-deploy overload test-pythons test-wheels test-aarch64 \
	release-check newest-pythons matrix life fuzz lint bench screenshots wheel wheels clean

demo: $(BUILT)
	@$(BIN)/python examples/demo.py

# Four at once: most of them wait for servers.
test: $(BUILT) $(OLD_GUNICORN)/.built lint docs
	$(BIN)/python -m pytest -q -n 4 --dist worksteal
	$(BIN)/python tests/pythons.py --quick

# Everything that there is for an old gunicorn; `test` runs what differs most.
test-old: $(BUILT) $(OLD_GUNICORN)/.built
	GUNICORN=23 $(BIN)/python -m pytest -q -n 4 --dist worksteal tests/integration

# What examples/deploy has, with all that can be had to try it by. `test` runs the same, but for what
# takes minutes (`slow`), and skips what needs more than it installs.
test-deploy: $(BUILT) $(DEPLOY)/.built wheels
	WHEELS=dist $(BIN)/python -m pytest -q -n 2 --dist worksteal -m "" \
	  --timeout=3600 tests/deploy

# Real gunicorns under twice what they can serve, with a small kubelet and an autoscaler that do what
# the shipped manifests say. Shorter: make overload OVERLOAD=60
OVERLOAD ?= 600
overload: $(BUILT)
	$(BIN)/python -m tests.deploy.overload $(OVERLOAD)

# The one wheel, on every supported Python of pyenv's that is there: all unit tests. `test` runs
# those of the native code and of what it counts, on the first and the last of them.
test-pythons: $(BUILT)
	$(BIN)/python tests/pythons.py

# CPython 3.14 and 3.15 of Debian sid, for a pyenv that has them not: the tests on other Pythons,
# and of wheels, find them.
newest-pythons: $(RELEASE)/.built
	$(RELEASE)/bin/python release/debian.py python3.14 python3.15

# What shows that it counts, over gunicorns 20.1 to 27, Pythons and worker classes; one table, in
# half an hour. Some cells: make matrix CELLS="--gunicorn 23 27 --python 3.12 --worker-class sync";
# those only that have not passed yet: make matrix CELLS=--go-on
matrix: $(BUILT)
	$(BIN)/python -m tests.matrix $(CELLS)

# Random lives of real servers under load, another seed each day. Shorter: make life LIFE=10x30
LIFE ?= 100x30
SEED ?= $(shell date +%Y%m%d)
life: $(BUILT) $(OLD_GUNICORN)/.built
	LIFE=$(LIFE) SEED=$(SEED) $(BIN)/python -m pytest -q -s --timeout=0 \
	  tests/integration/test_random_life.py

# What `test` tries with the same examples each time, with others: FUZZ rounds, from another seed each
# day.
FUZZ ?= 20
fuzz: $(BUILT)
	@for round in $$(seq $(FUZZ)); do \
	  $(BIN)/python -m pytest -q -n 2 -m hypothesis --hypothesis-profile=fuzz \
	    --hypothesis-seed=$(SEED)$$round || exit; \
	done

# The wheels of all platforms looked into, and this machine's installed on each Python of pyenv's.
test-wheels: $(BUILT) wheels
	$(RELEASE)/bin/python release/audit.py dist/*.whl
	WHEELS=dist $(BIN)/python -m pytest -q -s tests/release

# The wheel for aarch64 under qemu's emulation: counters, histogram, scoreboard. Needs Debian's
# qemu-user-static.
test-aarch64: wheels
	$(RELEASE)/bin/python release/aarch64.py dist

# All that can be known of a release before its tag is pushed; one line for each check.
release-check: $(BUILT) $(RELEASE)/.built
	$(RELEASE)/bin/python release/check.py

lint: $(BUILT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation site, into build/site; a warning, as of a broken link, is an error.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q

bench: $(BUILT)
	$(BIN)/python benchmarks/run.py

# The live page in each of its states, light and dark, wide and narrow; needs Debian's chromium.
screenshots: $(BUILT)
	$(BIN)/python -m tests.screenshots docs/screenshots

# For this machine alone, with its own compiler.
wheel: $(BUILT)
	$(BIN)/pip wheel -q --no-deps --wheel-dir dist .

# The sdist, and the wheels for glibc and musl on x86_64 and aarch64, into dist/.
wheels: $(RELEASE)/.built
	$(RELEASE)/bin/python release/wheels.py dist

$(BUILT): pyproject.toml setup.py $(NATIVE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/.docs: $(BUILT)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[docs]'
	@touch $@

$(OLD_GUNICORN)/.built: $(BUILT)
	$(PYTHON) -m venv $(OLD_GUNICORN)
	$(OLD_GUNICORN)/bin/pip install -q --disable-pip-version-check 'gunicorn==23.*' -e . \
		gevent eventlet uvicorn websockets
	@touch $@

$(RELEASE)/.built: release/requirements.txt
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/pip install -q --disable-pip-version-check -r $<
	@touch $@

$(DEPLOY)/.built: tests/deploy/requirements.txt tests/deploy/datadog.txt
	$(PYTHON) -m venv $(DEPLOY)
	$(DEPLOY)/bin/pip install -q --disable-pip-version-check --only-binary :all: -r $<
	$(DEPLOY)/bin/pip install -q --disable-pip-version-check --no-deps -r tests/deploy/datadog.txt
	-npm install --silent --prefix $(DEPLOY)/node --no-audit --no-fund @kubernetes-models/keda@2 \
		@kubernetes-models/prometheus-operator@6 @grafana/schema@13 typescript@5
	@touch $@

clean:
	rm -rf .venv .venv-* .debian build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f gunicorn_raindrops/_native/*.so gunicorn_raindrops/_native/_scoreboard.c \
		gunicorn_raindrops/_native/_diag.c
