"""Finds the executables of a cluster: explicit directories, a binaries wheel, the cache, a build.
The first place that has everything serves; when none does, the error tells about all of them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_kubernix.binaries import builder, toolchain
from pytest_kubernix.binaries import bundles as table
from pytest_kubernix.binaries import pins as versions
from pytest_kubernix.binaries.bundles import Bundle
from pytest_kubernix.binaries.cache import VARIABLE as CACHE_VARIABLE
from pytest_kubernix.binaries.cache import Cache
from pytest_kubernix.binaries.own_images import build_images
from pytest_kubernix.errors import ExecutablesError

ENTRY_POINTS = "pytest_kubernix.binaries"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Executables:
    """What a cluster is run with.

    Attributes:
        kubernetes_version: Such as "1.36.3".
        programs: Absolute path of each executable by name. Paths may be links: several Kubernetes programs
            are one executable that acts by the name it is called under, so never resolve them.
        cni_dir: Directory of the CNI plugins, or None for a cluster without nodes.
        images: Archives of the images that every node is preloaded with.
    """

    kubernetes_version: str
    programs: Mapping[str, Path]
    cni_dir: Path | None
    images: tuple[Path, ...]

    def __getitem__(self, name: str) -> Path:
        try:
            return self.programs[name]
        except KeyError:
            raise ExecutablesError(
                f"there is no executable {name!r} here; there are {', '.join(sorted(self.programs))}"
            ) from None


def find_executables(
    version: str, *, nodes: bool = True, build: bool = True, progress: Progress | None = None
) -> Executables:
    """The executables for Kubernetes `version`, found or built.

    Args:
        version: As `resolve` takes it: "1.36.3", "1.35", "latest".
        nodes: False for a control plane alone, which needs much less.
        build: Whether to build what no place has; False raises instead.
        progress: Gets a line now and then while something takes long.

    Raises:
        ValueError: `version` is not supported.
        ExecutablesError: No place has them, with all places and the command that mends it; or a build failed.
    """
    version = versions.resolve(version)
    say = progress or builder.silent
    looked: list[str] = []
    for look in (_in_assets, _in_envtest, _in_wheels):
        found = look(version, looked, nodes=nodes)
        if found is not None:
            return found
    return _from_cache(version, looked, say, nodes=nodes, build=build)


def build_all(version: str, progress: Progress | None = None, *, nodes: bool = True) -> Executables:
    """Build into the cache whatever it lacks for Kubernetes `version`, whatever other places have."""
    return _from_cache(versions.resolve(version), [], progress or builder.silent, nodes=nodes, build=True)


def _in_assets(version: str, looked: list[str], *, nodes: bool) -> Executables | None:
    """KUBERNIX_ASSETS: who sets it means it, so anything wrong there is an error."""
    given = os.environ.get("KUBERNIX_ASSETS")
    if not given:
        looked.append("KUBERNIX_ASSETS: not set")
        return None
    directory = _absolute(given)
    wrong = _what_is_wrong(directory, version, nodes=nodes)
    if wrong:
        raise ExecutablesError(
            f"KUBERNIX_ASSETS={given}: {wrong}",
            hint="Complete the directory, or unset the variable to use the cache.",
        )
    return _of_directory(directory, version, nodes=nodes)


def _in_envtest(version: str, looked: list[str], *, nodes: bool) -> Executables | None:
    """KUBEBUILDER_ASSETS is set for envtest's sake and rarely has enough; then the search goes on."""
    given = os.environ.get("KUBEBUILDER_ASSETS")
    if not given:
        looked.append("KUBEBUILDER_ASSETS: not set")
        return None
    directory = _absolute(given)
    wrong = _what_is_wrong(directory, version, nodes=nodes)
    if wrong:
        looked.append(f"KUBEBUILDER_ASSETS={given}: {wrong}")
        return None
    return _of_directory(directory, version, nodes=nodes)


def _in_wheels(version: str, looked: list[str], *, nodes: bool) -> Executables | None:
    """Installed distributions that carry executables: each entry point maps a version to a directory."""
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    if not points:
        looked.append(f"binaries wheels (entry points {ENTRY_POINTS}): none installed")
    for point in points:
        try:
            given = point.load()(version)
        except Exception as error:  # noqa: BLE001 - another distribution's code: survive it, and tell
            looked.append(f"binaries wheel {point.value}: {type(error).__name__}: {error}")
            continue
        if given is None:
            looked.append(f"binaries wheel {point.value}: has no {version}")
            continue
        directory = _absolute(given)
        wrong = _what_is_wrong(directory, version, nodes=nodes)
        if not wrong:
            return _of_directory(directory, version, nodes=nodes)
        looked.append(f"binaries wheel {point.value}, {directory}: {wrong}")
    return None


