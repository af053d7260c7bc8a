# The commands of the README. `demo` and `test` set up what they need, and build nothing a second time.
.PHONY: setup demo test lint fast clusters examples bench clean

DEFAULT_VERSION := default
OLDER_VERSION := 1.33.13

PYTEST := .venv/bin/python -m pytest
# Nodes need root. Whoever is not root runs pytest by sudo, with the same caches.
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
	$(AS_ROOT) $(PYTEST) -q -m "not cluster and not builds" tests

clusters:
	@scripts/setup.sh $(DEFAULT_VERSION) $(OLDER_VERSION)
	$(AS_ROOT) $(PYTEST) -m "cluster or builds" tests

examples:
	@scripts/setup.sh $(DEFAULT_VERSION) $(OLDER_VERSION)
	$(AS_ROOT) $(PYTEST) --kubernix-nodes=2 examples/
	$(AS_ROOT) $(PYTEST) --kubernix-nodes=2 --kubernix-k8s-version=$(OLDER_VERSION) examples/

bench: setup
	$(AS_ROOT) .venv/bin/python benchmarks/boot.py
	$(AS_ROOT) .venv/bin/python benchmarks/rollback.py
	$(AS_ROOT) .venv/bin/python benchmarks/pristine.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
