"""The suite of the Website operator: what its users may rely on, checked on a real cluster.
Run it with `pytest --kubernix-nodes=2 examples/`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from website_operator.resources import NOBODY
from website_operator.testing import Website, until

from conftest import Operator
from pytest_kubernix import Cluster, Kubectl, KubectlError

pytestmark = [pytest.mark.timeout(180), pytest.mark.kubernix_requires(capability="nodes")]
two_nodes = pytest.mark.kubernix_requires(nodes=2, reason="run with --kubernix-nodes=2")


def test_website_gets_all_it_needs(website: Callable[..., Website]) -> None:
    """A new Website gets a ConfigMap, a Deployment and a Service that it owns, and becomes Ready."""
    home = website(title="Hello", text="World", replicas=1)
    status = home.wait_ready()

    assert status["phase"] == "Ready"
    assert status["readyReplicas"] == 1
    assert status["url"] == f"http://home.{home.get()['metadata']['namespace']}.svc/"
    uid = home.get()["metadata"]["uid"]
    for kind in ("configmap", "deployment", "service"):
        [owner] = home.get(kind)["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("Website", uid, True)


def test_defaults_and_columns(website: Callable[..., Website]) -> None:
    """Two servers is what one gets without asking, and `kubectl get` shows what one wants to know."""
    home = website(title="Hello")
    home.wait_ready()

    assert home.get()["spec"] == {"title": "Hello", "text": "", "replicas": 2}
    header, row = home.kubectl("get", "website", "home").stdout.splitlines()
    assert header.split() == ["NAME", "TITLE", "PHASE", "READY", "WANTED", "AGE"]
    assert row.split()[:5] == ["home", "Hello", "Ready", "2", "2"]


def test_changed_page_is_rolled_out(website: Callable[..., Website]) -> None:
    """After a change of the text the status is not Ready until every server has the new page."""
    home = website(text="the old text", replicas=2)
    before = home.wait_ready()
    assert all("<p>the old text</p>" in page for page in home.pages())

    home.change(text="the new text")
    after = home.wait_ready()

    assert after["observedGeneration"] == before["observedGeneration"] + 1
    pages = home.pages()
    assert len(pages) == 2
    assert all("<p>the new text</p>" in page for page in pages)


def test_servers_are_not_root(website: Callable[..., Website]) -> None:
    """A server runs as the user nobody, and serves a title and a text with signs that HTML knows as they are."""
    home = website(title="Fish & <chips>", text="5 > 4", replicas=1)
    home.wait_ready()
    [page] = home.pages()
    assert "<title>Fish &amp; &lt;chips&gt;</title>" in page
    assert "<p>5 &gt; 4</p>" in page
    [user] = [
        line
        for line in home.kubectl.exec("deployment/home", "cat", "/proc/1/status").stdout.splitlines()
        if line.startswith("Uid:")
    ]
    assert user.split()[1:] == [str(NOBODY)] * 4


def test_scaled_up_and_down(website: Callable[..., Website]) -> None:
    """The number of servers follows the number that is wanted, both ways, and so does the status."""
    home = website(replicas=1)
    home.wait_ready()
    for wanted in (3, 1):
        home.change(replicas=wanted)
        assert home.wait_ready()["readyReplicas"] == wanted
        assert len(home.pods()) == wanted


def test_deleted_deployment_comes_back(website: Callable[..., Website]) -> None:
    """A Deployment that is deleted is made anew, and serves the same page."""
    home = website(text="still here", replicas=1)
    home.wait_ready()
    uid = home.get("deployment")["metadata"]["uid"]

    home.kubectl.delete("deployment", "home")

    home.kubectl.wait("deployment/home", "condition=Available")
    assert home.get("deployment")["metadata"]["uid"] != uid
    home.wait_ready()
    [page] = home.pages()
    assert "<p>still here</p>" in page


def test_meddling_is_undone(website: Callable[..., Website]) -> None:
    """Who scales the Deployment behind the Website's back finds it as the Website says."""
    home = website(replicas=1)
    home.wait_ready()
    home.kubectl("scale", "deployment/home", "--replicas=4")
    until(lambda: home.get("deployment")["spec"]["replicas"] == 1, "the Website's number of servers")
    home.wait_ready()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"replicas": 0}, "spec.replicas in body should be greater than or equal to 1"),
        ({"replicas": 6}, "spec.replicas in body should be less than or equal to 5"),
        ({"replicas": "two"}, 'spec.replicas in body must be of type integer: "string"'),
        ({"title": ""}, "spec.title in body should be at least 1 chars long"),
        ({"title": None}, "spec.title: Required value"),
        ({"colour": "red"}, 'unknown field "spec.colour"'),
    ],
)
def test_invalid_spec_is_refused(
    website: Callable[..., Website],
    spec: dict[str, object],
    message: str,
) -> None:
    """The schema refuses what makes no sense, with a message that says why."""
    with pytest.raises(KubectlError) as refused:
        website(**spec)
    assert message in refused.value.stderr


