from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kubernix.binaries import Executables, build_all, builder, bundles, find_executables, toolchain
from pytest_kubernix.errors import ExecutablesError

VERSION = "1.36.3"


def make_directory(root: Path, names: tuple[str, ...], version: str = VERSION) -> Path:
    """A directory of executables that only know which version they are."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho Kubernetes v{version}\n")
        path.chmod(0o755)
    return root


def everything() -> tuple[str, ...]:
    """All that a directory for a cluster with nodes holds."""
    return (*bundles.EVERYTHING, *(f"cni/{name}" for name in bundles.CNI))


@pytest.fixture
def wheels(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[str], object]]:
    """What installed binaries wheels answer; a test appends to it."""
    answers: list[Callable[[str], object]] = []

    class Point:
        def __init__(self, answer: Callable[[str], object]) -> None:
            self.answer = answer
            self.value = "some_wheel:find"

        def load(self) -> Callable[[str], object]:
            return self.answer

    def entry_points(*, group: str) -> list[Point]:
        assert group == "pytest_kubernix.binaries"
        return [Point(answer) for answer in answers]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    return answers


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wheels: object) -> list[str]:
    """Replace builds by a list of what would have been built; every tool is there."""
    names: list[str] = []

    def build(bundle: bundles.Bundle, cache: object, progress: Callable[[str], None]) -> Path:
        names.append(bundle.name)
        progress(f"building {bundle}")
        return tmp_path / "built" / bundle.name

    monkeypatch.setattr(builder, "build", build)
    monkeypatch.setattr(toolchain, "find_go", lambda minimum: None)
    monkeypatch.setattr(toolchain, "missing_for_cgo", list)
    return names


def test_explicit_directory_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wheels: list[Callable[[str], object]]
) -> None:
    """KUBERNIX_ASSETS is before KUBEBUILDER_ASSETS, that before a wheel, and that before the cache."""
    places = {name: make_directory(tmp_path / name, everything()) for name in ("explicit", "envtest", "wheel")}
    monkeypatch.setenv("KUBERNIX_ASSETS", str(places["explicit"]))
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(places["envtest"]))
    wheels.append(lambda version: places["wheel"])
    served = [find_executables(VERSION, build=False)["etcd"].parent]
    monkeypatch.delenv("KUBERNIX_ASSETS")
    served.append(find_executables(VERSION, build=False)["etcd"].parent)
    monkeypatch.delenv("KUBEBUILDER_ASSETS")
    served.append(find_executables(VERSION, build=False)["etcd"].parent)
    assert served == [places["explicit"], places["envtest"], places["wheel"]]


def test_directory_gives_programs_plugins_and_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From a directory come every program, the CNI plugins, and images made of the programs in it."""
    directory = make_directory(tmp_path / "all", everything())
    monkeypatch.setenv("KUBERNIX_ASSETS", str(directory))
    found = find_executables(VERSION)
    assert set(found.programs) == set(bundles.EVERYTHING)
    assert found.cni_dir == directory / "cni"
    assert [path.name for path in found.images] == ["pause.tar", "server.tar"]
    assert all(path.is_file() for path in found.images)
    assert found.images == find_executables(VERSION).images


def test_plugins_may_lie_beside_the_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A flat directory serves as well as one with a folder for the plugins."""
    directory = make_directory(tmp_path / "flat", (*bundles.EVERYTHING, *bundles.CNI))
    monkeypatch.setenv("KUBERNIX_ASSETS", str(directory))
    assert find_executables(VERSION).cni_dir == directory


def test_incomplete_explicit_directory_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who points at a directory that lacks something is told what, by name, and nothing else is tried."""
    lacking = tuple(name for name in everything() if name not in ("kubelet", "cni/bridge"))
    monkeypatch.setenv("KUBERNIX_ASSETS", str(make_directory(tmp_path / "partial", lacking)))
    with pytest.raises(ExecutablesError, match=r"KUBERNIX_ASSETS=.*partial: lacks kubelet, cni/bridge"):
        find_executables(VERSION)


def test_explicit_directory_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A KUBERNIX_ASSETS that names no directory is an error, not a reason to build for minutes."""
    monkeypatch.setenv("KUBERNIX_ASSETS", str(tmp_path / "typo"))
    with pytest.raises(ExecutablesError, match=r"typo: no such directory"):
        find_executables(VERSION)


def test_explicit_directory_of_another_version_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Executables of another version than the one asked for are named with both versions."""
    monkeypatch.setenv("KUBERNIX_ASSETS", str(make_directory(tmp_path / "old", everything(), "1.30.1")))
    with pytest.raises(ExecutablesError, match=r"kube-apiserver is 1\.30\.1, and 1\.36\.3 is asked for"):
        find_executables(VERSION)


