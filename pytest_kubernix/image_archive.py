"""From what a user calls an image to an archive that a node can take, with a name that pods can use.
An archive, an OCI layout packed, or a reference saved out of the local docker or podman."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .errors import ImageError

ALLOWED = (
    "Allowed is a docker archive (`docker save`), an OCI archive, an OCI layout directory, "
    "or a reference in the local docker or podman."
)

# Tried in this order; both know `image inspect` and `save -o`.
ENGINES = ("docker", "podman")

# What makes a directory an OCI layout.
LAYOUT = ("oci-layout", "index.json", "blobs")

# Who names an image in an index: containerd and docker the first, every other tool the second.
NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")

INSPECT_TIMEOUT = 30.0
SAVE_TIMEOUT = 600.0


@contextlib.contextmanager
def archive(image: str | Path, *, name: str | None = None) -> Iterator[Path]:
    """The image as one uncompressed archive, which may be gone when the block ends.

    Args:
        image: A path of an archive or of an OCI layout directory, or a reference.
        name: What the image shall be called, if not as it calls itself.

    Raises:
        ImageError: It is none of these, or has no name; the text says what was looked for.
    """
    path = Path(image)
    is_path = isinstance(image, Path) or _looks_like_path(image)
    with tempfile.TemporaryDirectory(prefix="kubernix-image-") as folder:
        packed = Path(folder) / "image.tar"
        if path.is_file():
            yield _ready_archive(path, packed, name)
            return
        # A source directory is often called as its image is: only a layout wins over the reference.
        if path.is_dir() and (is_path or (path / "oci-layout").exists()):
            _pack_layout(path, packed, name)
            yield packed
            return
        if is_path:
            raise ImageError(f"{image}: there is no such file or directory", hint=ALLOWED)
        saved = Path(folder) / "saved.tar"
        _save(str(image), saved)
        yield _ready_archive(saved, packed, name)


def normalized(reference: str) -> str:
    """The whole name that a kubelet makes of a reference: "app" is "docker.io/library/app:latest"."""
    name, at, digest = reference.partition("@")
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    if not at and ":" not in name.rpartition("/")[2]:
        name += ":latest"
    return f"{name}{at}{digest}"


def _looks_like_path(text: str) -> bool:
    return text.startswith(("/", "./", "../", "~")) or text.endswith((".tar", ".tar.gz", ".tgz"))


def _ready_archive(path: Path, packed: Path, name: str | None) -> Path:
    """The archive itself if a node can take it as it is, otherwise a copy that it can."""
    try:
        with tarfile.open(path) as opened:
            members = {member.name.removeprefix("./"): member for member in opened.getmembers()}
            changed = _with_names(path, sorted(members), lambda file: _content(opened, members[file]), name)
            # Only Python looks through compression here: a node's importer wants a plain archive.
            if not changed and _is_plain(path):
                return path
            with tarfile.open(packed, "w") as target:
                for file, member in members.items():
                    if file in changed:
                        _add(target, file, changed[file])
                    else:
                        target.addfile(member, opened.extractfile(member) if member.isreg() else None)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ImageError(f"{path}: not a tar archive ({error})", hint=ALLOWED) from None
    return packed


def _pack_layout(folder: Path, packed: Path, name: str | None) -> None:
    missing = [file for file in LAYOUT if not (folder / file).exists()]
    if missing:
        raise ImageError(f"{folder}: not an OCI layout: it lacks {' and '.join(missing)}", hint=ALLOWED)
    changed = _with_names(folder, list(LAYOUT), lambda file: (folder / file).read_bytes(), name)
    # Build tools link blobs into a cache of theirs; a node needs the bytes.
    with tarfile.open(packed, "w", dereference=True) as target:
        for file in LAYOUT:
            if file in changed:
                _add(target, file, changed[file])
            else:
                target.add(folder / file, arcname=file)


def _with_names(path: Path, files: list[str], read: Callable[[str], bytes], name: str | None) -> dict[str, bytes]:
    """What must be written anew so that every image has its whole name: file → content."""
    # Archives of docker are often both; every importer looks for the OCI layout first.
    is_oci = {"oci-layout", "index.json"} <= set(files)
    if not is_oci and "manifest.json" not in files:
        found = ", ".join(files[:5]) or "nothing"
        raise ImageError(
            f"{path}: an archive, but not of images: it has neither manifest.json (docker) "
            f"nor oci-layout and index.json (OCI), but {found}",
            hint=ALLOWED,
        )
    file = "index.json" if is_oci else "manifest.json"
    try:
        text = read(file)
        content = json.loads(text)
        images: list[dict[str, Any]] = content["manifests"] if is_oci else content
        before = json.dumps(content)
        if name is not None and len(images) == 1:
            _set_names(images[0], [name], is_oci=is_oci)
        named = [image for image in images if _names(image, is_oci=is_oci)]
        for image in named:
            _set_names(image, _names(image, is_oci=is_oci), is_oci=is_oci)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageError(f"{path}: its {file} is not one of images ({error!r})", hint=ALLOWED) from None
    if not images:
        raise ImageError(f"{path}: its {file} lists no image", hint=ALLOWED)
    if name is not None and len(images) != 1:
        raise ImageError(f"{path}: it has {len(images)} images, so one name ({name}) can't be given to it")
    if not named:
        raise ImageError(
            f"{path}: its {file} gives the image no name, or only a tag", hint='Give it one: name="app:dev".'
        )
    return {file: json.dumps(content).encode()} if json.dumps(content) != before else {}


def _names(image: dict[str, Any], *, is_oci: bool) -> list[str]:
    if not is_oci:
        return list(image.get("RepoTags") or [])
    annotations = image.get("annotations") or {}
    # A lone word is a tag, as some tools write it; which image it is a tag of, only the user knows.
    names = [annotations[key] for key in NAMES if set(annotations.get(key, "")) & set("/:@")]
    return names[:1]


def _set_names(image: dict[str, Any], names: list[str], *, is_oci: bool) -> None:
    whole = [normalized(name) for name in names]
    if not is_oci:
        image["RepoTags"] = whole
    else:
        image["annotations"] = {**(image.get("annotations") or {}), NAMES[0]: whole[0]}


def _content(opened: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = opened.extractfile(member)
    return stream.read() if stream else b""


def _add(target: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    target.addfile(member, io.BytesIO(content))


def _is_plain(path: Path) -> bool:
    try:
        tarfile.open(path, "r:").close()
    except tarfile.TarError:
        return False
    return True


def _save(reference: str, saved: Path) -> None:
    """Ask each engine in turn; the first that has the image saves it."""
    looked = [f"no archive or OCI layout is called {reference!r} here"]
    for engine in ENGINES:
        if shutil.which(engine) is None:
            looked.append(f"{engine} is not on PATH")
            continue
        problem = _run(INSPECT_TIMEOUT, engine, "image", "inspect", reference)
        if problem:
            looked.append(f"{engine} says: {problem}")
            continue
        problem = _run(SAVE_TIMEOUT, engine, "save", "--output", str(saved), reference)
        if not problem:
            return
        looked.append(f"{engine} has it, but could not save it: {problem}")
    raise ImageError("\n  ".join([f"image {reference!r} was not found:", *looked]), hint=ALLOWED)


def _run(timeout: float, *command: str) -> str:
    """Run a command; returns why it failed, or ""."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout:g} s"
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"
