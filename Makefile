# make run | test | lint | bench | gym | completions | clean. Each does its own set-up on a fresh machine.

VENV ?= .venv
PY := $(VENV)/bin/python
BOOTSTRAP ?= python3
ARGS ?=
export OPENBLAS_NUM_THREADS = 1

.PHONY: run test lint bench gym completions clean

run: $(VENV)/.run
	@$(VENV)/bin/jepad --session $(ARGS)

test: $(VENV)/.dev
	$(MAKE) -s -C libjepad check
	$(PY) -m pytest $(ARGS)

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache
	mandoc -T lint -W warning man/*.[1-8]
	xmllint --noout dbus/interfaces/*.xml dbus/*.policy dbus/*.conf

bench: $(VENV)/.dev
	@for name in footprint cli bus ring machine stall action thermal power conformance scene gpu camera; do $(PY) -m bench $$name --quick $(ARGS) || exit 1; done

# Telemetry of real load, with actions and their twins: native cgroups and qemu guests. Needs root.
gym: $(VENV)/.dev
	$(PY) -m jepad.learn.gym --out data/gym $(ARGS)

completions: $(VENV)/.dev
	$(PY) packaging/completions.py

clean:
	rm -rf $(VENV) build *.egg-info jepad/ring/_shm.c jepad/ring/_shm*.so
	$(MAKE) -s -C libjepad clean

# Sources that the compiled binding is made from; a change rebuilds it.
NATIVE := setup.py pyproject.toml jepad/ring/build_shm.py $(wildcard libjepad/*.[ch])

$(VENV)/.run: $(NATIVE) packaging/setup.sh
	@packaging/setup.sh run $(BOOTSTRAP) $(VENV)
	@touch $@

$(VENV)/.dev: $(NATIVE) packaging/setup.sh
	@packaging/setup.sh dev $(BOOTSTRAP) $(VENV)
	@touch $@ $(VENV)/.run
