# The whole workflow. On a fresh machine with Python 3.11 and make: `make demo`, `make test`.
PYTHON ?= python3
RUN := .venv/bin/python
UV := .tools/uv/bin/uv
PYTEST := .venv/bin/python -m pytest
D ?=
MINUTES ?= 1
SECONDS ?= 0
SOAK_MINUTES ?= 24
INFLUXDB ?= 1
NAMES ?=
CLIENTS ?=

.PHONY: help setup servers demo test test-driver check fix bench hil fault soak secrets fuzz lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: ## environment with the locked packages, desk page built
	@$(PYTHON) tools/setup.py

servers: ## setup, and the real servers that the tests start
	@$(PYTHON) tools/setup.py --servers

demo: setup ## broker, store, gateway, page and an emulated town, in one terminal
	@$(RUN) -m gateway demo --seconds $(SECONDS)

test: servers ## everything that must hold on each change
	$(PYTEST) -n 2 --dist loadfile -m "not fault and not hardware"

test-driver: setup ## one driver's battery: make test-driver D=nmea0183
	$(PYTEST) tests/unit/drivers tests/fault -k "$(D)"

fault: servers ## the reliability bars: kills, power cuts, unplugging, hostile peers
	$(PYTEST) -n 2 --dist loadfile -m "fault and not quiet and not hardware"
	$(PYTEST) -m "fault and quiet and not hardware"

fuzz: setup $(UV) ## coverage-guided fuzzing of one driver: make fuzz D=jt808 MINUTES=30
	@$(UV) pip install --quiet --python $(RUN) --require-hashes --no-deps -r tests/fuzz/requirements.lock
	$(RUN) -m tests.fuzz.run $(D) --minutes $(MINUTES)

soak: servers ## a day sixty times as fast with a fault a minute: make soak SOAK_MINUTES=24 INFLUXDB=1
	$(PYTEST) tests/fault/test_r23_soak.py -s --minutes $(SOAK_MINUTES) --influxdb $(INFLUXDB)

secrets: ## of docker-compose.yml, each site its own: make secrets NAMES="broker.town.local 192.168.10.2"
	@$(PYTHON) tools/make_secrets.py $(NAMES:%=--name %) $(CLIENTS:%=--client %)

hil: servers ## the bench with emulated devices; real ones: add -m hardware and a bench.toml
	$(PYTEST) hil_tests

check: setup ## format, lint, types, arrows between layers
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

fix: setup ## let the formatter and the linter mend what they can, write generated files anew
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .
	$(RUN) -m tools.write_config
	$(RUN) -m tools.write_schemas
	$(RUN) -m tools.write_asyncapi
	$(RUN) -m tools.write_dashboards
	$(RUN) -m tools.write_airtime

bench: servers ## figures beside a ceiling measured in the same run
	$(RUN) -m tests.bench

lock: $(UV) ## write requirements.lock anew from pyproject.toml
	$(UV) pip compile --quiet --no-header --universal --generate-hashes --no-emit-index-url \
	  --no-annotate --python-version 3.11 --group dev pyproject.toml -o requirements.lock
	echo 'grafana-client>=5.1' | $(UV) pip compile --quiet --no-header --generate-hashes --no-emit-index-url \
	  --no-annotate --python-version 3.11 - -o tests/grafana/requirements.lock
	echo 'atheris>=3' | $(UV) pip compile --quiet --no-header --generate-hashes --no-emit-index-url \
	  --no-annotate --python-version 3.11 - -o tests/fuzz/requirements.lock

$(UV):
	@$(PYTHON) tools/setup.py --uv

clean: ## forget everything that setup made
	rm -rf .venv .tools gateway/desk/static dashboards/desk/node_modules
