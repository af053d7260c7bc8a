"""What all tests of the project share: pytest in pytest, an environment that is the same everywhere, and which tests
a bare `pytest` runs: the fast ones, which need neither root nor executables."""

from __future__ import annotations

import pytest

from pytest_kubernix.options import OPTIONS

pytest_plugins = ("pytester",)

FAST = "not cluster and not builds and not long"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Without a word about which tests, these are the fast ones; a path or -m has what it names."""
    bare = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if bare and not config.option.markexpr:
        config.option.markexpr = FAST


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options that the developer set in the environment must not reach what is tested."""
    for name in ("PYTEST_ADDOPTS", "KUBECONFIG", *(option.env for option in OPTIONS)):
        monkeypatch.delenv(name, raising=False)
