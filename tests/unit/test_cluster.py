"""Cluster without a cluster: files of users, stopping, what reaches the driver."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from pytest_kubernix import (
    Checkpoint,
    Cluster,
    ClusterConfig,
    ClusterHandle,
    DriverError,
    RunningCluster,
    State,
    Status,
)
from pytest_kubernix.access.authority import Authority
from pytest_kubernix.access.users import Users
from pytest_kubernix.layout import Layout


class Stub(RunningCluster):
    """Nothing runs; remembers what it was asked."""

    def __init__(self, run_dir: Path | None, *, nodes: tuple[str, ...] = ("node-1",)) -> None:
        self.handle = ClusterHandle(
            cluster_id="a1",
            driver="stub",
            k8s_version="1.36.3",
            server="https://127.0.0.1:1",
            kubeconfig=Path("/nowhere"),
            kubectl=Path("/nowhere/kubectl"),
            nodes=nodes,
            run_dir=run_dir,
            config=ClusterConfig(k8s_version="1.36.3", nodes=0).to_json(),
        )
        self.asked: list[str] = []

    def status(self) -> Status:
        return Status(State.READY)

    def users(self, what: str) -> Users:
        if self.handle.run_dir is None:
            return super().users(what)
        return Users(Layout(self.handle.run_dir), self.handle.server)

    def load_image(self, archive: str) -> Sequence[str]:
        self.asked.append(archive)
        return ["app:1"]

    def destroy(self) -> None:
        self.asked.append("stop")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run directory with a real CA."""
    pair = Authority.new("kubernix-ca", datetime.now(UTC)).pair
    folder = tmp_path / "pki"
    folder.mkdir()
    (folder / "ca.crt").write_text(pair.cert)
    (folder / "ca.key").write_text(pair.key)
    return tmp_path


def test_stopping_twice_is_no_error() -> None:
    """The second time nothing is told and nothing is stopped."""
    running = Stub(None)
    told: list[Cluster] = []
    cluster = Cluster(running, stopping=told.append)
    cluster.stop()
    cluster.stop()
    assert (told, running.asked) == ([cluster], ["stop"])


def test_it_is_stopped_although_nobody_could_be_told() -> None:
    """A hook that fails does not keep a cluster alive."""
    running = Stub(None)

    def fail(cluster: Cluster) -> None:
        raise RuntimeError("the hook failed")

    with pytest.raises(RuntimeError, match="the hook failed"):
        Cluster(running, stopping=fail).stop()
    assert running.asked == ["stop"]


def test_kubeconfigs_of_users_are_private_files(run_dir: Path) -> None:
    """No other user reads them, nothing half-written stays, and each identity has its own."""
    cluster = Cluster(Stub(run_dir))
    paths = [
        cluster.user("alice"),
        cluster.user("alice", groups=("ops",)),
        cluster.user("alice ops"),
        cluster.user("system:node:../../../etc/passwd"),
        cluster.user("a" * 64),
    ]
    assert len(set(paths)) == 5
    folder = run_dir / "users"
    assert sorted(folder.iterdir()) == sorted(paths)
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert cluster.user("alice") == paths[0]
    config = yaml.safe_load(paths[0].read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
    assert set(config["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


@pytest.mark.parametrize("names", [("",), ("a" * 65,), ("ü" * 33,), ("alice", "")])
def test_names_that_no_certificate_holds(run_dir: Path, names: tuple[str, ...]) -> None:
    """They are refused with what is allowed, before a file is written."""
    with pytest.raises(ValueError, match="a name of 1 to 64 bytes"):
        Cluster(Stub(run_dir)).user(names[0], groups=names[1:])
    assert not (run_dir / "users").exists()


def test_groups_are_a_list(run_dir: Path) -> None:
    """A text would be a group for each of its letters, and RBAC would refuse the user for no visible reason."""
    with pytest.raises(ValueError, match=r"^groups='devs': allowed is a list of names, such as \['devs'\]$"):
        Cluster(Stub(run_dir)).user("dev", groups="devs")


@pytest.mark.parametrize("what", [None, "checkpoint", 3])
def test_a_checkpoint_that_is_none(what: object) -> None:
    """It is named, with where one comes from."""
    with pytest.raises(TypeError, match=r"^rollback\(.*\): allowed is what checkpoint\(\) gave$"):
        Cluster(Stub(None)).rollback(what)  # type: ignore[arg-type]


def test_a_driver_without_a_ca() -> None:
    """Where no certificates can be issued, the error says whose fault that is."""
    with pytest.raises(DriverError, match="user: driver 'stub' does not hold the CA"):
        Cluster(Stub(None)).user("alice")


def test_images_reach_the_driver_as_an_archive(tmp_path: Path) -> None:
    """Whatever the user named, the driver gets the path of one archive, and its answer comes back."""
    running = Stub(None)
    path = tmp_path / "image.tar"
    with tarfile.open(path, "w") as target:
        text = b'[{"RepoTags": ["example.com/app:1"]}]'
        member = tarfile.TarInfo("manifest.json")
        member.size = len(text)
        target.addfile(member, io.BytesIO(text))
    assert Cluster(running).load_image(path) == ("app:1",)
    assert running.asked == [str(path)]


def test_a_cluster_without_nodes_takes_no_image() -> None:
    """Loading into nothing is an error, not a success."""
    with pytest.raises(DriverError, match="no nodes that could hold an image"):
        Cluster(Stub(None, nodes=())).load_image("app:1")


@pytest.mark.parametrize("ask", ["checkpoint", "rollback"])
def test_a_driver_without_etcd_says_so(ask: str) -> None:
    """Checkpoints of a cluster whose etcd can't be reached are refused, with what does without."""
    cluster = Cluster(Stub(None))
    asked = object.__new__(Checkpoint)
    call: dict[str, Callable[[], object]] = {
        "checkpoint": cluster.checkpoint,
        "rollback": lambda: cluster.rollback(asked),
    }
    with pytest.raises(DriverError, match=rf"{ask}: driver 'stub' has no access to the etcd(.|\n)*kubernix_namespace"):
        call[ask]()
