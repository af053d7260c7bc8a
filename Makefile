# The commands of the README. `demo` and `test` set up what they need, and build nothing a second time.
.NOTPARALLEL:
.PHONY: setup demo test lint fast clusters long examples bench clean

DEFAULT_VERSION := default
OLDER_VERSION := 1.33.13

# Tests that boot, break and end clusters in runs of their own: a session to themselves, without shared clusters.
OWN_CLUSTERS := $(wildcard tests/integration/test_crash*.py tests/integration/test_sharing*.py \
	tests/integration/test_reuse*.py tests/integration/test_spares*.py tests/integration/test_leftovers*.py tests/integration/test_failures*.py)

PYTEST := .venv/bin/python -m pytest
# Nodes need root. Without it, tests run by sudo, with the same caches.
ifneq ($(shell id -u),0)
AS_ROOT := sudo env PYTHONDONTWRITEBYTECODE=1 KUBERNIX_CACHE=$${KUBERNIX_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/pytest-kubernix}
endif

setup:
	@scripts/setup.sh $(DEFAULT_VERSION)

demo: setup
	$(AS_ROOT) $(PYTEST) --kubernix-nodes=2 examples/ -v

test: lint fast clusters examples

# What needs no executables comes first, so that a mistake shows within seconds.
lint:
	@scripts/setup.sh
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

fast:
	@scripts/setup.sh
	$(PYTEST) -q

clusters:
	@scripts/setup.sh $(DEFAULT_VERSION) $(OLDER_VERSION)
	$(AS_ROOT) $(PYTEST) -m "(cluster or builds) and not long" tests $(OWN_CLUSTERS:%=--ignore=%)
	$(AS_ROOT) $(PYTEST) -m "not long" $(OWN_CLUSTERS)

# The whole crash matrix and a hundred killed starts: half an hour, and nothing but time.
long: setup
	$(AS_ROOT) $(PYTEST) -m long -s tests

examples:
	@scripts/setup.sh $(DEFAULT_VERSION) $(OLDER_VERSION)
	$(AS_ROOT) $(PYTEST) --kubernix-nodes=2 examples/
	$(AS_ROOT) $(PYTEST) --kubernix-nodes=2 --kubernix-k8s-version=$(OLDER_VERSION) examples/

# One after another: two at once would measure each other.
BENCHMARKS := boot ready_made teardown rollback pristine unused memory kubectl rollout

bench: setup
	@for name in $(BENCHMARKS); do \
		[ -e benchmarks/$$name.py ] || continue; \
		echo "== $$name"; \
		$(AS_ROOT) .venv/bin/python benchmarks/$$name.py || exit 1; \
	done

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
