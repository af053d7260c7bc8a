"""From what a user calls an image to an archive. That nodes take it is tested in tests/integration."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from pytest_kubernix import ImageError
from pytest_kubernix.image_archive import archive, normalized

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
NAMED = {"digest": "sha256:abc", "annotations": {IMAGE_NAME: "docker.io/library/app:1", REF_NAME: "1"}}
TAGGED = [{"RepoTags": ["docker.io/library/app:1"], "Layers": []}]


def tar(path: Path, *names: str, mode: str = "w", **contents: object) -> Path:
    """An archive with files of these names; `contents` are theirs, under the first word of the name."""
    with tarfile.open(path, mode) as target:  # type: ignore[call-overload]
        for name in names:
            text = json.dumps(contents.get(name.removeprefix("./").partition(".")[0], "")).encode()
            member = tarfile.TarInfo(name)
            member.size = len(text)
            target.addfile(member, io.BytesIO(text))
    return path


def manifests(path: Path, file: str) -> list[dict[str, object]]:
    """The images that an archive lists."""
    with tarfile.open(path, "r:") as opened:
        stream = opened.extractfile(file)
        assert stream is not None
        content = json.loads(stream.read())
    found: list[dict[str, object]] = content["manifests"] if file == "index.json" else content
    return found


def layout(folder: Path, **index: object) -> Path:
    """An OCI layout whose one blob is a link, as build tools make them."""
    (folder / "blobs" / "sha256").mkdir(parents=True)
    cache = folder.parent / "cache"
    cache.write_text("the bytes")
    (folder / "blobs" / "sha256" / "abc").symlink_to(cache)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps(index or {"manifests": [NAMED]}))
    return folder


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it; tests put engines there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def engine(folder: Path, name: str, script: str) -> None:
    """An engine that runs a script; $SAVED there is an archive that tells the engine's name."""
    tagged = [{"RepoTags": [f"example.com/{name}:1"]}]
    saved = tar(folder / f"{name}.tar", "manifest.json", manifest=tagged)
    script = script.replace("$SAVED", str(saved))
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    "names",
    [("manifest.json", "a.tar"), ("./oci-layout", "./index.json"), ("oci-layout", "index.json", "manifest.json")],
)
def test_archives_are_taken_as_they_are(tmp_path: Path, names: tuple[str, ...]) -> None:
    """A docker archive and an OCI archive with whole names go to the nodes unchanged."""
    path = tar(tmp_path / "image.tar", *names, manifest=TAGGED, index={"manifests": [NAMED]})
    with archive(path) as found:
        assert found == path
    with archive(str(path)) as found:
        assert found == path


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_a_compressed_archive_is_unpacked(tmp_path: Path, mode: str) -> None:
    """A node's importer wants a plain archive; everything else in it stays."""
    path = tar(tmp_path / "image.tar.gz", "manifest.json", "layer", mode=mode, manifest=TAGGED, layer="bytes")
    with archive(path) as found:
        assert found != path
        assert manifests(found, "manifest.json") == TAGGED
        with tarfile.open(found, "r:") as opened:
            assert opened.getnames() == ["manifest.json", "layer"]


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ("app", "docker.io/library/app:latest"),
        ("app:1", "docker.io/library/app:1"),
        ("team/app:1", "docker.io/team/app:1"),
        ("localhost/app:1", "localhost/app:1"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("example.com/team/app:1", "example.com/team/app:1"),
        ("app@sha256:abc", "docker.io/library/app@sha256:abc"),
    ],
)
def test_a_short_name_means_what_a_kubelet_makes_of_it(given: str, whole: str) -> None:
    """A pod that asks for app:1 gets docker.io/library/app:1, so that is what the image must be called."""
    assert normalized(given) == whole


def test_an_oci_image_gets_its_whole_name(tmp_path: Path) -> None:
    """Tools write short names into an index; the annotation that counts for the node has the whole one."""
    short = {"digest": "sha256:abc", "annotations": {REF_NAME: "app:1"}}
    path = tar(tmp_path / "image.tar", "./oci-layout", "./index.json", index={"manifests": [short]})
    with archive(path) as found:
        (image,) = manifests(found, "index.json")
        assert image["annotations"] == {REF_NAME: "app:1", IMAGE_NAME: "docker.io/library/app:1"}


