"""Texts that were made short still have what they are read for."""

from __future__ import annotations

import pytest

from pytest_kubernix.texts import health, shortened

CHECKS = "[+]ping ok\n" * 40 + "[-]poststarthook/rbac failed: reason withheld\n[+]log ok\nhealthz check failed\n"


@pytest.mark.parametrize("length", [0, 1, 20, 21, 1000])
def test_a_text_is_as_long_as_it_may_be(length: int) -> None:
    """A short text is whole; of a long one the beginning and the end stay, and it has exactly the limit."""
    text = "a" * (length // 2) + "b" * (length - length // 2)
    short = shortened(text, 20)
    assert short == text if length <= 20 else (len(short), short[0], short[-1]) == (20, "a", "b")


def test_a_failed_check_is_told_whatever_came_before() -> None:
    """Of forty checks that passed and one that did not, the one is told."""
    assert health(CHECKS, 300) == "[-]poststarthook/rbac failed: reason withheld"
    assert health("not yet\n", 300) == "not yet"