def _from_cache(version: str, looked: list[str], say: Progress, *, nodes: bool, build: bool) -> Executables:
    """The cache, completed by builds where `build` says so."""
    cache = Cache()
    wanted = table.bundles(version, nodes=nodes)
    found = {bundle.name: cache.find(bundle) for bundle in wanted}
    missing = [bundle for bundle in wanted if found[bundle.name] is None]
    runc = None
    if any(bundle.name == "runc" for bundle in missing):
        lacks = toolchain.missing_for_cgo()
        if lacks or not build:
            runc = toolchain.system_runc()
        if runc is not None:
            missing = [bundle for bundle in missing if bundle.name != "runc"]
        elif lacks and build:
            looked.append(f"cache {cache.root}: lacks {_listed(missing)}")
            looked.append(
                f"a build of runc: this machine lacks {', '.join(lacks)}, "
                "and no runc with seccomp is on PATH to stand in"
            )
            raise _nowhere(version, looked, f"Install the packages {' '.join(lacks)} (or runc).")
    if missing:
        looked.append(f"cache {cache.root} ({CACHE_VARIABLE} moves it): lacks {_listed(missing)}")
        if not build:
            looked.append("a build: not asked for")
            raise _nowhere(version, looked, _mend(version))
        try:
            # Every tool is looked for before the first build starts, not after minutes of work.
            for bundle in missing:
                toolchain.find_go(bundle.minimum_go())
        except toolchain.ToolMissingError as error:
            looked.append(f"a build: {error.message}")
            raise _nowhere(version, looked, f"{error.hint} Then: {_mend(version)}") from None
        for bundle in missing:
            found[bundle.name] = builder.build(bundle, cache, say)
    return _of_cache(version, {name: path for name, path in found.items() if path is not None}, runc)


def _of_cache(version: str, found: Mapping[str, Path], runc: Path | None) -> Executables:
    names = {
        "kubernetes": table.KUBERNETES, "containerd": table.CONTAINERD, "runc": ("runc",),
        "coredns": ("coredns",), "programs": table.PROGRAMS,
    }  # fmt: skip
    programs = {
        name: directory / name for bundle, directory in found.items() for name in names.get(bundle, ())
    }  # fmt: skip
    if runc is not None:
        programs["runc"] = runc
    images = tuple(found["programs"] / name for name in table.IMAGES) if "programs" in found else ()
    return Executables(version, programs, found.get("cni"), images)


def _what_is_wrong(directory: Path, version: str, *, nodes: bool) -> str:
    """Why `directory` can't serve, as a phrase; empty when it can."""
    if not directory.is_dir():
        return "no such directory"
    needed = table.EVERYTHING if nodes else table.CONTROL_PLANE
    missing = [name for name in needed if not os.access(directory / name, os.X_OK)]
    if nodes:
        cni = _cni_of(directory)
        missing += [f"cni/{name}" for name in table.CNI if not os.access(cni / name, os.X_OK)]
    if missing:
        return f"lacks {', '.join(missing)}"
    try:
        answer = subprocess.run(
            [directory / "kube-apiserver", "--version"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return f"its kube-apiserver doesn't run: {error}"
    reported = answer.stdout.strip().removeprefix("Kubernetes v")
    if reported != version:
        return f"its kube-apiserver is {reported or 'of no known version'}, and {version} is asked for"
    return ""


def _of_directory(directory: Path, version: str, *, nodes: bool) -> Executables:
    names = [name for name in table.EVERYTHING if os.access(directory / name, os.X_OK)]
    programs = {name: directory / name for name in names}
    if not nodes:
        return Executables(version, programs, None, ())
    images: Sequence[Path] = [directory / name for name in table.IMAGES]
    if not all(path.is_file() for path in images):
        # They follow from the programs, so a directory needn't have them.
        target = Cache().root / "images" / _name_of(programs["pause"], programs["test-server"])
        images = [target / Path(name).name for name in table.IMAGES]
        if not all(path.is_file() for path in images):
            build_images(programs["pause"], programs["test-server"], target, arch=table.go_arch())
    return Executables(version, programs, _cni_of(directory), tuple(images))


def _name_of(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def _cni_of(directory: Path) -> Path:
    return directory / "cni" if (directory / "cni").is_dir() else directory


def _absolute(given: str | os.PathLike[str]) -> Path:
    return Path(given).expanduser().absolute()


def _listed(missing: Sequence[Bundle]) -> str:
    return ", ".join(str(bundle) for bundle in missing)


def _mend(version: str) -> str:
    return f"Run `pytest-kubernix build --k8s-version {version}`"


def _nowhere(version: str, looked: Sequence[str], hint: str) -> ExecutablesError:
    places = "\n".join(f"  {line}" for line in looked)
    return ExecutablesError(f"no executables for Kubernetes {version}; looked at\n{places}", hint=hint)
