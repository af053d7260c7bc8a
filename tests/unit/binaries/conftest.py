"""Fixtures of the tests about executables: a private cache, and a Go that is a shell script."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kubernix.binaries import bundles, toolchain
from pytest_kubernix.binaries.bundles import Bundle
from pytest_kubernix.binaries.cache import Cache

# Answers what the builder asks of Go. FAKE_GO_BUILD is what `build` does, in shell, with $OUT to fill.
FAKE_GO = r"""#!/bin/sh
case "$1" in
env) [ "$2" = GOVERSION ] && echo "${FAKE_GO_VERSION:-go1.99.1}" || printf '%s\n%s\n' "$FAKE_GO_CACHE" "$FAKE_GO_CACHE" ;;
list) echo 'go: downloading example.test/module v1.0.0' >&2; printf 'stale\nstale\nfresh\n' ;;
build) echo call >> "$FAKE_GO_CACHE/calls"
    for word in "$@"; do case "$word" in -o=*) OUT="${word#-o=}" ;; esac; done
    eval "${FAKE_GO_BUILD}" ;;
esac
"""  # noqa: E501 - a script reads best as it is
MAKES_ALL = "echo example.test/one; for name in $FAKE_GO_NAMES; do echo $name > $OUT/$name; done"


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep every test away from the variables and the cache of the user who runs it."""
    for name in ("KUBERNIX_ASSETS", "KUBEBUILDER_ASSETS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBERNIX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def cache() -> Cache:
    """The private cache."""
    return Cache()


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bundle:
    """A bundle of one executable, with sources that a test may change."""
    sources = tmp_path / "go"
    pins = sources / "tool" / "pins" / "1.0"
    pins.mkdir(parents=True)
    (sources / "tool" / "main.go").write_text("package main\n")
    (pins / "go.mod.pin").write_text("module tool\n\ngo 1.26.1\n")
    (pins / "go.sum.pin").write_text("")
    monkeypatch.setattr(bundles, "SOURCES", sources)
    return Bundle("tool", "1.0", (".",), ("tool",), minutes=6, space=1 << 20)


@pytest.fixture
def fake_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], int]:
    """Put a scripted Go on PATH; gives a function that says how often it was asked to build."""
    directory, go_cache = tmp_path / "bin", tmp_path / "go-cache"
    directory.mkdir()
    go_cache.mkdir()
    script = directory / "go"
    script.write_text(FAKE_GO)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("FAKE_GO_CACHE", str(go_cache))
    monkeypatch.setenv("FAKE_GO_NAMES", "tool")
    monkeypatch.setenv("FAKE_GO_BUILD", MAKES_ALL)
    monkeypatch.setattr(toolchain, "_go_of_package", lambda: None)
    calls = go_cache / "calls"
    return lambda: len(calls.read_text().splitlines()) if calls.exists() else 0
