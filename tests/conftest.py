"""What all tests share: pytest in pytest, and an environment that is the same everywhere."""

from __future__ import annotations

import pytest

from pytest_kubernix.options import OPTIONS

pytest_plugins = ("pytester",)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options that the developer set in the environment must not reach what is tested."""
    for name in ("PYTEST_ADDOPTS", "KUBECONFIG", *(option.env for option in OPTIONS)):
        monkeypatch.delenv(name, raising=False)
