from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiException, CoreV1Api, V1ConfigMap, V1ObjectMeta

from pytest_kubernix import Cluster, ClusterFactory, KubernixError
from pytest_kubernix.guardian.client import GuardianClient
from pytest_kubernix.guardian.protocol import Attach
from pytest_kubernix.layout import Layout
from pytest_kubernix.store import history as rollback

from . import objects
from .objects import difference, everything
from .pods import eventually, namespace_of, template

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

OLDER = "1.33.13"
GROUP = "rollback.example.com"


def deployment(name: str, replicas: int = 1) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(name)},
    }


def definition(plural: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    kind = plural.rstrip("s").title()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def instance(plural: str, name: str, *finalizers: str) -> dict[str, Any]:
    metadata = {"name": name, "finalizers": list(finalizers)}
    return {"apiVersion": f"{GROUP}/v1", "kind": plural.rstrip("s").title(), "metadata": metadata, "size": 1}


def define(cluster: Cluster, plural: str, namespace: str, *finalizers: str) -> None:
    """A CRD, and an instance that no controller will ever finalize."""
    cluster.kubectl.apply(definition(plural))
    cluster.kubectl.wait(f"crd/{plural}.{GROUP}", "condition=Established")
    cluster.kubectl.apply(instance(plural, "one", *finalizers), namespace=namespace)


def roll_out(cluster: Cluster, namespace: str, name: str = "web", replicas: int = 1) -> None:
    """A Deployment whose pods run: it has been through the hands of every controller that there is for one."""
    cluster.kubectl.apply(deployment(name, replicas), namespace=namespace)
    cluster.kubectl.wait(f"deployment/{name}", "condition=Available", namespace=namespace, timeout=60)


def containers(cluster: Cluster, namespace: str) -> list[tuple[str, int]]:
    """Id and restarts of every container of a namespace."""
    items = cluster.kubectl.get("pods", namespace=namespace)["items"]
    statuses = [status for item in items for status in item["status"].get("containerStatuses", [])]
    return sorted((status["containerID"], status["restartCount"]) for status in statuses)


def running_in(cluster: Cluster, namespace: str) -> list[str]:
    """The pods of a namespace that the container runtime has, whatever the API says."""
    found: list[str] = []
    for node in cluster.nodes:
        text = cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/runningpods/").stdout
        items = json.loads(text)["items"] or []
        found += [item["metadata"]["name"] for item in items if item["metadata"]["namespace"] == namespace]
    return found


def leave_traces(cluster: Cluster, namespace: str) -> None:
    """Make and change a bit of everything in a namespace that the test made, and outside of it."""
    kubectl = cluster.kubectl
    define(cluster, "gadgets", namespace, "example.com/never")
    refusing = {
        "name": "refuse.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "rules": [{"apiGroups": [GROUP], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}],
    }
    allowed = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    kubectl.apply(
        [
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": "refuse"},
                "webhooks": [refusing],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": "traces", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
                "rules": [{**allowed, "apiGroups": [GROUP], "resources": ["gadgets"]}],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": {"name": "traces", "namespace": namespace},
                "rules": [allowed],
            },
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}},
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web", "namespace": namespace},
                "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80, "nodePort": 30123}]},
            },
        ]
    )
    kubectl("label", "node", *cluster.nodes, "traces=left")
    kubectl("taint", "node", *cluster.nodes, "traces=left:PreferNoSchedule")
    kubectl("label", "namespace", "default", "traces=left")
    kubectl("delete", "clusterrole", "view")


