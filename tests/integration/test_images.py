"""Images from everywhere run on every node."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest

from pytest_kubernix import Cluster, ImageError, KubernixError
from pytest_kubernix.binaries import find_executables
from pytest_kubernix.binaries.own_images import SERVER

from .conftest import server_pod

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


@pytest.fixture
def unpacked(kubernix: Cluster, tmp_path: Path) -> Path:
    """The files of the test-server image, which is a docker archive and an OCI layout at once."""
    images = find_executables(kubernix.version).images
    folder = tmp_path / "unpacked"
    with tarfile.open(next(path for path in images if path.name == "server.tar")) as opened:
        opened.extractall(folder, filter="data")
    return folder


def docker_layout(folder: Path, reference: str) -> Path:
    """Leave only what `docker save` writes."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest[0]["RepoTags"] = [reference]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for name in ("index.json", "oci-layout"):
        (folder / name).unlink()
    return folder


def oci_layout(folder: Path, **annotations: str) -> Path:
    """Leave only what an OCI layout has, with these annotations on its image."""
    index = json.loads((folder / "index.json").read_text())
    index["manifests"][0]["annotations"] = annotations
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "manifest.json").unlink()
    return folder


def packed(folder: Path, *, mode: str = "w") -> Path:
    target_path = folder.with_suffix(".tar")
    with tarfile.open(target_path, mode) as target:  # type: ignore[call-overload]
        for path in sorted(folder.iterdir()):
            target.add(path, arcname=path.name)
    return target_path


def runs(cluster: Cluster, namespace: str, image: str) -> None:
    """Whether a pod of an image runs on every node, with nothing pulled."""
    for node in cluster.nodes:
        pod = server_pod(node, "sleep", "infinity", image=image)
        pod["spec"]["nodeName"] = node
        cluster.kubectl.apply(pod, namespace=namespace)
    for node in cluster.nodes:
        cluster.kubectl.wait(f"pod/{node}", "condition=Ready", namespace=namespace, timeout=60)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_docker_archive(kubernix: Cluster, kubernix_namespace: str, unpacked: Path, mode: str) -> None:
    """What `docker save` wrote runs under the name that docker gave it, compressed or not."""
    name = f"docker-{mode.replace(':', '')}"
    path = packed(docker_layout(unpacked, f"{name}:dev"), mode=mode)
    assert kubernix.load_image(path) == (f"docker.io/library/{name}:dev",)
    runs(kubernix, kubernix_namespace, f"{name}:dev")


def test_an_oci_archive(kubernix: Cluster, kubernix_namespace: str, unpacked: Path) -> None:
    """An OCI archive runs under the name in its annotation."""
    path = packed(oci_layout(unpacked, **{"org.opencontainers.image.ref.name": "team/oci:1"}))
    assert kubernix.load_image(str(path)) == ("docker.io/team/oci:1",)
    runs(kubernix, kubernix_namespace, "team/oci:1")


def test_an_oci_directory(kubernix: Cluster, kubernix_namespace: str, unpacked: Path) -> None:
    """An OCI layout directory is loaded as an archive of it would be."""
    reference = "example.com/team/layout:1"
    folder = oci_layout(unpacked, **{"io.containerd.image.name": reference})
    assert kubernix.load_image(folder) == (reference,)
    runs(kubernix, kubernix_namespace, reference)


def test_a_reference(
    kubernix: Cluster, kubernix_namespace: str, unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image of the local engine is saved and loaded. The engine is a stand-in that saves one image."""
    saved = packed(docker_layout(unpacked, "registry.example.com/from-engine:1"))
    folder = tmp_path / "bin"
    folder.mkdir()
    engine = folder / "docker"
    engine.write_text(f'#!/bin/sh\ncase "$1" in save) cp {saved} "$3";; esac\n')
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    loaded = kubernix.load_image("registry.example.com/from-engine:1")
    assert loaded == ("registry.example.com/from-engine:1",)
    runs(kubernix, kubernix_namespace, loaded[0])


def test_an_archive_that_a_node_refuses(kubernix: Cluster, tmp_path: Path) -> None:
    """An archive that only looks like one is refused with the node's own words."""
    folder = tmp_path / "hollow"
    folder.mkdir()
    (folder / "manifest.json").write_text('[{"Config": "gone.json", "RepoTags": ["hollow:1"], "Layers": []}]')
    with pytest.raises(KubernixError, match=r"node-1 could not load"):
        kubernix.load_image(packed(folder))


def test_an_image_is_given_a_name(kubernix: Cluster, kubernix_namespace: str, unpacked: Path) -> None:
    """A layout without a name is refused, and runs under the short name that it is given."""
    folder = oci_layout(unpacked)
    with pytest.raises(ImageError, match="no name"):
        kubernix.load_image(folder)
    assert kubernix.load_image(folder, name="given:1") == ("docker.io/library/given:1",)
    runs(kubernix, kubernix_namespace, "given:1")


def test_the_preloaded_image(kubernix: Cluster, kubernix_namespace: str) -> None:
    """The test-server image is on every node from the start."""
    runs(kubernix, kubernix_namespace, SERVER)
