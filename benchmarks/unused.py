"""What the plugin costs whoever has it installed and does not use it: pytest with it and without it.
Many short runs in turn; what counts is the difference within a pair."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import measure

BOUND = 10.0
WITHOUT = ("-p", "no:kubernix")
EMPTY = "def test_nothing():\n    pass\n"


def run(directory: Path, *arguments: str) -> dict[str, float]:
    """Milliseconds of one run of pytest, in a directory that configures nothing."""
    begin = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=directory, check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return {"ms": (time.monotonic() - begin) * 1000}


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
    rows = [
        (name, [measure.spread(found[name]["ms"], 0), measure.spread(found[f"{name}, without"]["ms"], 0)])
        for name in cases
    ]
    measure.table(f"milliseconds, median (min to max) of {arguments.runs} pairs", ["with", "without"], rows)
    for name in cases:
        pairs = zip(found[name]["ms"], found[f"{name}, without"]["ms"], strict=True)
        measure.bound(f"{name}: price of the plugin", [one - other for one, other in pairs], BOUND, "ms", 1)
        ratio = measure.ratio(found[name]["ms"], found[f"{name}, without"]["ms"])
        print(f"{name}: with ÷ without: {measure.spread(ratio)}")


if __name__ == "__main__":
    main()
