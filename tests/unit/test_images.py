from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from pytest_kubernix import ImageError
from pytest_kubernix.images import archive


def tar(path: Path, *names: str, mode: str = "w") -> Path:
    """An archive with empty files of these names."""
    with tarfile.open(path, mode) as target:  # type: ignore[call-overload]
        for name in names:
            target.addfile(tarfile.TarInfo(name), io.BytesIO())
    return path


def layout(folder: Path, **index: object) -> Path:
    """An OCI layout whose one blob is a link, as build tools make them."""
    (folder / "blobs" / "sha256").mkdir(parents=True)
    cache = folder.parent / "cache"
    cache.write_text("the bytes")
    (folder / "blobs" / "sha256" / "abc").symlink_to(cache)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps(index or {"manifests": [{"digest": "sha256:abc"}]}))
    return folder


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it; tests put engines there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def engine(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("names", [("manifest.json", "a.tar"), ("./oci-layout", "./index.json"), ("manifest.json",)])
def test_archives_are_taken_as_they_are(tmp_path: Path, names: tuple[str, ...], mode: str) -> None:
    """A docker archive and an OCI archive, packed or not, go to the nodes unchanged."""
    path = tar(tmp_path / "image.tar", *names, mode=mode)
    with archive(path) as found:
        assert found == path
    with archive(str(path)) as found:
        assert found == path


def test_a_layout_is_packed(tmp_path: Path) -> None:
    """An OCI directory becomes an archive with the bytes of its blobs, and nothing stays behind."""
    with archive(layout(tmp_path / "app")) as packed:
        with tarfile.open(packed) as opened:
            assert {"oci-layout", "index.json", "blobs/sha256/abc"} <= set(opened.getnames())
            blob = opened.extractfile("blobs/sha256/abc")
            assert blob is not None
            assert blob.read() == b"the bytes"
    assert not packed.parent.exists()


def test_a_layout_by_its_bare_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a slash may be a layout in the current directory."""
    layout(tmp_path / "app")
    monkeypatch.chdir(tmp_path)
    with archive("app") as packed:
        assert tarfile.is_tarfile(packed)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path, "there is no such file or directory"),
        (lambda path: path.write_text("no tar at all"), "not a tar archive"),
        (lambda path: path.write_bytes(b""), "not a tar archive"),
        (lambda path: tar(path, "etc/passwd"), r"not of images: it has neither .*, but etc/passwd"),
        (lambda path: tar(path), r"not of images: it has neither .*, but nothing"),
        (lambda path: tar(path, "index.json"), r"not of images"),
        (lambda path: path.mkdir(), "not an OCI layout: it lacks oci-layout and index.json and blobs"),
        (lambda path: layout(path, manifests=[]), "lists no image"),
        (lambda path: layout(path, something=1), "not an OCI image index"),
    ],
)
def test_what_is_no_image(tmp_path: Path, make: object, message: str) -> None:
    """The error names the path, what is wrong with it, and what would do."""
    path = tmp_path / "image.tar"
    make(path)  # type: ignore[operator]
    with pytest.raises(ImageError, match=message) as raised, archive(path):
        pytest.fail("that is no image")
    assert str(path) in str(raised.value)
    assert "Allowed is a docker archive" in str(raised.value)


def test_a_reference_is_saved_out_of_docker(engines: Path) -> None:
    """The engine that has the image is asked for it, without a shell between."""
    engine(engines, "docker", 'case "$1" in image) [ "$3" = app:1 ];; save) echo "$4" > "$3";; esac')
    with archive("app:1") as saved:
        assert saved.read_text() == "app:1\n"
    assert not saved.exists()


def test_podman_is_asked_second(engines: Path) -> None:
    """An image that docker does not have may be podman's; a source directory of its name does not hide it."""
    engine(engines, "docker", "exit 1")
    engine(engines, "podman", 'case "$1" in save) echo podman > "$3";; esac')
    with archive("app") as saved:
        assert saved.read_text() == "podman\n"


def test_a_source_directory_does_not_hide_an_image(
    engines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project's directory is often called as its image is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app").mkdir()
    engine(engines, "docker", 'case "$1" in save) echo docker > "$3";; esac')
    with archive("app") as saved:
        assert saved.read_text() == "docker\n"


def test_an_image_that_nobody_has(engines: Path) -> None:
    """The error lists every place that was asked, and what each said."""
    engine(engines, "docker", "echo first >&2; echo No such image: app:1 >&2; exit 1")
    with pytest.raises(ImageError) as raised, archive("app:1"):
        pytest.fail("nobody has it")
    assert str(raised.value).splitlines()[:4] == [
        "image 'app:1' was not found:",
        "  no archive or OCI layout is called 'app:1' here",
        "  docker says: No such image: app:1",
        "  podman is not on PATH",
    ]


def test_an_engine_that_can_not_save(engines: Path) -> None:
    """An image that is there and can't be saved is told apart from one that is not there."""
    engine(engines, "docker", 'case "$1" in save) echo disk full >&2; exit 1;; esac')
    with pytest.raises(ImageError, match="docker has it, but could not save it: disk full"), archive("app:1"):
        pytest.fail("it was not saved")
