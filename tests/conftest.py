"""What all tests share: pytest in pytest, and an environment that is the same everywhere."""

from __future__ import annotations

import os

import pytest

pytest_plugins = ("pytester",)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options that the developer set in the environment must not reach what is tested."""
    for name in os.environ:
        if name.startswith("KUBERNIX_") or name in {"PYTEST_ADDOPTS", "KUBECONFIG"}:
            monkeypatch.delenv(name)
