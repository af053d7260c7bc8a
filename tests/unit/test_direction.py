"""The architecture as a test: imports go one way, plans are pure."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pytest_kubernix"
NAME = PACKAGE.name

# What each part may import of ours, apart from itself. Data flows one way (options, config, plan, boot, handle,
# fixtures), so an entry that would close a circle is a mistake in the import, not in this table.
BASE = {"errors", "config", "handle", "layout", "plain"}
ALLOWED: dict[str, set[str]] = {
    # What every process knows.
    "errors": set(),
    "plain": set(),
    "layout": set(),
    "handle": {"plain"},
    "config": {"errors", "plain"},
    "share": {"layout"},
    "locks": set(),
    "logs": set(),
    "linux": {"logs"},
    "http_requests": set(),
    "texts": set(),
    # What is wanted, as data.
    "versions": set(),
    "parsing": {"binaries"},
    "options": {"config", "errors", "parsing", "drivers"},
    "access": {"layout"},
    "plan": {*BASE, "access"},
    "components": {*BASE, "plan", "versions"},
    # What keeps a cluster, and what runs one: neither knows the other.
    "engine": {"errors", "handle", "layout"},
    "guardian": {*BASE, "locks", "engine", "linux", "logs", "share"},
    "boot": {*BASE, "engine", "linux", "logs", "http_requests", "plan", "texts"},
    "binaries": {"errors", "locks", "versions"},
    "store": {"errors", "components", "http_requests", "texts"},
    # What tests hold.
    "drivers": {*BASE, "plan", "components", "engine", "linux", "guardian", "boot", "binaries", "share", "store",
                "http_requests", "access"},
    "controls": {"errors", "handle", "drivers"},
    "kubectl": {"errors", "texts"},
    "image_archive": {"errors"},
    "diagnostics": {*BASE, "locks", "kubectl", "drivers", "texts"},
    "cluster": {*BASE, "controls", "kubectl", "image_archive", "access", "drivers", "diagnostics", "store"},
    "hookspecs": {"cluster", "config", "drivers", "plan"},
    "fixtures": {*BASE, "versions", "cluster", "kubectl", "drivers", "options", "share", "guardian", "diagnostics"},
    "doctor": {*BASE, "layout", "linux", "binaries", "drivers"},
    "plugin": {"errors", "cluster", "hookspecs", "options", "fixtures", "drivers"},
}  # fmt: skip

# Narrower than the table: the contract of a driver is one of any driver, and says nothing of guardians.
CONTRACT = {"drivers/base.py": {"errors", "config", "handle", "share", "store", "access"}}

PURE = ("plan", "components")
IMPURE_MODULES = {"os", "subprocess", "socket", "time", "shutil", "tempfile", "threading", "signal"}


def modules(part: str) -> list[Path]:
    """The source files of one part."""
    folder = PACKAGE / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{part}.py"]


def imported(path: Path) -> set[str]:
    """Every module that a file names in an import, absolute, wherever in the file it stands."""
    package = [NAME, *path.relative_to(PACKAGE).parts[:-1]]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{stem}.{alias.name}" for alias in node.names} | {stem}
    return names


def parts_of_ours(path: Path) -> set[str]:
    """The parts of this package that a file imports from."""
    ours = {name.split(".")[1] for name in imported(path) if name.startswith(f"{NAME}.")}
    return {part for part in ours if (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").exists()}


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_imports_go_one_way(part: str) -> None:
    """A part imports only what comes before it in the flow of data."""
    for path in modules(part):
        name = path.relative_to(PACKAGE).as_posix()
        surplus = parts_of_ours(path) - CONTRACT.get(name, ALLOWED[part]) - {part}
        assert not surplus, f"{name} must not import {', '.join(sorted(surplus))}"


def circles(graph: dict[str, set[str]]) -> list[str]:
    """The parts that come after themselves."""
    left = dict(graph)
    while free := [part for part, needs in left.items() if not needs & set(left) - {part}]:
        for part in free:
            del left[part]
    return sorted(left)


def test_no_part_comes_after_itself() -> None:
    """Neither what parts import nor what they may import goes in a circle."""
    there = {part: {one for path in modules(part) for one in parts_of_ours(path)} for part in ALLOWED}
    assert circles(there) == []
    assert circles(ALLOWED) == []


def test_a_circle_would_be_seen() -> None:
    """The check above can fail."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set(), "e": {"e", "d"}}) == ["a", "b", "c"]


def test_every_part_is_in_the_table() -> None:
    """A new part has to say where it stands."""
    parts = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    # The package itself and the command line stand above all others, and may import any of them.
    assert parts - {"__init__", "__main__", "cli"} - set(ALLOWED) == set()


@pytest.mark.parametrize("part", PURE)
def test_plans_are_pure(part: str) -> None:
    """Building a plan touches no disk, process, clock or port."""
    for path in modules(part):
        surplus = {name.split(".")[0] for name in imported(path)} & IMPURE_MODULES
        assert not surplus, f"{path.relative_to(PACKAGE)} must not import {', '.join(sorted(surplus))}"
