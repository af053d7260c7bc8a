"""Reports and bundles about real clusters: each test runs a suite that fails, and reads what it left."""

from __future__ import annotations

import base64
import json
import os
import re
import select
import signal
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from pytest_kubernix import Cluster, Kubectl
from pytest_kubernix.diagnostics.sections import sections

from .conftest import server_pod
from .pods import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

CANARY = "canary-4f1d0c77-secret\nsecond-line-of-the-canary-value"
ENCODED = base64.b64encode(CANARY.encode()).decode()


def kill_from_outside(cluster: Cluster, component: str) -> None:
    """SIGKILL a component as the kernel's OOM killer would: its parent is not asked.

    Its PID is found by its command line, which has the run directory, and waited for by a pidfd.
    """
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if Path(words[0]).name == component and str(cluster.handle.run_dir) in " ".join(words):
            process = os.pidfd_open(int(entry.name))
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [], 10)
            os.close(process)
            eventually(lambda: cluster.components[component].state == "dead")
            return
    raise AssertionError(f"no process of {component}")


@pytest.mark.kubernix(nodes=0)
def test_a_component_that_dies_by_itself_is_told_with_its_log(kubernix: Cluster) -> None:
    """The report names it, how and when it died, and the end of its log; what a test has killed is no such death."""
    began = time.time()
    scheduler = kubernix.components["kube-scheduler"]
    try:
        with kubernix.components["kube-controller-manager"].killed():
            kill_from_outside(kubernix, "kube-scheduler")
            (found,) = [
                text for title, text in sections(kubernix, namespace=None, since=began) if "components" in title
            ]
    finally:
        scheduler.restart()
    assert "s into the test: kube-scheduler: killed by SIGKILL on its own" in found
    assert "the end of its log" in found
    assert "kube-scheduler is dead now" in found
    assert "kube-controller-manager is dead now" in found
    assert "kube-controller-manager: killed" not in found
    assert sections(kubernix, namespace=None, since=time.time()) == []


@pytest.mark.kubernix(nodes=0)
def test_a_report_does_not_wait_for_an_api_server(kubernix: Cluster, tmp_path: Path) -> None:
    """Whether it is dead or paused: the report says so at once, and a bundle has all that is not its."""
    server = kubernix.components["kube-apiserver"]
    for broken, word in ((server.paused, "paused"), (server.killed, "dead")):
        with broken():
            begin = time.monotonic()
            found = dict(sections(kubernix, namespace="default", since=time.time()))
            assert time.monotonic() - begin < 3
            assert found["kubernix: pods of namespace default"] == f"not known: kube-apiserver is {word}"
            folder = kubernix.diagnose(tmp_path)
            assert time.monotonic() - begin < 6
        about = json.loads((folder / "bundle.json").read_text())
        assert about["could_not_be_had"][0].endswith(f"kube-apiserver is {word}")
        assert (folder / "logs" / "kube-apiserver.log").exists()
        assert re.search(rf"(?m)^kube-apiserver +{word}$", (folder / "components.txt").read_text())


def test_a_failed_test_shows_pods_events_and_logs(suite: pytest.Pytester) -> None:
    """Of the test's own namespace: a table, what happened, and the logs of what is not ready; of no other test's."""
    suite.makepyfile(
        pods=f"CRASHING = {server_pod('crashing', 'no-such-command')!r}\nFINE = {server_pod('fine', 'sleep', '60')!r}"
    )
    suite.makepyfile(
        """
        from pods import CRASHING, FINE

        def test_bad(kubernix, kubernix_namespace):
            kubernix.kubectl.apply([CRASHING, FINE], namespace=kubernix_namespace)
            kubernix.kubectl.wait("pod/fine", "condition=Ready", namespace=kubernix_namespace)
            restarted = "jsonpath={.status.containerStatuses[0].restartCount}=1"
            kubernix.kubectl.wait("pod/crashing", restarted, namespace=kubernix_namespace)
            assert False

        def test_good(kubernix, kubernix_namespace):
            kubernix.kubectl.apply(CRASHING, namespace=kubernix_namespace)
        """
    )
    result = suite.runpytest("--kubernix-nodes=1")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*kubernix: pods of namespace test-bad-*",
            "NAME *READY *STATUS *RESTARTS *AGE *NODE",
            "crashing *[01]/1 * 1 * node-1",
            "fine *1/1 *Running *0 *node-1",
            "*kubernix: events of namespace test-bad-*",
            "*Scheduled *pod/crashing *",
            "*kubernix: previous log of crashing/main (the end)*",
            "*unknown command*no-such-command*",
        ]
    )
    result.stdout.no_fnmatch_line("*namespace test-good-*")


