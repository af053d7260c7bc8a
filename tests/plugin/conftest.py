"""Suites of their own that run with the plugin, on a driver that starts nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

FAKE_DRIVER = Path(__file__).with_name("fake_driver.py").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _clean(clean_environment: None) -> None:
    """No option from outside."""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A directory whose tests run on the fake driver."""
    pytester.makeconftest(FAKE_DRIVER)
    pytester.makeini("[pytest]\nkubernix_driver = fake\n")
    return pytester


@pytest.fixture
def events(suite: pytest.Pytester) -> Callable[[], list[str]]:
    """What the fake driver was asked, in order."""

    def read() -> list[str]:
        path = suite.path / "events.txt"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    return read
