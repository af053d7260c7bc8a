"""How long a spare stays, with a loop and a directory and no cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kubernix.guardian import lifetime as stay
from pytest_kubernix.guardian.lifetime import Stay
from pytest_kubernix.guardian.rundir import HOLDERS_LOCK, SPARE, TAKEN
from pytest_kubernix.linux.priority import Priority

LIFETIME = 0.05


def outcome(run_dir: Path, do: Callable[[Stay], None]) -> str:
    """Why a spare ended that was offered; or "" when it had not within a second."""

    async def play() -> str:
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        it = Stay(run_dir, (), lambda why: None if ended.done() else ended.set_result(why), Priority(isolated=False))
        it.become_spare("identity", LIFETIME)
        it.offer()
        do(it)
        try:
            return await asyncio.wait_for(ended, 1)
        except TimeoutError:
            return ""

    return asyncio.run(play())


def test_what_nobody_takes_is_withdrawn_and_ends(tmp_path: Path) -> None:
    """Nobody can take it any more when it ends."""
    assert outcome(tmp_path, lambda it: None) == "nobody took this spare"
    assert not (tmp_path / SPARE).exists()


def test_whoever_is_taking_it_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its taking and its being held, its lifetime does not end it; a taker that died there does."""

    def take(_: Stay) -> None:
        (tmp_path / SPARE).rename(tmp_path / TAKEN)

    assert outcome(tmp_path, take) == ""
    monkeypatch.setattr(stay, "TAKING_SECONDS", LIFETIME)
    assert outcome(tmp_path, take) == "nobody holds this spare"


def test_once_held_it_stays_as_long_as_it_is(tmp_path: Path) -> None:
    """Who has taken it is waited for, and nothing else."""

    def take(it: Stay) -> None:
        (tmp_path / SPARE).rename(tmp_path / TAKEN)
        (tmp_path / HOLDERS_LOCK).touch()
        it.taken()

    assert outcome(tmp_path, take) == "no holder is left"
