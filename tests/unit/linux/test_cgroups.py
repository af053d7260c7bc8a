from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from functools import partialmethod
from pathlib import Path

import pytest

from pytest_kubernix.linux import cgroups

KERNEL_FILES = ("cgroup.procs", "cgroup.controllers", "cgroup.subtree_control", "cpuset.cpus", "cpuset.mems")

mkdir, rmdir, write_text = Path.mkdir, Path.rmdir, Path.write_text


class Kernel:
    """What the kernel does in a cgroup file system, on an ordinary one: files appear with each directory.

    Attributes:
        root: Where it is mounted.
        busy: Directories in which there are processes still; each is left after one attempt to remove it.
        refused: Controllers that can't be passed down.
        writes: What was written, in order.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.busy: set[Path] = set()
        self.refused: set[str] = set()
        self.writes: list[tuple[str, str]] = []

    def version_2(self, controllers: str) -> None:
        self.root.mkdir(exist_ok=True)
        for name, text in (("cgroup.procs", "1\n"), ("cgroup.controllers", f"{controllers}\n")):
            write_text(self.root / name, text)
        write_text(self.root / "cgroup.subtree_control", "memory pids\n")

    def version_1(self, *hierarchies: str) -> None:
        self.root.mkdir(exist_ok=True)
        for name in hierarchies:
            mkdir(self.root / name)
            write_text(self.root / name / "cgroup.procs", "1\n")
            if "cpuset" in name:
                write_text(self.root / name / "cpuset.cpus", "0-1\n")
                write_text(self.root / name / "cpuset.mems", "0\n")

    def mkdir(self, path: Path, *args: object, **kwargs: object) -> None:
        if path.exists():
            return
        mkdir(path, *args, **kwargs)  # type: ignore[arg-type]
        write_text(path / "cgroup.procs", "")
        if (path.parent / "cgroup.controllers").exists():
            write_text(path / "cgroup.controllers", (path.parent / "cgroup.subtree_control").read_text())
            write_text(path / "cgroup.subtree_control", "\n")
        elif (path.parent / "cpuset.cpus").exists():
            write_text(path / "cpuset.cpus", "\n")
            write_text(path / "cpuset.mems", "\n")

    def write_text(self, path: Path, text: str) -> int:
        self.writes.append((str(path.relative_to(self.root)), text))
        if path.name != "cgroup.subtree_control":
            return write_text(path, text)
        assert text.startswith("+")
        if text[1:] in self.refused:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return write_text(path, f"{path.read_text().strip()} {text[1:]}\n")

    def rmdir(self, path: Path) -> None:
        if path in self.busy:
            self.busy.remove(path)
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        if not any(entry.is_dir() for entry in path.iterdir()):
            for name in KERNEL_FILES:
                (path / name).unlink(missing_ok=True)
        rmdir(path)

    def tree(self) -> dict[str, str]:
        """Every cgroup below the root, with the controllers that its children get."""
        found = {}
        for path in sorted(self.root.rglob("cgroup.procs")):
            control = path.parent / "cgroup.subtree_control"
            name = str(path.parent.relative_to(self.root))
            found[name] = " ".join(control.read_text().split()) if control.exists() else ""
        return found


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    made = Kernel(tmp_path / "cgroup")
    mkdir(made.root)
    # Functions, because a class hands its instances to nothing else.
    with monkeypatch.context() as patched:
        for name in ("mkdir", "write_text", "rmdir"):
            patched.setattr(Path, name, partialmethod(_call, getattr(made, name)))
        yield made


def _call(path: Path, function: Callable[..., object], *args: object, **kwargs: object) -> object:
    return function(path, *args, **kwargs)


def test_version_2_passes_controllers_down_to_the_node(kernel: Kernel) -> None:
    """In the one hierarchy, every group above the node's hands it the controllers that a kubelet needs."""
    kernel.version_2("cpuset cpu io memory hugetlb pids rdma misc")
    assert cgroups.version(kernel.root) == 2
    assert cgroups.hierarchies(kernel.root) == [kernel.root]
    cgroups.create("kubernix/ab12cd/node-1", kernel.root)
    assert kernel.writes == [
        ("cgroup.subtree_control", "+cpu"),
        ("cgroup.subtree_control", "+cpuset"),
        ("cgroup.subtree_control", "+io"),
        ("cgroup.subtree_control", "+hugetlb"),
        *(
            (f"{group}/cgroup.subtree_control", f"+{controller}")
            for group in ("kubernix", "kubernix/ab12cd")
            for controller in ("cpu", "memory", "pids", "cpuset", "io", "hugetlb")
        ),
    ]
    assert kernel.tree() == {
        ".": "memory pids cpu cpuset io hugetlb",
        "kubernix": "cpu memory pids cpuset io hugetlb",
        "kubernix/ab12cd": "cpu memory pids cpuset io hugetlb",
        # What the kubelet passes on is its own affair.
        "kubernix/ab12cd/node-1": "",
    }


def test_version_2_passes_down_what_there_is(kernel: Kernel) -> None:
    """A controller that the machine lacks, or will not pass down, keeps no other from it."""
    kernel.version_2("cpuset cpu memory pids")
    kernel.refused = {"cpu"}
    cgroups.create("kubernix/ab12cd/node-1", kernel.root)
    assert kernel.tree()["."] == "memory pids cpuset"
    assert kernel.tree()["kubernix/ab12cd"] == "memory pids cpuset"


