"""Container images from our own programs, in plain Python: the same bytes for the same programs.
Each is a tar archive that is an OCI layout and a docker archive at once, so every runtime reads it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

PAUSE = "kubernix.test/pause:1"
SERVER = "kubernix.test/server:1"

# Users that pods with runAsNonRoot and suites that look names up expect.
USERS = "root:x:0:0:root:/:/test-server\nnobody:x:65534:65534:nobody:/:/test-server\n"
GROUPS = "root:x:0:\nnobody:x:65534:\n"
# What `kubectl exec` and `kubectl cp` call by name; test-server acts by the name it is called under.
TOOLS = ("cat", "echo", "env", "hostname", "ls", "sleep", "tar", "test")

Entry = tuple[str, str, int, bytes]  # name, type ("file", "dir" or "link"), mode, content or link target


def build_images(pause: Path, test_server: Path, directory: Path, *, arch: str) -> tuple[Path, Path]:
    """Write both images into `directory` and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = (directory / "pause.tar", directory / "server.tar")
    pause_entries: list[Entry] = [("pause", "file", 0o755, pause.read_bytes())]
    _write(paths[0], PAUSE, pause_entries, arch=arch, entrypoint="/pause")
    entries: list[Entry] = [
        ("bin", "dir", 0o755, b""),
        ("etc", "dir", 0o755, b""),
        ("tmp", "dir", 0o1777, b""),
        ("etc/passwd", "file", 0o644, USERS.encode()),
        ("etc/group", "file", 0o644, GROUPS.encode()),
        ("test-server", "file", 0o755, test_server.read_bytes()),
        *((f"bin/{tool}", "link", 0o777, b"/test-server") for tool in TOOLS),
    ]
    _write(paths[1], SERVER, entries, arch=arch, entrypoint="/test-server", port=8080)
    return paths


def _write(path: Path, reference: str, entries: Iterable[Entry], *, arch: str, entrypoint: str, port: int = 0) -> None:
    # Uncompressed: importing is faster, and no compressor's version changes the bytes.
    layer = _tar(entries)
    settings: dict[str, object] = {"Entrypoint": [entrypoint], "Env": ["PATH=/bin:/"], "WorkingDir": "/"}
    if port:
        settings["ExposedPorts"] = {f"{port}/tcp": {}}
    config = _json({
        "architecture": arch, "os": "linux", "created": "1970-01-01T00:00:00Z", "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "pytest-kubernix"}],
    })  # fmt: skip
    manifest = _json({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    })  # fmt: skip
    described = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    # The first names the image for containerd, the second for tools that follow the OCI layout alone.
    described["annotations"] = {
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
    }
    described["platform"] = {"architecture": arch, "os": "linux"}
    index = _json({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [described],
    })  # fmt: skip
    docker = _json([{
        "Config": _blob(config), "RepoTags": [reference], "Layers": [_blob(layer)],
    }])  # fmt: skip
    archive = _tar([
        ("oci-layout", "file", 0o644, _json({"imageLayoutVersion": "1.0.0"})),
        ("index.json", "file", 0o644, index),
        ("manifest.json", "file", 0o644, docker),
        ("blobs", "dir", 0o755, b""),
        ("blobs/sha256", "dir", 0o755, b""),
        *((_blob(content), "file", 0o644, content) for content in (manifest, config, layer)),
    ])  # fmt: skip
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_bytes(archive)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _tar(entries: Iterable[Entry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, kind, mode, content in entries:
            entry = tarfile.TarInfo(name)  # Owner root and time 0, as reproducible bytes want it.
            entry.mode = mode
            if kind == "dir":
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            elif kind == "link":
                entry.type, entry.linkname = tarfile.SYMTYPE, content.decode()
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blob(content: bytes) -> str:
    return f"blobs/{_digest(content).replace(':', '/')}"


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}
