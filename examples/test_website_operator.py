"""The suite of the Website operator: what its users may rely on, checked on a real cluster.
Run it with `pytest --kubernix-nodes=2 examples/`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from conftest import Operator
from website_operator.testing import Website, until

from pytest_kubernix import Cluster, KubectlError

pytestmark = [pytest.mark.timeout(180), pytest.mark.kubernix_requires(capability="nodes")]


def test_website_gets_all_it_needs(website: Callable[..., Website]) -> None:
    """A new Website gets a ConfigMap, a Deployment and a Service that it owns, and becomes Ready."""
    home = website(title="Hello", text="World", replicas=1)
    status = home.wait_ready()

    assert status["phase"] == "Ready"
    assert status["readyReplicas"] == 1
    assert status["url"] == f"http://home.{home.namespace}.svc/env"
    uid = home.get()["metadata"]["uid"]
    for kind in ("configmap", "deployment", "service"):
        [owner] = home.get(kind)["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("Website", uid, True)


def test_defaults_and_columns(website: Callable[..., Website]) -> None:
    """Two servers is what one gets without asking, and `kubectl get` shows what one wants to know."""
    home = website(title="Hello")
    home.wait_ready()

    assert home.get()["spec"] == {"title": "Hello", "text": "", "replicas": 2}
    header, row = home.kubectl("get", "website", "home", namespace=home.namespace).stdout.splitlines()
    assert header.split() == ["NAME", "TITLE", "PHASE", "READY", "WANTED", "AGE"]
    assert row.split()[:5] == ["home", "Hello", "Ready", "2", "2"]


def test_changed_page_is_rolled_out(website: Callable[..., Website]) -> None:
    """After a change of the text the status is not Ready until every server has the new page."""
    home = website(text="the old text", replicas=2)
    before = home.wait_ready()
    assert all("TEXT=the old text\n" in page for page in home.pages())

    home.change(text="the new text")
    after = home.wait_ready()

    assert after["observedGeneration"] == before["observedGeneration"] + 1
    pages = home.pages()
    assert len(pages) == 2
    assert all("TEXT=the new text\n" in page for page in pages)


def test_scaled_up_and_down(website: Callable[..., Website]) -> None:
    """The number of servers follows the number that is wanted, both ways, and so does the status."""
    home = website(replicas=1)
    home.wait_ready()
    for wanted in (3, 1):
        home.change(replicas=wanted)
        assert home.wait_ready()["readyReplicas"] == wanted
        assert len(home.pods()) == wanted


def test_deleted_deployment_comes_back(website: Callable[..., Website]) -> None:
    """A Deployment that someone deletes is made anew, and serves the same page."""
    home = website(text="still here", replicas=1)
    home.wait_ready()
    uid = home.get("deployment")["metadata"]["uid"]

    home.kubectl.delete("deployment", "home", namespace=home.namespace)

    home.kubectl.wait("deployment/home", "condition=Available", namespace=home.namespace)
    assert home.get("deployment")["metadata"]["uid"] != uid
    home.wait_ready()
    [page] = home.pages()
    assert "TEXT=still here\n" in page


def test_meddling_is_undone(website: Callable[..., Website]) -> None:
    """Who scales the Deployment behind the Website's back finds it as the Website says."""
    home = website(replicas=1)
    home.wait_ready()
    home.kubectl("scale", "deployment/home", "--replicas=4", namespace=home.namespace)
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


@pytest.mark.parametrize(
    ("verb", "what", "answer"),
    [
        ("watch", "websites.example.kubernix.test", "yes"),
        ("patch", "deployments.apps", "yes"),
        ("delete", "websites.example.kubernix.test", "no"),
        ("get", "secrets", "no"),
        ("list", "configmaps", "no"),
        ("create", "pods", "no"),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io", "no"),
    ],
)
def test_operator_may_do_its_work_only(
    kubernix: Cluster, operator: Operator, verb: str, what: str, answer: str
) -> None:
    """The operator's own identity may do what rbac.yaml says, and nothing else."""
    kubectl = kubernix.kubectl.using(operator.kubeconfig)
    asked = kubectl("auth", "can-i", verb, what, "--all-namespaces", check=False)
    assert asked.stdout.strip() == answer


def test_operator_is_refused_a_secret(kubernix: Cluster, operator: Operator, kubernix_namespace: str) -> None:
    """A Secret that is there stays closed to the operator: the API server answers 403."""
    create = ("create", "secret", "generic", "password", "--from-literal=value=x")
    kubernix.kubectl(*create, namespace=kubernix_namespace)
    as_operator = kubernix.kubectl.using(operator.kubeconfig)
    with pytest.raises(KubectlError, match=r'\(Forbidden\): secrets "password" is forbidden'):
        as_operator.get("secret", "password", namespace=kubernix_namespace)


def test_page_is_answered_on_the_other_node(
    two_nodes: tuple[str, ...], website: Callable[..., Website], visitor: Callable[[str, str], str]
) -> None:
    """A pod on another node than the only server's gets the page through the Service, by its DNS name."""
    home = website(text="seen from afar", replicas=1)
    url = home.wait_ready()["url"]
    [server] = home.pods()
    other = next(node for node in two_nodes if node != server["spec"]["nodeName"])

    until(lambda: "TEXT=seen from afar\n" in visitor(other, url), f"{url} answered on {other}")


def test_servers_are_on_both_nodes(
    two_nodes: tuple[str, ...], website: Callable[..., Website], kubernix: Cluster
) -> None:
    """All nodes are Ready, and two servers are not on the same one."""
    kubernix.kubectl("wait", "node", *two_nodes, "--for=condition=Ready")
    home = website(replicas=2)
    home.wait_ready()
    assert len({pod["spec"]["nodeName"] for pod in home.pods()}) == 2


def test_deletion_leaves_a_note_and_nothing_else(website: Callable[..., Website]) -> None:
    """A deleted Website takes its children with it, and its finalizer notes it in the audit."""
    home = website(title="Farewell", replicas=1)
    home.wait_ready()
    uid = home.get()["metadata"]["uid"]

    home.delete()

    audit = home.kubectl.get("configmap", "website-audit", namespace="website-system")["data"]
    entry = json.loads(audit[uid])
    assert (entry["website"], entry["title"]) == (f"{home.namespace}/home", "Farewell")
    # The garbage collector looks for new kinds, of which Website is one, every 30 s.
    for kind in ("deployment", "service", "configmap"):
        home.kubectl.wait(f"{kind}/home", "delete", namespace=home.namespace, timeout=90)
    until(lambda: not home.pods(), "the end of its pods")