def test_control_plane_alone_needs_less(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without nodes a directory with the control plane is enough, and there are no images or plugins."""
    monkeypatch.setenv("KUBERNIX_ASSETS", str(make_directory(tmp_path / "some", bundles.CONTROL_PLANE)))
    found = find_executables(VERSION, nodes=False)
    assert set(found.programs) == set(bundles.CONTROL_PLANE)
    assert (found.cni_dir, found.images) == (None, ())


@pytest.mark.parametrize(
    ("names", "version", "reason"),
    [
        (("etcd", "kube-apiserver", "kubectl"), VERSION, "lacks kube-controller-manager, kube-scheduler"),
        (bundles.CONTROL_PLANE, "1.31.0", r"is 1\.31\.0, and 1\.36\.3 is asked for"),
    ],
)
def test_envtest_assets_that_do_not_fit_are_passed_by(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    built: list[str],
    *,
    names: tuple[str, ...],
    version: str,
    reason: str,
) -> None:
    """KUBEBUILDER_ASSETS with too little, or of another version, is passed by, and the reason is told."""
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(make_directory(tmp_path / "envtest", names, version)))
    find_executables(VERSION, nodes=False)
    assert built == ["kubernetes"]
    with pytest.raises(ExecutablesError, match=f"KUBEBUILDER_ASSETS=.*{reason}"):
        find_executables(VERSION, nodes=False, build=False)


def test_wheels_that_fail_do_not_end_the_search(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wheels: list[Callable[[str], object]], built: list[str]
) -> None:
    """A wheel that raises, has nothing, or has too little is told about, and the next place is looked at."""

    def broken(version: str) -> object:
        raise RuntimeError("no such platform")

    partial = make_directory(tmp_path / "partial", ("etcd",))
    wheels += [broken, lambda version: None, lambda version: str(partial)]
    with pytest.raises(ExecutablesError) as caught:
        find_executables(VERSION, build=False)
    message = caught.value.message
    assert "some_wheel:find: RuntimeError: no such platform" in message
    assert f"some_wheel:find: has no {VERSION}" in message
    assert re.search(r"some_wheel:find, .*partial: lacks kube-apiserver", message)
    find_executables(VERSION)
    assert "kubernetes" in built


def test_error_lists_every_place_and_the_command_that_mends(built: list[str], tmp_path: Path) -> None:
    """When nothing serves, all places that were looked at are listed, and one command to run."""
    with pytest.raises(ExecutablesError) as caught:
        find_executables("1.35", build=False)
    lines = caught.value.message.splitlines()
    assert lines[0] == "no executables for Kubernetes 1.35.4; looked at"
    assert [line.split(":")[0].split(" (")[0].strip() for line in lines[1:]] == [
        "KUBERNIX_ASSETS", "KUBEBUILDER_ASSETS", "binaries wheels",
        f"cache {tmp_path / 'cache'}", "a build",
    ]  # fmt: skip
    assert "kubernetes 1.35.4" in caught.value.message
    assert caught.value.hint == "Run `pytest-kubernix build --k8s-version 1.35.4`"


def test_missing_go_is_told_before_anything_is_built(built: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a Go that will do, the places and both ways to get one are told, and nothing was built."""

    def none(minimum: str) -> None:
        raise toolchain.ToolMissingError("building needs Go 1.26", hint="Install Go.")

    monkeypatch.setattr(toolchain, "find_go", none)
    with pytest.raises(ExecutablesError, match=r"a build: building needs Go 1\.26") as caught:
        find_executables(VERSION)
    assert caught.value.hint == f"Install Go. Then: Run `pytest-kubernix build --k8s-version {VERSION}`"
    assert built == []


def test_everything_missing_is_built_quickest_first(built: list[str]) -> None:
    """An empty cache is filled bundle by bundle, Kubernetes last, with progress."""
    said: list[str] = []
    found = find_executables(VERSION, progress=said.append)
    assert built == ["programs", "cni", "runc", "containerd", "coredns", "kubernetes"]
    assert len(said) == 6
    assert set(found.programs) == set(bundles.EVERYTHING)


def test_build_all_fills_the_cache_whatever_else_there_is(
    built: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The build command builds although a directory could serve."""
    monkeypatch.setenv("KUBERNIX_ASSETS", str(make_directory(tmp_path / "all", everything())))
    build_all("1.33")
    assert built[-1] == "kubernetes"


def test_system_runc_stands_in_where_none_can_be_built(built: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a C compiler or headers the system's runc is used, and only the rest is built."""
    monkeypatch.setattr(toolchain, "missing_for_cgo", lambda: ["gcc"])
    monkeypatch.setattr(toolchain, "system_runc", lambda: Path("/usr/sbin/runc"))
    assert find_executables(VERSION)["runc"] == Path("/usr/sbin/runc")
    assert "runc" not in built


def test_no_runc_at_all_names_the_packages(built: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without compiler, headers and a runc that knows seccomp the error says which packages to install."""
    monkeypatch.setattr(toolchain, "missing_for_cgo", lambda: ["gcc", "libseccomp-dev"])
    monkeypatch.setattr(toolchain, "system_runc", lambda: None)
    with pytest.raises(ExecutablesError, match="this machine lacks gcc, libseccomp-dev") as caught:
        find_executables(VERSION)
    assert caught.value.hint == "Install the packages gcc libseccomp-dev (or runc)."
    assert built == []


def test_an_unknown_executable_is_an_error() -> None:
    """An unknown name is an error that lists the known ones."""
    found = Executables(VERSION, {"etcd": Path("/x/etcd")}, Path("/x/cni"), (Path("/x/pause.tar"),))
    with pytest.raises(ExecutablesError, match="no executable 'kubelet' here; there are etcd"):
        found["kubelet"]


def test_unsupported_version_is_refused_before_looking(built: list[str]) -> None:
    """A version that is not supported is a ValueError, and nothing is looked at or built."""
    with pytest.raises(ValueError, match=r"'1\.20'"):
        find_executables("1.20")
    assert built == []
