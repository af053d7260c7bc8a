"""Write the go.mod and go.sum that pin one bundle: `python scripts/pin_kubernetes.py 1.36.3 coredns@1.14.7`.
A maintainer runs it once per version; builds then verify every module against the committed go.sum."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "pytest_kubernix" / "binaries" / "go"

# Bundles made of other people's main packages: module, and the packages to build.
TOOLS = {
    "containerd": (
        "github.com/containerd/containerd/v2",
        ("cmd/containerd", "cmd/containerd-shim-runc-v2", "cmd/ctr"),
    ),
    "cni": (
        "github.com/containernetworking/plugins",
        ("plugins/main/bridge", "plugins/main/loopback", "plugins/ipam/host-local", "plugins/meta/portmap"),
    ),
    "runc": ("github.com/opencontainers/runc", (".",)),
}
# Bundles whose main is ours and follows one module.
LIBRARIES = {"coredns": "github.com/coredns/coredns"}


def upstream_go_mod(module: str, version: str) -> str:
    """The go.mod of `module` at `version`, as the module proxy has it."""
    download = subprocess.run(
        ["go", "mod", "download", "-json", f"{module}@v{version}"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return Path(json.loads(download.stdout)["GoMod"]).read_text()


def go_line(upstream: str) -> str:
    """The `go` line that `upstream` has; ours must not be older."""
    found = re.search(r"^go \S+$", upstream, re.MULTILINE)
    if not found:
        raise SystemExit("the upstream go.mod has no go line")
    return found[0]


def kubernetes_go_mod(version: str) -> str:
    """Our go.mod for Kubernetes `version`: staging modules replaced by their published releases."""
    upstream = upstream_go_mod("k8s.io/kubernetes", version)
    staging = f"v0.{version.split('.', 1)[1]}"
    # Only modules required at v0.0.0 are staging modules; pseudo-versions (k8s.io/utils) are real ones.
    modules = re.findall(r"^\s*(k8s\.io/\S+) v0\.0\.0$", upstream, re.MULTILINE)
    etcd = re.search(r"^\s*go\.etcd\.io/etcd/server/v3 (\S+)", upstream, re.MULTILINE)
    if not modules or not etcd:
        raise SystemExit(f"the go.mod of Kubernetes {version} does not look as expected")
    lines = [
        # Its path decides when its packages are initialised: see untranslated.go.
        "module cluster.pytest-kubernix/kubernetes", "", go_line(upstream), "",
        *(m[0] for m in re.finditer(r"^godebug (?!\().*$|^godebug \([^)]*\)$", upstream, re.MULTILINE)), "",
        "require (", f"\tk8s.io/kubernetes v{version}",
        f"\tgo.etcd.io/etcd/server/v3 {etcd[1]}", ")", "", "replace (",
        *(f"\t{module} => {module} {staging}" for module in modules), ")", "",
    ]  # fmt: skip
    return "\n".join(lines)


def module_go_mod(bundle: str, version: str) -> str:
    """Our go.mod for a bundle that follows one module: a `tool` line for each program to build."""
    module, packages = TOOLS.get(bundle) or (LIBRARIES[bundle], ())
    upstream = upstream_go_mod(module, version)
    lines = [
        f"module pytest-kubernix/{bundle}",
        "",
        go_line(upstream),
        "",
        f"require {module} v{version}",
        "",
    ]
    # A main module's replaces don't apply to who requires it, so what upstream replaces is taken over.
    lines += re.findall(r"^replace (?!\().*$", upstream, re.MULTILINE)
    lines += [f"tool {module}/{package}".removesuffix("/.") for package in packages]
    return "\n".join([*lines, ""])


def pin(bundle: str, version: str, target: Path | None = None) -> None:
    """Write `pins/<version>/` of `bundle`, or the same files elsewhere."""
    sources = SOURCES / bundle
    target = target or sources / "pins" / version
    with tempfile.TemporaryDirectory() as scratch:
        for source in sources.rglob("*.go"):
            copy = Path(scratch) / source.relative_to(sources)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
        content = kubernetes_go_mod(version) if bundle == "kubernetes" else module_go_mod(bundle, version)
        (Path(scratch) / "go.mod").write_text(content)
        subprocess.run(["go", "mod", "tidy"], cwd=scratch, check=True)
        target.mkdir(parents=True, exist_ok=True)
        for name in ("go.mod", "go.sum"):
            shutil.copy(Path(scratch) / name, target / f"{name}.pin")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        name, _, of_bundle = argument.rpartition("@")
        pin(name or "kubernetes", of_bundle)
