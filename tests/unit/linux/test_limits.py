from __future__ import annotations

from pathlib import Path

import pytest

from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.drivers.native.machine import too_many
from pytest_kubernix.errors import DriverError
from pytest_kubernix.linux import limits


def test_inotify_instances_of_this_user_are_counted(tmp_path: Path) -> None:
    """Every open inotify instance of this user counts once; other descriptors and entries do not."""
    descriptors = tmp_path / "123" / "fd"
    descriptors.mkdir(parents=True)
    for number, target in enumerate(
        ["anon_inode:inotify", "anon_inode:[eventpoll]", "/dev/null", "anon_inode:inotify"]
    ):
        (descriptors / str(number)).symlink_to(target)
    (tmp_path / "sys" / "fd").mkdir(parents=True)
    (tmp_path / "sys" / "fd" / "0").symlink_to("anon_inode:inotify")
    assert limits.inotify_used(tmp_path) == 2


def test_too_many_nodes_for_the_machine_are_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that would run out of inotify instances is refused with figures and the command that helps."""
    monkeypatch.setattr(limits, "inotify_limit", lambda: 128)
    monkeypatch.setattr(limits, "inotify_used", lambda: 100)
    problem = too_many(ClusterConfig(k8s_version="1.36.3", nodes=2))
    assert isinstance(problem, DriverError)
    assert "nodes=2: needs about 35 inotify instances; this user has 128, 100 of them in use" in str(problem)
    assert "sysctl fs.inotify.max_user_instances=1024" in str(problem)
