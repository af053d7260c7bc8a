"""From what a user calls an image to an archive that a node can take.
An archive as it is, an OCI layout packed, a reference saved out of the local docker or podman."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import ImageError

ALLOWED = (
    "Allowed is a docker archive (`docker save`), an OCI archive, an OCI layout directory, "
    "or a reference in the local docker or podman."
)

# Tried in this order; both know `image inspect` and `save -o`.
ENGINES = ("docker", "podman")

# What makes a directory an OCI layout.
LAYOUT = ("oci-layout", "index.json", "blobs")

INSPECT_TIMEOUT = 30.0
SAVE_TIMEOUT = 600.0


@contextlib.contextmanager
def archive(image: str | Path) -> Iterator[Path]:
    """The image as one archive file, which may be gone when the block ends.

    Args:
        image: A path of an archive or of an OCI layout directory, or a reference.

    Raises:
        ImageError: It is none of these; the text says what was looked for.
    """
    path = Path(image)
    is_path = isinstance(image, Path) or _looks_like_path(image)
    if path.is_file():
        _check_archive(path)
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="kubernix-image-") as folder:
        packed = Path(folder) / "image.tar"
        # A source directory is often called as its image is: only a layout wins over the reference.
        if path.is_dir() and (is_path or (path / "oci-layout").exists()):
            _pack_layout(path, packed)
        elif is_path:
            raise ImageError(f"{image}: there is no such file or directory", hint=ALLOWED)
        else:
            _save(str(image), packed)
        yield packed


def _looks_like_path(text: str) -> bool:
    return text.startswith(("/", "./", "../", "~")) or text.endswith((".tar", ".tar.gz", ".tgz"))


def _check_archive(path: Path) -> None:
    """Look for what makes an archive one of images, before any node is bothered with it."""
    try:
        with tarfile.open(path) as opened:
            names = {name.removeprefix("./") for name in opened.getnames()}
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ImageError(f"{path}: not a tar archive ({error})", hint=ALLOWED) from None
    if "manifest.json" not in names and not {"oci-layout", "index.json"} <= names:
        found = ", ".join(sorted(names)[:5]) or "nothing"
        raise ImageError(
            f"{path}: an archive, but not of images: it has neither manifest.json (docker) "
            f"nor oci-layout and index.json (OCI), but {found}",
            hint=ALLOWED,
        )


def _pack_layout(folder: Path, packed: Path) -> None:
    missing = [name for name in LAYOUT if not (folder / name).exists()]
    if missing:
        raise ImageError(f"{folder}: not an OCI layout: it lacks {' and '.join(missing)}", hint=ALLOWED)
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        manifests = index["manifests"]
    except (ValueError, KeyError, TypeError) as error:
        raise ImageError(f"{folder / 'index.json'}: not an OCI image index ({error!r})", hint=ALLOWED) from None
    if not manifests:
        raise ImageError(f"{folder / 'index.json'}: lists no image", hint=ALLOWED)
    # Build tools link blobs into a cache of theirs; a node needs the bytes.
    with tarfile.open(packed, "w", dereference=True) as target:
        for name in LAYOUT:
            target.add(folder / name, arcname=name)


def _save(reference: str, packed: Path) -> None:
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
        problem = _run(SAVE_TIMEOUT, engine, "save", "--output", str(packed), reference)
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
