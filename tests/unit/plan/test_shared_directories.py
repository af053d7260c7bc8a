"""Which directories of the host nodes have bound in."""

from __future__ import annotations

import pytest

from pytest_kubernix.plan.nodes import shared_directories


@pytest.mark.parametrize(
    ("asked", "shared"),
    [
        (["/home/me/data", "/tmp/a", "/"], []),
        (["/var/lib/data", "/srv/files"], ["/srv/files", "/var/lib/data"]),
        (["/var/lib/data", "/var/lib/data/deeper", "/var/lib/data/"], ["/var/lib/data"]),
        (["/var/lib/data", "/var/lib/database"], ["/var/lib/data", "/var/lib/database"]),
        (["/var", "/var/lib", "/etc", "/etc/kubernetes"], []),
        (["/var/lib/kubelet/pods", "/var/log/pods/x", "/var/lib/containerd"], []),
    ],
    ids=["elsewhere", "below-var", "each-once", "by-whole-names", "what-nodes-need", "what-is-a-nodes-own"],
)
def test_only_what_a_node_would_hide_is_bound(asked: list[str], shared: list[str]) -> None:
    """A directory below those that nodes copy on write is the host's own in a node, unless the node needs it itself."""
    assert shared_directories(asked) == shared
