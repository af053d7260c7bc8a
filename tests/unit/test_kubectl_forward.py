"""Port-forwards as processes: begun, limited and ended; the executables only tell what they were given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_kubernix import Kubectl, KubectlError

from .test_kubectl import executable

FORWARDS = """#!/bin/sh
echo $$ > {pid}
echo "Forwarding from 127.0.0.1:40123 -> 8080"
for n in $(seq 20000); do echo "Handling connection for 40123"; done
echo drained > {pid}.done
exec sleep 600
"""


def test_a_forward_ends_with_its_block(tmp_path: Path) -> None:
    """It gives the port that kubectl took, reads on so that kubectl is never held up, and leaves nothing."""
    pid_file = tmp_path / "pid"
    path = executable(tmp_path / "kubectl", FORWARDS.format(pid=pid_file))
    done = Path(f"{pid_file}.done")
    os.mkfifo(done)

    def use() -> None:
        with Kubectl(path, tmp_path / "kubeconfig").port_forward("pod/a", 8080) as port:
            assert port == 40123
            assert done.read_text() == "drained\n"
            raise RuntimeError("the test failed")

    with pytest.raises(RuntimeError, match="the test failed"):
        use()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_forward_that_fails_says_why(tmp_path: Path) -> None:
    """What kubectl complains about is in the error."""
    path = executable(tmp_path / "kubectl", "#!/bin/sh\necho 'pods \"a\" not found' >&2; exit 1\n")
    with (
        pytest.raises(KubectlError, match='port-forward pod/a :8080 …: exit code 1: pods "a" not found') as raised,
        Kubectl(path, tmp_path / "kubeconfig").port_forward("pod/a", 8080),
    ):
        pytest.fail("there is no port")
    assert raised.value.returncode == 1


def test_a_forward_that_never_listens(tmp_path: Path) -> None:
    """Its time is limited, and the child is gone afterwards."""
    pid_file = tmp_path / "pid"
    path = executable(tmp_path / "kubectl", f"#!/bin/sh\necho $$ > {pid_file}; exec sleep 600\n")
    with (
        pytest.raises(KubectlError, match=r"did not listen within 0\.5 s") as raised,
        Kubectl(path, tmp_path / "kubeconfig").port_forward("pod/a", 8080, timeout=0.5),
    ):
        pytest.fail("there is no port")
    assert raised.value.returncode is None
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
