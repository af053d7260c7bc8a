from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pytest_kubernix.binaries.own_images import PAUSE, SERVER, build_images


@pytest.fixture
def archives(tmp_path: Path) -> tuple[Path, Path]:
    """Both images, made of two small stand-ins."""
    return make(tmp_path, "first")


def make(root: Path, name: str) -> tuple[Path, Path]:
    """Build both images in a directory of their own."""
    programs = root / name / "programs"
    programs.mkdir(parents=True)
    for program in ("pause", "test-server"):
        (programs / program).write_bytes(program.encode() * 1000)
    return build_images(programs / "pause", programs / "test-server", root / name / "images", arch="amd64")


def read(archive: Path) -> dict[str, bytes]:
    """The files of an archive by name."""
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    """What a descriptor points at, checked as a runtime checks it."""
    content = files["blobs/" + descriptor["digest"].replace(":", "/")]
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == descriptor["digest"]
    assert len(content) == descriptor["size"]
    return content


def test_same_programs_give_the_same_bytes(tmp_path: Path, archives: tuple[Path, Path]) -> None:
    """Images built at another time, in another place, under another umask are byte for byte equal."""
    before = os.umask(0o077)
    try:
        again = make(tmp_path, "second")
    finally:
        os.umask(before)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in archives]


@pytest.mark.parametrize(("position", "reference"), [(0, PAUSE), (1, SERVER)])
def test_image_is_a_valid_oci_layout(archives: tuple[Path, Path], position: int, reference: str) -> None:
    """Index, manifest, configuration and layer are there, and every digest and size is right."""
    files = read(archives[position])
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files["index.json"])
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == reference
    manifest = json.loads(blob(files, index["manifests"][0]))
    config = json.loads(blob(files, manifest["config"]))
    layer = blob(files, manifest["layers"][0])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert (config["os"], config["architecture"]) == ("linux", "amd64")


@pytest.mark.parametrize(("position", "reference"), [(0, PAUSE), (1, SERVER)])
def test_image_is_a_docker_archive_too(archives: tuple[Path, Path], position: int, reference: str) -> None:
    """`docker load` finds the same configuration and layer by manifest.json."""
    files = read(archives[position])
    [entry] = json.loads(files["manifest.json"])
    assert entry["RepoTags"] == [reference]
    assert {entry["Config"], *entry["Layers"]} <= set(files)


def test_server_image_holds_what_suites_rely_on(archives: tuple[Path, Path]) -> None:
    """The server's image has its entry point, tar for `kubectl cp`, users, a /tmp for all, and no shell."""
    files = read(archives[1])
    manifest = json.loads(blob(files, json.loads(files["index.json"])["manifests"][0]))
    config = json.loads(blob(files, manifest["config"]))["config"]
    with tarfile.open(fileobj=io.BytesIO(blob(files, manifest["layers"][0]))) as layer:
        members = {member.name: member for member in layer}
        passwd = layer.extractfile("etc/passwd")
        assert passwd is not None
        assert [line.split(b":")[0] for line in passwd.read().splitlines()] == [b"root", b"nobody"]
    assert config["Entrypoint"] == ["/test-server"]
    assert members["test-server"].mode == 0o755
    assert (members["bin/tar"].issym(), members["bin/tar"].linkname) == (True, "/test-server")
    assert (members["tmp"].isdir(), members["tmp"].mode) == (True, 0o1777)
    assert "bin/sh" not in members
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}


def test_nothing_but_the_images_is_left(archives: tuple[Path, Path]) -> None:
    """The directory holds the two archives and no temporary file."""
    assert sorted(path.name for path in archives[0].parent.iterdir()) == ["pause.tar", "server.tar"]