@pytest.mark.parametrize("image", [{}, {"annotations": None}, {"annotations": {REF_NAME: "v1"}}])
def test_an_image_without_a_name_needs_one(tmp_path: Path, image: dict[str, object]) -> None:
    """Without one it would be loaded and found by no pod; a lone word may be a tag of anything."""
    path = tar(tmp_path / "image.tar", "oci-layout", "index.json", index={"manifests": [image]})
    folder = layout(tmp_path / "layout", manifests=[image])
    for source in (path, folder):
        with pytest.raises(ImageError, match=r"no name, or only a tag\nGive it one: name="), archive(source):
            pytest.fail("it has no name")
        with archive(source, name="app") as found:
            (named,) = manifests(found, "index.json")
            annotations = named["annotations"]
            assert isinstance(annotations, dict)
            assert annotations[IMAGE_NAME] == "docker.io/library/app:latest"


def test_a_docker_archive_without_a_tag_needs_a_name(tmp_path: Path) -> None:
    """`docker save` of an image's id writes no tag."""
    path = tar(tmp_path / "image.tar", "manifest.json", manifest=[{"RepoTags": None}])
    with pytest.raises(ImageError, match="no name"), archive(path):
        pytest.fail("it has no name")
    with archive(path, name="app:2") as found:
        assert manifests(found, "manifest.json") == [{"RepoTags": ["docker.io/library/app:2"]}]


def test_several_images_keep_their_names(tmp_path: Path) -> None:
    """All of them are loaded; one name can't be given to two."""
    path = tar(tmp_path / "image.tar", "manifest.json", manifest=[*TAGGED, *TAGGED])
    with archive(path) as found:
        assert found == path
    with pytest.raises(ImageError, match=r"2 images, so one name \(app:2\)"), archive(path, name="app:2"):
        pytest.fail("which of the two?")


def test_a_layout_is_packed(tmp_path: Path) -> None:
    """An OCI directory becomes an archive with the bytes of its blobs, and nothing stays behind."""
    with archive(layout(tmp_path / "app")) as packed, tarfile.open(packed) as opened:
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
        (tar, r"not of images: it has neither .*, but nothing"),
        (lambda path: tar(path, "index.json"), r"not of images"),
        (lambda path: tar(path, "manifest.json", manifest={"a": 1}), "its manifest.json is not one of images"),
        (lambda path: tar(path, "manifest.json", manifest=[]), "its manifest.json lists no image"),
        (lambda path: path.mkdir(), "not an OCI layout: it lacks oci-layout and index.json and blobs"),
        (lambda path: layout(path, manifests=[]), "its index.json lists no image"),
        (lambda path: layout(path, something=1), "its index.json is not one of images"),
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
    engine(
        engines, "docker", 'case "$1" in image) [ "$3" = app:1 ];; save) [ "$4" = app:1 ] && /bin/cp $SAVED "$3";; esac'
    )
    with archive("app:1") as saved:
        assert manifests(saved, "manifest.json") == [{"RepoTags": ["example.com/docker:1"]}]
    assert not saved.exists()


def test_podman_is_asked_second(engines: Path) -> None:
    """An image that docker does not have may be podman's."""
    engine(engines, "docker", "exit 1")
    engine(engines, "podman", 'case "$1" in save) /bin/cp $SAVED "$3";; esac')
    with archive("app") as saved:
        assert manifests(saved, "manifest.json") == [{"RepoTags": ["example.com/podman:1"]}]


def test_a_source_directory_does_not_hide_an_image(
    engines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project's directory is often called as its image is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app").mkdir()
    engine(engines, "docker", 'case "$1" in save) /bin/cp $SAVED "$3";; esac')
    with archive("app") as saved:
        assert manifests(saved, "manifest.json") == [{"RepoTags": ["example.com/docker:1"]}]


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
