"""What goes through kubectl on a real cluster: much of it, bytes, bundles of several namespaces, many new kinds."""

from __future__ import annotations

import contextlib
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler

import pytest
import yaml

from pytest_kubernix import Cluster, Kubectl, KubectlError

from .conftest import server_pod
from .pods import listening

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


@pytest.fixture
def kx(kubernix: Cluster, kubernix_namespace: str) -> Kubectl:
    """kubectl, bound to the test's namespace."""
    return kubernix.kubectl.in_namespace(kubernix_namespace)


def config_map(name: str, **metadata: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}


def test_a_patch_may_be_as_long_as_an_object(kx: Kubectl) -> None:
    """What a command line can't hold is patched all the same."""
    kx.apply(config_map("a"))
    kx.patch("configmap/a", {"data": {"p": "x" * 200_000}})
    assert len(kx.get("configmap", "a")["data"]["p"]) == 200_000


@pytest.mark.parametrize("nothing", ["# only a comment\n", "---\n", "---\n# a\n---\n"])
def test_a_manifest_without_objects_is_an_error(kx: Kubectl, nothing: str) -> None:
    """For both: kubectl itself deletes nothing without a word."""
    for act in (kx.apply, kx.delete):
        with pytest.raises(ValueError, match="no objects passed"):
            act(nothing)


def test_bytes_come_out_as_they_are(kx: Kubectl, served_pod: str) -> None:
    """A file with every byte goes into a container and out of it unchanged."""
    data = bytes(range(256)) * 4 + b"\r\n\r"
    kx.apply(server_pod("files", "sleep", "600"))
    kx.wait("pod/files", "condition=Ready", timeout=60)
    result = kx.exec("files", "cat", stdin=data)
    assert result.stdout_bytes == data


def test_objects_keep_the_namespace_that_they_name(kubernix: Cluster, kx: Kubectl, kubernix_namespace: str) -> None:
    """A bundle applied and deleted by a bound kubectl: its own namespaces stay, and objects without one get ours."""
    other = f"{kubernix_namespace}-b"
    bundle = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}},
        config_map("there", namespace=other),
        config_map("here"),
    ]
    try:
        kx.apply(yaml.dump_all(bundle))
        kx.apply(bundle)
        assert kubernix.kubectl.get("configmap", "there", namespace=other)
        assert kx.get("configmap", "here")["metadata"]["namespace"] == kubernix_namespace
        kx.delete(bundle[1:])
        for name, where in (("there", other), ("here", kubernix_namespace)):
            with pytest.raises(KubectlError, match="not found"):
                kubernix.kubectl.get("configmap", name, namespace=where)
    finally:
        kubernix.kubectl.delete("namespace", other, missing_ok=True)


class Manifests(BaseHTTPRequestHandler):
    """Serves one manifest under every name."""

    def do_GET(self) -> None:
        body = yaml.dump(config_map("from-afar")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_urls_are_applied_and_deleted(kx: Kubectl) -> None:
    """As kubectl takes them."""
    with listening(Manifests) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/install.yaml"
        kx.apply(url)
        assert kx.get("configmap", "from-afar")
        kx.delete(url)
    with pytest.raises(KubectlError, match="not found"):
        kx.get("configmap", "from-afar")


def crd(name: str, group: str, *versions: str, **spec: object) -> dict[str, object]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    served = [
        {"name": version, "served": True, "storage": version == versions[0], "schema": schema} for version in versions
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{name}s.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": f"{name}s", "singular": name, "kind": name.capitalize()},
            "versions": served,
            **spec,
        },
    }


@contextlib.contextmanager
def removed(kubectl: Kubectl, names: list[str]) -> Iterator[None]:
    try:
        yield
    finally:
        kubectl("delete", "crd", *names, "--ignore-not-found", "--wait=false")


def test_many_kinds_are_served_when_apply_returns(kx: Kubectl) -> None:
    """Sixty CRDs in one apply: an object of each can be made at once."""
    names = [f"k{number}" for number in range(60)]
    with removed(kx, [f"{name}s.many.test" for name in names]):
        kx.apply([crd(name, "many.test", "v1") for name in names], timeout=60)
        made = [{"apiVersion": "many.test/v1", "kind": name.capitalize(), "metadata": {"name": "a"}} for name in names]
        kx.apply(made)


