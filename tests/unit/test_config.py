"""ClusterConfig and ClusterHandle: what is allowed, and what survives JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_kubernix import ClusterConfig, ClusterHandle, ConfigError


def config(**changes: object) -> ClusterConfig:
    return ClusterConfig(k8s_version="1.36.3").replace(**changes)


def test_json_keeps_everything() -> None:
    """A configuration that crosses a process boundary is the same one."""
    full = config(root=Path("/r"), cidr="10.1.0.0/16", addons=(), nodes=3, boot_timeout=5)
    assert ClusterConfig.from_json(full.to_json()) == full
    assert full.digest() == ClusterConfig.from_json(full.to_json()).digest()


@pytest.mark.parametrize(
    "change",
    [
        {"nodes": 2},
        {"k8s_version": "1.35.4"},
        {"addons": ()},
        {"cidr": "10.1.0.0/16"},
        {"root": Path("/r")},
        {"component_args": {"etcd": {"v": 1}}},
        {"registries": {"registry.test": "http://10.1.0.1:5000"}},
    ],
)
def test_the_digest_knows_every_setting(change: dict[str, object]) -> None:
    """Two configurations share a cluster only if they are the same."""
    assert config(**change).digest() != config().digest()


def test_the_digest_is_of_what_is_meant() -> None:
    """The order of flags, and a list or a tuple, make no other cluster; another value does."""
    first, second, other = (
        config(component_args={"etcd": flags})
        for flags in ({"a": [1, 2], "b": True}, {"b": True, "a": (1, 2)}, {"a": [2, 1], "b": True})
    )
    assert first.digest() == second.digest() != other.digest()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("component_args", ["--v=1"], "allowed is a mapping"),
        ("component_args", {"etcd": "--v=1"}, "allowed is a mapping"),
        ("component_args", {"etcd": {"--v": 1}}, "etcd: --v.*without dashes"),
        ("component_args", {"etcd": {"": 1}}, "etcd: .*the name of a flag"),
        ("component_args", {"etcd": {"v": {"a": 1}}}, "etcd: v.*a text, a number.*not dict"),
        ("component_args", {"etcd": {"v": [object()]}}, "etcd: v.*not list"),
        ("registries", ["registry.test"], "allowed is a mapping"),
        ("registries", {"https://registry.test": "http://10.1.0.1"}, "allowed is a host"),
        ("registries", {"registry.test/path": "http://10.1.0.1"}, "allowed is a host"),
        ("registries", {"registry.test": "10.1.0.1:5000"}, "registry.test.*allowed is a URL"),
        ("registries", {"registry.test": "ftp://me:secret@10.1.0.1"}, "registry.test.*allowed is a URL"),
    ],
)
def test_what_is_set_of_components_is_checked(field: str, value: object, said: str) -> None:
    """A wrong value is named, with what is allowed, and without what may be a password."""
    with pytest.raises(ConfigError, match=said) as raised:
        config(**{field: value})
    assert raised.value.field == field
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("nodes", [0, 1, 2, 3, 7, 62, 63, 64])
def test_the_smallest_cidr_that_is_allowed_is_the_one_that_is_named(nodes: int) -> None:
    """The message about a CIDR that is too small names the largest prefix that works."""
    with pytest.raises(ConfigError, match="too small") as raised:
        config(nodes=nodes, cidr="10.0.0.0/29")
    needed = int(raised.value.allowed.partition("allowed is /")[2].partition(" ")[0])
    assert config(nodes=nodes, cidr=f"10.0.0.0/{needed}").cidr == f"10.0.0.0/{needed}"
    with pytest.raises(ConfigError, match="too small"):
        config(nodes=nodes, cidr=f"10.0.0.0/{needed + 1}")


@pytest.mark.parametrize("value", [True, 1.0, "1", None, -1, 65])
def test_nodes_is_a_whole_number(value: object) -> None:
    """What merely looks like a number of nodes is refused."""
    with pytest.raises(ConfigError, match="nodes="):
        config(nodes=value)


def test_a_handle_survives_json() -> None:
    """A handle that crosses a process boundary is the same one."""
    handle = ClusterHandle(
        cluster_id="a1",
        driver="native",
        k8s_version="1.36.3",
        server="https://127.0.0.1:6443",
        kubeconfig=Path("/r/admin.kubeconfig"),
        kubectl=Path("/b/kubectl"),
        nodes=("node-1",),
        run_dir=Path("/r"),
        config=config().to_json(),
        capabilities=("nodes",),
        programs={"ctr": "/b/ctr"},
        timings={"ControlPlane": 2.5},
    )
    assert ClusterHandle.from_json(handle.to_json()) == handle
