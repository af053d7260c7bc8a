"""What the plugin costs a user who has it installed and does not use it: pytest with it and without it.
Many short runs in turn; what counts is the difference within a pair."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import measure

BOUND = 10.0
# Where other work runs beside it, processor time tells more than the clock.
FIGURES = ("clock", "processor")
WITHOUT = ("-p", "no:kubernix")
EMPTY = "def test_nothing():\n    pass\n"


def run(directory: Path, *arguments: str) -> dict[str, float]:
    """Milliseconds of one run of pytest, by the clock and of processor time, in a directory that configures nothing."""
    begin = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=directory, env=measure.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begin
    # It was waited for here, where the kernel tells what it used; Popen must not try it again.
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"pytest {' '.join(arguments)} failed with exit code {process.returncode}")
    return {"clock": seconds * 1000, "processor": (usage.ru_utime + usage.ru_stime) * 1000}


def main() -> None:
    """Measure and print."""
    parser = measure.parser(__doc__, runs=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        (directory / "test_nothing.py").write_text(EMPTY)
        (directory / "pytest.ini").write_text("[pytest]\n")
        cases = {"pytest --version": ("--version",), "one empty test": ("-q", "test_nothing.py")}
        subjects: dict[str, Callable[[], Mapping[str, float]]] = {}
        for name, words in cases.items():
            subjects[name] = lambda words=words: run(directory, *words)  # type: ignore[misc]
            subjects[f"{name}, without"] = lambda words=words: run(directory, *WITHOUT, *words)  # type: ignore[misc]
        found = measure.interleave(subjects, arguments.runs)
    header = [f"{figure}, {side}" for figure in FIGURES for side in ("with", "without")]
    rows = [
        (name, [measure.spread(found[side][figure], 0) for figure in FIGURES for side in (name, f"{name}, without")])
        for name in cases
    ]
    measure.table(f"milliseconds, median (min to max) of {arguments.runs} pairs", header, rows)
    for name, words in cases.items():
        for figure in FIGURES:
            one, other = found[name][figure], found[f"{name}, without"][figure]
            price = [more - less for more, less in zip(one, other, strict=True)]
            if words == ("--version",):
                measure.bound(f"{name}: price of the plugin, {figure}", price, BOUND, "ms", 1)
            else:
                print(f"{name}: price of the plugin, {figure}: {measure.spread(price, 1)} ms")
            print(f"{name}: with ÷ without, {figure}: {measure.spread(measure.ratio(one, other))}")


if __name__ == "__main__":
    main()