def test_a_conversion_webhook_may_come_later(kx: Kubectl) -> None:
    """A second version with a webhook that does not run yet is applied without waiting for it."""
    name = "turnips.later.test"
    client = {"url": "https://127.0.0.1:9/convert"}
    conversion = {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": client}}
    with removed(kx, [name]):
        kx.apply(crd("turnip", "later.test", "v1"))
        kx.apply({"apiVersion": "later.test/v1", "kind": "Turnip", "metadata": {"name": "stored"}})
        # As long as an operator's start may take, with room for a busy machine, and far from the usual limit.
        kx.apply(crd("turnip", "later.test", "v1", "v2", conversion=conversion), timeout=15)
        # It can't be read any more, so its definition must not wait for it.
        no_webhook = '{"spec": {"conversion": {"strategy": "None", "webhook": null}}}'
        kx("patch", "crd", name, "--type=merge", "--patch", no_webhook)


def test_new_kinds_are_asked_for_as_the_user(kubernix: Cluster, kx: Kubectl, kubernix_namespace: str) -> None:
    """One who may define kinds and list them waits for them; one who may not list them is told so at once."""
    group, role = f"{kubernix_namespace}.test", f"{kubernix_namespace}-definer"
    for name in ("reader", "blind"):
        kx("create", "serviceaccount", name)
    accounts = [f"--serviceaccount={kubernix_namespace}:{name}" for name in ("reader", "blind")]
    rule = {"apiGroups": [group], "resources": ["*"], "verbs": ["list"]}
    reads = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": f"{role}-reads"}}
    reader, blind = (kx.using(kubernix.service_account(kubernix_namespace, name)) for name in ("reader", "blind"))
    try:
        kx("create", "clusterrole", role, "--verb=*", "--resource=customresourcedefinitions.apiextensions.k8s.io")
        kx("create", "clusterrolebinding", role, f"--clusterrole={role}", *accounts)
        kx.apply({**reads, "rules": [rule]})
        kx("create", "clusterrolebinding", f"{role}-reads", f"--clusterrole={role}-reads", accounts[0])
        reader.apply(crd("fig", group, "v1"))
        begin = time.monotonic()
        with pytest.raises(KubectlError, match=r"dates.* was not served .*cannot list"):
            blind.apply(crd("date", group, "v1"), timeout=60)
        assert time.monotonic() - begin < 30
    finally:
        for kind, names in (
            ("clusterrolebinding", [role, f"{role}-reads"]),
            ("clusterrole", [role, f"{role}-reads"]),
            ("crd", [f"figs.{group}", f"dates.{group}"]),
        ):
            kx("delete", kind, *names, "--ignore-not-found", "--wait=false")


def test_a_wait_follows_the_chain_to_the_claim(kx: Kubectl) -> None:
    """What keeps a StatefulSet's pod is told to the end: the claim, and why it is not bound."""
    pod = {"containers": [{"name": "main", "image": "kubernix.test/server:1"}]}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    spec = {
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": pod},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
    }
    kx.apply({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec})
    kx.wait("pvc/data-db-0", "create", timeout=30)
    with pytest.raises(KubectlError, match="no storage class is set") as failure:
        kx.wait("statefulset/db", "jsonpath={.status.readyReplicas}=1", timeout=5)
    assert "persistentvolumeclaim/data-db-0: phase Pending" in str(failure.value)


def test_a_lost_forward_says_what_kubectl_said(kx: Kubectl) -> None:
    """When the pod of a forward goes, the client's failure has kubectl's own words."""
    kx.apply(server_pod("gone"))
    kx.wait("pod/gone", "condition=Ready", timeout=60)

    def ask() -> None:
        with kx.port_forward("pod/gone", 8080) as port:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            kx.delete("pod/gone")
            deadline = time.monotonic() + 30
            # The pod's object goes before its container does.
            while time.monotonic() < deadline:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()

    with pytest.raises((OSError, HTTPException)) as failure:
        ask()
    assert any("kubectl port-forward said" in note for note in failure.value.__notes__)