def test_no_value_of_a_secret_is_in_a_bundle(kubernix: Cluster, kubernix_namespace: str, tmp_path: Path) -> None:
    """Neither in its manifest, nor where it was copied to: annotations, other objects, events, logs of pods."""
    kubectl: Kubectl = kubernix.kubectl
    metadata = {"name": "canary"}
    printer = server_pod("printer", "print", CANARY)
    printer["spec"]["restartPolicy"] = "Never"
    kubectl.apply(
        [
            # Client-side, so that kubectl puts the whole object into an annotation.
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata,
                "stringData": {"value": CANARY, "one": "1234"},
            },
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": metadata,
                "data": {"copy": f"password={CANARY}", "b": ENCODED},
            },
            printer,
        ],
        namespace=kubernix_namespace,
    )
    kubectl("annotate", "configmap", "canary", f"copy={json.dumps({'a': CANARY})}", namespace=kubernix_namespace)
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": metadata,
        "reason": "Told",
        "message": f"it is {CANARY}",
        "involvedObject": {"kind": "Secret", "name": "canary", "namespace": kubernix_namespace},
    }
    kubectl.apply(event, namespace=kubernix_namespace)
    succeeded = "jsonpath={.status.phase}=Succeeded"
    kubectl.wait("pod/printer", succeeded, namespace=kubernix_namespace)
    assert kubectl.logs("printer", namespace=kubernix_namespace).strip() == CANARY

    folder = kubernix.diagnose(tmp_path)
    files = [path for path in folder.rglob("*") if path.is_file()]
    log = folder / "pods" / kubernix_namespace / "printer" / "main.log"
    assert log in files
    for path in files:
        text = path.read_text()
        for piece in ("canary-4f1d0c77", "second-line-of", ENCODED[:24], base64.b64encode(b"1234").decode()):
            assert piece not in text, path
    (manifest,) = yaml.safe_load_all(
        (folder / "manifests" / "namespaces" / kubernix_namespace / "secret.yaml").read_text()
    )
    assert manifest["metadata"]["name"] == "canary"
    assert set(manifest["data"]) == {"value", "one"}


def test_a_bundle_is_complete(kubernix: Cluster, tmp_path: Path) -> None:
    """Everything that was asked for is there, of every component, kind and node, and can be read again."""
    folder = kubernix.diagnose(tmp_path)
    assert folder == tmp_path / kubernix.handle.cluster_id
    about = json.loads((folder / "bundle.json").read_text())
    # Pods of an earlier test may go while they are looked at.
    assert [line for line in about["could_not_be_had"] if not line.startswith("pods/")] == []
    assert about["cluster"]["k8s_version"] == kubernix.version
    names = {path.stem for path in (folder / "logs").iterdir()}
    assert {"etcd", "kube-apiserver", "kubelet-node-1", "containerd-node-1", "guardian", "setup-node-1"} <= names
    manifests = {path.relative_to(folder / "manifests").as_posix() for path in (folder / "manifests").rglob("*.yaml")}
    assert {
        "cluster/node.yaml",
        "cluster/namespace.yaml",
        "cluster/clusterrole.rbac.authorization.k8s.io.yaml",
        "namespaces/default/service.yaml",
        "namespaces/default/endpointslice.discovery.k8s.io.yaml",
    } <= manifests
    for path in (folder / "manifests").rglob("*.yaml"):
        for item in yaml.safe_load_all(path.read_text()):
            assert item["kind"].lower() == path.name.split(".")[0]
    assert "Name: " in (folder / "nodes.txt").read_text()
    words = [element.text for element in ElementTree.parse(folder / "timeline.svg").iter()]
    for word in (
        "Infrastructure",
        "ControlPlane",
        "Controller",
        *kubernix.nodes,
        "etcd",
        "kube-scheduler",
    ):
        assert word in words
    assert kubernix.diagnose(tmp_path).name == f"{kubernix.handle.cluster_id}-2"


def test_a_failed_boot_leaves_a_bundle(suite: pytest.Pytester) -> None:
    """Logs of every component that had started, the error, and the timeline up to the failure."""
    suite.makeconftest(
        """
        from pytest_kubernix.plan.component import Component, Phase
        from pytest_kubernix.plan.model import ComponentPlan, Probe

        class Dying(Component):
            name = "dying"
            phase = Phase.CONTROLLER

            def build(self, ctx):
                argv = ("/bin/sh", "-c", "echo my last words; exit 3")
                return ComponentPlan(self.name, self.phase, argv, ready=(Probe("socket", "/nowhere"),))

        def pytest_kubernix_components(registry, config):
            registry.register(Dying())
        """
    )
    suite.makepyfile("def test_a(kubernix): pass")
    result = suite.runpytest("--kubernix-nodes=0", "--kubernix-artifacts=out")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"kubernix: artifacts are in {suite.path / 'out'}"])
    (folder,) = (suite.path / "out").iterdir()
    assert "dying: exited with code 3" in (folder / "error.txt").read_text()
    assert (folder / "logs" / "dying.log").read_text() == "my last words\n"
    assert {"etcd.log", "kube-apiserver.log", "guardian.log"} <= {path.name for path in (folder / "logs").iterdir()}
    picture = (folder / "timeline.svg").read_text()
    assert "failed after" in picture
    assert ">dying<" in picture
    assert "never ready" in picture
    assert json.loads((folder / "bundle.json").read_text())["failed_phase"] == "Controller"


def test_workers_of_one_cluster_write_side_by_side(suite: pytest.Pytester) -> None:
    """Each failed test has the cluster as it left it, with its own namespace; the end is written once, after all."""
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_bad(kubernix, kubernix_namespace, number):
            data = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"of-{number}"}}
            kubernix.kubectl.apply(data, namespace=kubernix_namespace)
            assert False
        """
    )
    result = suite.runpytest("-n2", "--kubernix-nodes=0", "--kubernix-artifacts=out")
    result.assert_outcomes(failed=4)
    (cluster,) = (suite.path / "out").iterdir()
    folders = {path.name for path in cluster.iterdir()}
    assert len(folders) == 5
    assert "end" in folders
    for number in range(4):
        (folder,) = [cluster / name for name in folders if f"test_bad-{number}-" in name]
        names = [path.read_text() for path in folder.glob(f"manifests/namespaces/test-bad-{number}-*/configmap.yaml")]
        assert len(names) == 1
        assert f"name: of-{number}\n" in names[0]