def test_version_1_has_every_hierarchy(kernel: Kernel) -> None:
    """The group is made in every hierarchy, once where two names are one, with CPUs and memory nodes in cpuset."""
    kernel.version_1("cpu,cpuacct", "cpuset", "memory", "unified")
    (kernel.root / "cpu").symlink_to("cpu,cpuacct")
    (kernel.root / "cpuacct").symlink_to("cpu,cpuacct")
    assert cgroups.version(kernel.root) == 1
    assert [path.name for path in cgroups.hierarchies(kernel.root)] == ["cpu,cpuacct", "cpuset", "memory", "unified"]
    cgroups.create("kubernix/ab12cd/node-1", kernel.root)
    assert sorted(kernel.tree()) == sorted(
        f"{top}{group}"
        for top in ("cpu,cpuacct", "cpuset", "memory", "unified")
        for group in ("", "/kubernix", "/kubernix/ab12cd", "/kubernix/ab12cd/node-1")
    )
    assert kernel.writes == [
        (f"cpuset/{group}/{name}", text)
        for group in ("kubernix", "kubernix/ab12cd", "kubernix/ab12cd/node-1")
        for name, text in (("cpuset.cpus", "0-1\n"), ("cpuset.mems", "0\n"))
    ]


def test_what_has_cpus_keeps_them(kernel: Kernel) -> None:
    """A parent that another cluster has set up already is left as it is."""
    kernel.version_1("cpuset")
    cgroups.create("kubernix/ab12cd/node-1", kernel.root)
    write_text(kernel.root / "cpuset/kubernix/cpuset.cpus", "1\n")
    kernel.writes.clear()
    cgroups.create("kubernix/ef34ab/node-1", kernel.root)
    assert [path for path, _ in kernel.writes if path.startswith("cpuset/kubernix/cpuset")] == []
    assert (kernel.root / "cpuset/kubernix/ef34ab/node-1/cpuset.cpus").read_text() == "1\n"


@pytest.mark.parametrize("version", [1, 2])
def test_removal_takes_all_below_and_what_nobody_else_uses(kernel: Kernel, version: int) -> None:
    """The groups of pods go with the node's, and the common parent goes with the last cluster."""
    if version == 2:
        kernel.version_2("cpuset cpu memory pids")
    else:
        kernel.version_1("cpu", "memory")
    before = sorted(kernel.tree())
    for name in ("kubernix/ab12cd/node-1", "kubernix/ab12cd/node-2", "kubernix/ef34ab/node-1"):
        cgroups.create(name, kernel.root)
        for top in cgroups.hierarchies(kernel.root):
            kernel.mkdir(top / name / "kubepods")
            kernel.mkdir(top / name / "kubepods" / "pod1")
    assert cgroups.remove("kubernix/ab12cd/node-1", root=kernel.root) == []
    assert cgroups.remove("kubernix/ab12cd/node-2", root=kernel.root) == []
    left = [path for path in kernel.tree() if "ab12cd" in path]
    assert left == []
    assert any("ef34ab/node-1/kubepods/pod1" in path for path in kernel.tree())
    assert cgroups.remove("kubernix/ef34ab/node-1", root=kernel.root) == []
    assert sorted(kernel.tree()) == before


def test_processes_on_their_way_out_are_waited_for(kernel: Kernel) -> None:
    """A group that is busy for a moment is removed a moment later."""
    kernel.version_2("cpu memory")
    cgroups.create("kubernix/ab12cd/node-1", kernel.root)
    kernel.busy = {kernel.root / "kubernix/ab12cd/node-1"}
    assert cgroups.remove("kubernix/ab12cd/node-1", root=kernel.root) == []
    assert list(kernel.tree()) == ["."]


def test_what_stays_busy_is_told(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that can't be removed in time is named, with the reason, for each hierarchy."""
    kernel.version_1("cpu", "memory")
    cgroups.create("kubernix/ab12cd/node-1", kernel.root)

    def refuse(path: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "rmdir", refuse)
    group = "kubernix/ab12cd/node-1"
    assert cgroups.remove(group, timeout=0.02, root=kernel.root) == [
        f"cgroup {kernel.root / top / group}: Device or resource busy" for top in ("cpu", "memory")
    ]


def test_what_is_gone_already_is_no_problem(kernel: Kernel) -> None:
    """Removing what isn't there reports nothing."""
    kernel.version_2("cpu memory")
    assert cgroups.remove("kubernix/ab12cd/node-1", root=kernel.root) == []


@pytest.mark.parametrize("version", [1, 2])
def test_a_machine_without_a_controller_is_told(kernel: Kernel, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What kubelets can't do without is missed before anything starts, by name; a closed hierarchy too."""
    if version == 2:
        kernel.version_2("cpu cpuset pids")
    else:
        kernel.version_1("cpu,cpuacct", "cpuset", "pids")
    assert cgroups.unusable(kernel.root) == f"no controller memory below {kernel.root}"
    if version == 2:
        (kernel.root / "cgroup.controllers").write_text("cpu cpuset pids memory")
    else:
        kernel.version_1("memory")
    assert cgroups.unusable(kernel.root) == ""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert cgroups.unusable(kernel.root).startswith(f"not writable: {kernel.root}")
