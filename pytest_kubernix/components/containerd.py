"""containerd, one per node: overlay snapshots in the node's own memory, runc, CNI bridge with one pod block.
Ready means that it imported the images that every node preloads."""

from __future__ import annotations

import base64
import json
from urllib.parse import unquote, urlsplit

from ..plan.component import Component
from ..plan.context import SYSTEM_PATH, ClusterContext
from ..plan.model import Command, ComponentPlan, File, Phase, Probe
from ..plan.network import Network

SOCKET = "/run/containerd/containerd.sock"
# Also what the host has there is heard: nodes see its /etc.
REGISTRIES = "/etc/containerd/certs.d"
PAUSE_IMAGE = "kubernix.test/pause:1"


class Containerd(Component):
    """The container runtime of one node."""

    phase = Phase.INFRASTRUCTURE

    def __init__(self, node: int) -> None:
        self.node = node
        self.name = f"containerd/{Network.node_name(node)}"

    def build(self, ctx: ClusterContext) -> ComponentPlan:
        # containerd finds its shim and runc by PATH.
        shim_dir = ctx.program("containerd-shim-runc-v2").rsplit("/", 1)[0]
        env = ctx.environment(
            PATH=f"{shim_dir}:{SYSTEM_PATH}",
            HOME="/root",
            **ctx.facts.proxy_env,
        )
        imports = tuple(Command(import_argv(ctx.program("ctr"), image), env) for image in ctx.facts.images)
        return ComponentPlan(
            name=self.name,
            phase=self.phase,
            argv=(ctx.program("containerd"), "--config", "/etc/containerd/config.toml"),
            env=env,
            within=ctx.network.node_name(self.node),
            files=(
                File("/etc/containerd/config.toml", self._config(ctx)),
                *(File(f"{REGISTRIES}/{host}/hosts.toml", _hosts(url)) for host, url in ctx.config.registries.items()),
                File("/etc/cni/net.d/10-kubernix.conflist", self._cni(ctx)),
            ),
            ready=(Probe("socket", SOCKET, within=ctx.network.node_name(self.node)),),
            after=imports,
        )

    @staticmethod
    def _config(ctx: ClusterContext) -> str:
        level = {"warning": "warn"}.get(ctx.config.log_level, ctx.config.log_level)
        return f"""\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.nri.v1.nri",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "{SOCKET}"

[debug]
  level = "{level}"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = {_text(PAUSE_IMAGE)}
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = {_text(REGISTRIES)}

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = {str(not ctx.facts.can_lower_oom_score).lower()}
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [{_text(ctx.facts.cni_dir)}]
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = {_text(ctx.program("runc"))}
        SystemdCgroup = false
"""

    def _cni(self, ctx: ClusterContext) -> str:
        return json.dumps(
            {
                "cniVersion": "1.0.0",
                "name": "kubernix",
                "plugins": [
                    {
                        "type": "bridge",
                        "bridge": "cni0",
                        "isGateway": True,
                        # Pod addresses are routed as they are, between nodes and to the host.
                        "ipMasq": False,
                        "hairpinMode": True,
                        "ipam": {
                            "type": "host-local",
                            "ranges": [[{"subnet": str(ctx.network.pod_block(self.node))}]],
                            "routes": [{"dst": "0.0.0.0/0"}],
                        },
                    },
                    {"type": "portmap", "capabilities": {"portMappings": True}, "backend": "nftables"},
                ],
            },
            indent=1,
        )


def _text(value: str) -> str:
    """A TOML string; those of JSON are such."""
    return json.dumps(value)


def _hosts(url: str) -> str:
    """hosts.toml of one registry (containerd's docs/hosts.md)."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    address = f"{parts.scheme}://{host}"
    lines = [f"server = {_text(address)}", "", f"[host.{_text(address)}]", '  capabilities = ["pull", "resolve"]']
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        basic = "Basic " + base64.b64encode(login.encode()).decode()
        lines += [f"  [host.{_text(address)}.header]", f"    Authorization = [{_text(basic)}]"]
    return "\n".join(lines) + "\n"


def import_argv(ctr: str, archive: str) -> tuple[str, ...]:
    """argv that imports an archive into the runtime of the node that it runs in."""
    return (ctr, "--address", SOCKET, "--namespace", "k8s.io", "images", "import", "--local", archive)