class Promises:
    """What is promised on every version."""

    @pytest.fixture
    def earlier(self, kubernix_pristine: Cluster) -> Iterator[str]:
        """A namespace from before, with a Deployment that runs, a CRD, and an instance with a finalizer."""
        with namespace_of(kubernix_pristine, "earlier") as namespace:
            roll_out(kubernix_pristine, namespace, "earlier")
            define(kubernix_pristine, "widgets", namespace, "example.com/never")
            kubernix_pristine.kubectl("create", "configmap", "settings", "--from-literal=a=1", namespace=namespace)
            kubernix_pristine.kubectl("expose", "deployment", "earlier", "--port=80", namespace=namespace)
            yield namespace

    def test_everything_is_as_it_was(self, kubernix: Cluster, earlier: str) -> None:
        """Objects of all kinds are as before, pods from before run on, others are gone, and nothing comes back."""
        kubectl = kubernix.kubectl
        ran = containers(kubernix, earlier)
        before = everything(kubernix)
        checkpoint = kubernix.checkpoint()
        kubectl("create", "namespace", "traces")
        kubectl.wait("serviceaccount/default", "create", namespace="traces")
        roll_out(kubernix, "traces", replicas=2)
        leave_traces(kubernix, "traces")
        kubectl("delete", "configmap", "settings", namespace=earlier)
        kubectl("scale", "deployment", "earlier", "--replicas=2", namespace=earlier)
        # Terminating, and held by the finalizer of the instance.
        kubectl.delete("namespace", "traces", wait=False)

        kubernix.rollback(checkpoint)
        assert difference(before, everything(kubernix)) == []
        assert containers(kubernix, earlier) == ran
        eventually(lambda: not running_in(kubernix, "traces"), what="no container of the test is left")
        # Controllers carry other work from end to end; whatever they still had to do before, they did.
        for number in range(3):
            again = kubernix.checkpoint()
            kubectl("create", "namespace", f"more-{number}")
            kubectl.wait("serviceaccount/default", "create", namespace=f"more-{number}")
            roll_out(kubernix, f"more-{number}")
            # The port is free again, and nothing refuses.
            leave_traces(kubernix, f"more-{number}")
            kubernix.rollback(again)
            assert difference(before, everything(kubernix)) == []
        assert containers(kubernix, earlier) == ran

    def test_what_was_deleted_comes_back(self, kubernix: Cluster, earlier: str) -> None:
        """A CRD serves its instances again, and a Deployment's pods run again under their own names."""
        kubectl = kubernix.kubectl
        before = everything(kubernix)
        checkpoint = kubernix.checkpoint()
        kubectl("patch", "widget", "one", "--type=merge", '--patch={"metadata":{"finalizers":null}}', namespace=earlier)
        kubectl.delete("crd", f"widgets.{GROUP}")
        kubectl.delete("deployment", "earlier", namespace=earlier)
        kubernix.rollback(checkpoint)
        assert kubectl.get("widget", "one", namespace=earlier)["size"] == 1
        after = everything(kubernix)
        for name in [name for name in before if name.startswith("Pod ")]:
            # A container can't be brought back from the dead; its pod is another one.
            assert name in after
            del before[name], after[name]
        for name in [name for name in before if name.startswith("Endpoint")]:
            # They say which pods are ready, and the new ones are not yet.
            del before[name], after[name]
        assert difference(before, after) == []
        kubectl.wait("deployment/earlier", "condition=Available", namespace=earlier, timeout=60)
        eventually(lambda: len(containers(kubernix, earlier)) == 1, what="the pod's container")
        pods = kubectl.get("pods", namespace=earlier, selector="app=earlier")["items"]
        assert len(pods) == 1

    def test_a_deleted_namespace_comes_back(self, kubernix: Cluster, earlier: str) -> None:
        """A namespace that is on its way out is called back, with what was in it."""
        kubectl = kubernix.kubectl
        before = {name for name in everything(kubernix) if not name.startswith("EndpointSlice")}
        checkpoint = kubernix.checkpoint()
        kubectl.delete("namespace", earlier, wait=False)
        kubectl.wait("deployment/earlier", "delete", namespace=earlier)
        kubernix.rollback(checkpoint)
        assert before - set(everything(kubernix)) == set()
        kubectl.wait("deployment/earlier", "condition=Available", namespace=earlier, timeout=60)
        kubectl("create", "configmap", "new", namespace=earlier)


class TestDefault(Promises):
    """On the default version."""


@pytest.mark.kubernix(k8s_version=OLDER)
class TestOlder(Promises):
    """On the oldest version that is tested."""


@contextlib.contextmanager
def watching(cluster: Cluster, kind: str) -> Iterator[subprocess.Popen[str]]:
    kubectl = cluster.kubectl
    argv = [str(kubectl.executable), f"--kubeconfig={kubectl.kubeconfig}", "get", kind, "--all-namespaces"]
    argv += [
        "--watch",
        "--output-watch-events",
        "--output=custom-columns=T:.type,N:.object.metadata.name",
        "--no-headers",
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], *words: str) -> None:
    assert process.stdout
    for line in process.stdout:
        if line.split() == list(words):
            return
    raise AssertionError(f"the watch ended before {words}")