def test_name_must_do_for_a_service(website: Callable[..., Website]) -> None:
    """A name that no Service could have is refused at once, and not when the Service is made."""
    with pytest.raises(KubectlError, match="the name becomes a Service's"):
        website("0.example")


@pytest.mark.parametrize(("verb", "what"), [("watch", "websites.example.kubernix.test"), ("patch", "deployments.apps")])
def test_operator_may_do_its_work(kubernix: Cluster, operator: Operator, verb: str, what: str) -> None:
    """The operator's own identity may do what it has to, in every namespace."""
    assert kubernix.kubectl.using(operator.kubeconfig).can_i(verb, what, all_namespaces=True)


@pytest.mark.parametrize(
    ("verb", "what"),
    [
        ("delete", "websites.example.kubernix.test"),
        ("get", "secrets"),
        ("list", "configmaps"),
        ("create", "pods"),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io"),
    ],
)
def test_operator_may_do_nothing_else(kubernix: Cluster, operator: Operator, verb: str, what: str) -> None:
    """What rbac.yaml does not say, the operator may not do."""
    assert not kubernix.kubectl.using(operator.kubeconfig).can_i(verb, what, all_namespaces=True)


def test_operator_is_refused_a_secret(kubectl: Kubectl, operator: Operator) -> None:
    """A Secret that is there stays closed to the operator: the API server answers 403."""
    kubectl("create", "secret", "generic", "password", "--from-literal=value=x")
    with pytest.raises(KubectlError, match=r'\(Forbidden\): secrets "password" is forbidden'):
        kubectl.using(operator.kubeconfig).get("secret", "password")


@two_nodes
def test_page_is_answered_on_the_other_node(
    kubernix: Cluster, website: Callable[..., Website], visitor: Callable[[str, str], str]
) -> None:
    """A pod on another node than the only server's gets the page through the Service, by its DNS name."""
    home = website(text="seen from afar", replicas=1)
    url = home.wait_ready()["url"]
    [server] = home.pods()
    other = next(node for node in kubernix.nodes if node != server["spec"]["nodeName"])

    until(lambda: "<p>seen from afar</p>" in visitor(other, url), f"{url} answered on {other}")


@two_nodes
def test_servers_are_on_both_nodes(website: Callable[..., Website]) -> None:
    """Two servers are not on the same node."""
    home = website(replicas=2)
    home.wait_ready()
    assert len({pod["spec"]["nodeName"] for pod in home.pods()}) == 2


def test_deletion_leaves_a_note_and_nothing_else(website: Callable[..., Website]) -> None:
    """A deleted Website takes its children with it, and its finalizer notes it in the audit."""
    home = website(title="Farewell", replicas=1)
    home.wait_ready()
    metadata = home.get()["metadata"]

    home.delete()

    audit = home.kubectl.get("configmap", "website-audit", namespace="website-system")["data"]
    entry = json.loads(audit[metadata["uid"]])
    assert (entry["website"], entry["title"]) == (f"{metadata['namespace']}/home", "Farewell")
    # The garbage collector looks for new kinds, of which Website is one, every 30 s.
    for kind in ("deployment", "service", "configmap"):
        home.kubectl.wait(f"{kind}/home", "delete", timeout=90)
    until(lambda: not home.pods(), "the end of its pods")
