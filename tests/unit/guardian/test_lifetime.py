"""How long a spare stays, with a loop and a directory and no cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kubernix.guardian import lifetime
from pytest_kubernix.guardian.lifetime import Lifetime
from pytest_kubernix.layout import Layout

SECONDS = 0.05


def outcome(run_dir: Path, do: Callable[[Lifetime], None]) -> str:
    """Why a spare ended that was offered; or "" when it had not within four of its lives."""

    async def play() -> str:
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        it = Lifetime(Layout(run_dir), (), lambda why: None if ended.done() else ended.set_result(why))
        it.become_spare("identity", SECONDS)
        it.offer()
        do(it)
        try:
            return await asyncio.wait_for(ended, 4 * SECONDS)
        except TimeoutError:
            return ""

    return asyncio.run(play())


def test_what_is_not_taken_is_withdrawn_and_ends(tmp_path: Path) -> None:
    """It can't be taken any more when it ends."""
    assert outcome(tmp_path, lambda it: None) == "this spare was not taken"
    assert not Layout(tmp_path).spare.exists()


def test_a_process_that_is_taking_it_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its taking and its being held, its lifetime does not end it; a taker that died there does."""

    def take(_: Lifetime) -> None:
        Layout(tmp_path).spare.rename(Layout(tmp_path).spare_taken)

    assert outcome(tmp_path, take) == ""
    monkeypatch.setattr(lifetime, "TAKING_SECONDS", SECONDS)
    assert outcome(tmp_path, take) == "this spare has no holder"


def test_once_held_it_stays_as_long_as_it_is(tmp_path: Path) -> None:
    """The process that has taken it is waited for, and nothing else."""

    def take(it: Lifetime) -> None:
        Layout(tmp_path).spare.rename(Layout(tmp_path).spare_taken)
        Layout(tmp_path).holders_lock.touch()
        it.taken()

    assert outcome(tmp_path, take) == "no holder is left"