@pytest.mark.kubernix(nodes=0)
def test_watchers_see_what_happens(kubernix_pristine: Cluster) -> None:
    """Who watches is told of each deletion, change and return, as of any other."""
    kubectl = kubernix_pristine.kubectl
    kubectl("create", "configmap", "kept", "--from-literal=a=1")
    kubectl("create", "configmap", "lost")
    kubectl.apply(definition("widgets"))
    kubectl.wait(f"crd/widgets.{GROUP}", "condition=Established")
    checkpoint = kubernix_pristine.checkpoint()
    with watching(kubernix_pristine, "configmaps") as maps, watching(kubernix_pristine, f"widgets.{GROUP}") as widgets:
        read_until(maps, "ADDED", "kept")
        kubectl.delete("configmap", "lost")
        read_until(maps, "DELETED", "lost")
        kubectl("create", "configmap", "made")
        kubectl("patch", "configmap", "kept", '--patch={"data":{"a":"2"}}')
        read_until(maps, "MODIFIED", "kept")
        kubectl.apply(instance("widgets", "w", "example.com/never"), namespace="default")
        read_until(widgets, "ADDED", "w")
        kubernix_pristine.rollback(checkpoint)
        read_until(widgets, "DELETED", "w")
        seen = set()
        assert maps.stdout
        for line in maps.stdout:
            seen.add(tuple(line.split()))
            if len(seen) == 3:
                break
        assert seen == {("DELETED", "made"), ("ADDED", "lost"), ("MODIFIED", "kept")}


@pytest.mark.kubernix(nodes=0)
def test_checkpoints_nest(kubernix_pristine: Cluster, kubernix_cluster_factory: ClusterFactory) -> None:
    """One goes back to the inner one, again to it, and to the outer one; then the inner one is no more."""
    kubectl = kubernix_pristine.kubectl

    def there() -> set[str]:
        return {item["metadata"]["name"] for item in kubectl.get("configmaps")["items"]} - {"kube-root-ca.crt"}

    outer = kubernix_pristine.checkpoint()
    kubectl("create", "configmap", "first")
    inner = kubernix_pristine.checkpoint()
    for name in ("second", "third"):
        kubectl("create", "configmap", name)
        kubectl.delete("configmap", "first")
        kubernix_pristine.rollback(inner)
        assert there() == {"first"}
    kubernix_pristine.rollback(outer)
    assert there() == set()
    with pytest.raises(KubernixError, match="not valid any more"):
        kubernix_pristine.rollback(inner)
    kubernix_pristine.rollback(outer)


@pytest.mark.kubernix(nodes=0)
def test_fake_nodes_and_their_pods_are_rolled_back_whole(kubernix_pristine: Cluster) -> None:
    """Where no kubelet says what is, a status is a test's work like all else."""
    kubectl = kubernix_pristine.kubectl
    kubectl.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "fake"}})
    pod = {"containers": [{"name": "main", "image": "none"}], "nodeName": "fake"}
    kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": pod}, namespace="default")
    before = {name: kubectl.get(name)["status"] for name in ("node/fake", "pod/web")}
    checkpoint = kubernix_pristine.checkpoint()
    kubectl("patch", "pod", "web", "--subresource=status", '--patch={"status":{"phase":"Running"}}')
    kubectl("patch", "node", "fake", "--subresource=status", '--patch={"status":{"capacity":{"pods":"1"}}}')
    kubernix_pristine.rollback(checkpoint)
    assert {name: kubectl.get(name)["status"] for name in before} == before


@pytest.mark.kubernix(nodes=0)
def test_events_stay_unless_asked_for(kubernix_pristine: Cluster) -> None:
    """Events of namespaces that stay are left alone, and go only where that is asked for."""
    kubectl = kubernix_pristine.kubectl
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "told"},
        "involvedObject": {"kind": "Namespace", "name": "default", "namespace": "default"},
        "reason": "Told",
    }
    checkpoint = kubernix_pristine.checkpoint()
    kubectl.apply(event, namespace="default")
    kubernix_pristine.rollback(checkpoint)
    kubectl.get("event", "told")
    kubernix_pristine.rollback(checkpoint, events=True)
    assert kubectl("get", "event", "told", check=False).returncode != 0


@pytest.mark.kubernix(nodes=0)
def test_nobody_elses_work_is_undone(kubernix_cluster_factory: ClusterFactory) -> None:
    """A rollback of a cluster that others hold is refused, with the way out; so is another cluster's checkpoint."""
    cluster = kubernix_cluster_factory.private(nodes=0)
    checkpoint = cluster.checkpoint()
    run_dir = cluster.handle.run_dir
    assert run_dir
    other = GuardianClient.join(Layout(run_dir))
    other.ask(Attach("gw7 (pid 7)"))
    try:
        with pytest.raises(KubernixError, match=r"gw7 \(pid 7\) holds this cluster too(.|\n)*kubernix_pristine"):
            cluster.rollback(checkpoint)
    finally:
        other.leave()
    eventually(lambda: not cluster.others(), what="the other one is gone")
    cluster.rollback(checkpoint)
    with pytest.raises(KubernixError, match="of another cluster"):
        kubernix_cluster_factory.shared(nodes=0).rollback(checkpoint)


