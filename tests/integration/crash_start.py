"""One start of a cluster, by itself: `python -m tests.integration.crash_start ROOT NODES KEY`.
Says "ready", then waits for the end of its input; it may be killed at any moment."""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path

from pytest_kubernix.binaries.pins import DEFAULT_VERSION
from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.drivers.base import BootOptions
from pytest_kubernix.drivers.native.driver import NativeDriver
from pytest_kubernix.share import Share


def main() -> None:
    root, nodes, key = sys.argv[1:]
    # One that hangs says where.
    faulthandler.dump_traceback_later(45, exit=True)
    config = ClusterConfig(k8s_version=DEFAULT_VERSION, nodes=int(nodes), root=Path(root))
    cluster = NativeDriver().start(config, BootOptions(share=Share(key=key, who=f"start (pid {os.getpid()})")))
    try:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        cluster.destroy()


if __name__ == "__main__":
    main()