LEAK_CHECK = """
import pytest
from objects import difference, everything

LISTINGS = {}

@pytest.fixture(scope="session")
def prepared(kubernix):
    kubernix.kubectl("create", "namespace", "prepared", check=False)

@pytest.fixture(autouse=True)
def no_leak(prepared, kubernix_pristine):
    before = LISTINGS.setdefault(kubernix_pristine.handle.cluster_id, everything(kubernix_pristine))
    assert difference(before, everything(kubernix_pristine)) == []
    assert "Namespace /prepared" in before
"""

LEAKING_TESTS = """
import pytest
from work import work

@pytest.mark.parametrize("number", range(6))
def test_works(kubernix, kubernix_pristine, kubernix_namespace, number):
    assert kubernix is kubernix_pristine
    assert not kubernix.others()
    work(kubernix, kubernix_namespace)

@pytest.mark.kubernix(nodes=0)
def test_follows_the_marker(kubernix_pristine):
    assert kubernix_pristine.nodes == ()
"""

WORK = Path(__file__).with_name("rollback_work.py")


@pytest.mark.parametrize("workers", ["-p no:xdist", "-n 2", "-n 2 --kubernix-scope=worker"])
def test_no_leak_between_tests(suite: pytest.Pytester, workers: str) -> None:
    """Each test finds the suite's preparations and nothing of other tests, whatever runs beside it."""
    suite.makeconftest(LEAK_CHECK)
    suite.makepyfile(
        objects=Path(objects.__file__).read_text(encoding="utf-8"),
        work=WORK.read_text(encoding="utf-8"),
        test_leaks=LEAKING_TESTS,
    )
    result = suite.runpytest_subprocess("--kubernix-nodes=1", "-p", "no:cacheprovider", *workers.split())
    result.assert_outcomes(passed=7)


@pytest.mark.kubernix(nodes=2)
def test_pods_of_every_node_are_rolled_back(kubernix_pristine: Cluster) -> None:
    """A pod on each node is gone after the rollback, for its kubelet too; one from before runs on untouched."""
    kubectl = kubernix_pristine.kubectl
    spec = template("stays")["spec"]
    pods = {
        name: {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {**spec, "nodeName": node, "terminationGracePeriodSeconds": 30},
        }
        for name, node in (("stays", "node-1"), ("goes-1", "node-1"), ("goes-2", "node-2"))
    }
    kubectl.apply(pods["stays"], namespace="default")
    kubectl.wait("pod/stays", "condition=Ready", namespace="default", timeout=60)
    before = kubectl.get("pod", "stays", namespace="default")
    checkpoint = kubernix_pristine.checkpoint()
    kubectl.apply([pods["goes-1"], pods["goes-2"]], namespace="default")
    for name in ("goes-1", "goes-2"):
        kubectl.wait(f"pod/{name}", "condition=Ready", namespace="default", timeout=60)
    kubernix_pristine.rollback(checkpoint)
    for node in kubernix_pristine.nodes:
        known = json.loads(kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/pods").stdout).get("items") or []
        assert not [item for item in known if item["metadata"]["name"].startswith("goes")], node
    after = kubectl.get("pod", "stays", namespace="default")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]


@pytest.mark.kubernix(nodes=0)
def test_a_controller_that_goes_on_is_named(kubernix_pristine: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that keeps writing makes the rollback give up after its limit, with the objects that change back."""
    monkeypatch.setattr(rollback, "SETTLE_TIMEOUT", 1.0)
    kubectl = kubernix_pristine.kubectl
    checkpoint = kubernix_pristine.checkpoint()
    ending = threading.Event()

    def write() -> None:
        core = CoreV1Api(kubernix_pristine.client())
        for number in itertools.count():
            body = V1ConfigMap(metadata=V1ObjectMeta(name="again"), data={"number": str(number)})
            with contextlib.suppress(ApiException):
                core.create_namespaced_config_map("default", body)
            with contextlib.suppress(ApiException):
                core.patch_namespaced_config_map("again", "default", body)
            if ending.is_set():
                return

    def give_up() -> None:
        # A rollback may slip between two writes.
        while True:
            kubernix_pristine.rollback(checkpoint)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(KubernixError, match=r"something still changes back: configmaps/default/again"):
            give_up()
    finally:
        ending.set()
        writer.join()
    monkeypatch.undo()
    kubernix_pristine.rollback(checkpoint)
    assert kubectl("get", "configmap", "again", check=False).returncode != 0
