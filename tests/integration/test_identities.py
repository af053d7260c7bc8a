"""Users and ServiceAccounts: RBAC really limits them."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiException, CoreV1Api

from pytest_kubernix import Cluster, Kubectl, KubectlError

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

RBAC = "rbac.authorization.k8s.io"


def may_read_configmaps(namespace: str, subject: dict[str, str]) -> list[dict[str, Any]]:
    """A Role that reads ConfigMaps, bound to one subject."""
    role = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": {"name": "reader", "namespace": namespace},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}],
    }
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reader", "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "reader"},
        "subjects": [subject],
    }
    return [role, binding]


def who(kubectl: Kubectl) -> dict[str, Any]:
    """Whom the API server takes this kubeconfig for."""
    review = json.loads(kubectl("auth", "whoami", "--output=json").stdout)
    found: dict[str, Any] = review["status"]["userInfo"]
    return found


def test_a_user_may_do_what_rbac_allows(kubernix: Cluster, kubernix_namespace: str) -> None:
    """A new user may read nothing; after a RoleBinding, what the Role says and no more, there and not elsewhere."""
    namespace = kubernix_namespace
    alice = kubernix.kubectl.using(kubernix.user("alice"))
    assert who(alice)["username"] == "alice"
    with pytest.raises(KubectlError, match=r'\(Forbidden\).*User "alice" cannot list'):
        alice.get("configmaps", namespace=namespace)

    subject = {"kind": "User", "name": "alice", "apiGroup": RBAC}
    kubernix.kubectl.apply(may_read_configmaps(namespace, subject))
    names = [item["metadata"]["name"] for item in alice.get("configmaps", namespace=namespace)["items"]]
    assert names == ["kube-root-ca.crt"]
    for kind, where in (("secrets", namespace), ("configmaps", "default")):
        with pytest.raises(KubectlError, match=r"\(Forbidden\)"):
            alice.get(kind, namespace=where)
    with pytest.raises(KubectlError, match=r"\(Forbidden\)"):
        alice.delete("configmap", "kube-root-ca.crt", namespace=namespace)


def test_a_group_counts(kubernix: Cluster, kubernix_namespace: str) -> None:
    """A user is in the groups that were asked for, and their bindings hold for it."""
    subject = {"kind": "Group", "name": "readers", "apiGroup": RBAC}
    kubernix.kubectl.apply(may_read_configmaps(kubernix_namespace, subject))
    member = kubernix.kubectl.using(kubernix.user("bob", groups=("readers", "others")))
    assert {"readers", "others"} <= set(who(member)["groups"])
    assert member.get("configmaps", namespace=kubernix_namespace)["items"]
    with pytest.raises(KubectlError, match=r"\(Forbidden\)"):
        kubernix.kubectl.using(kubernix.user("bob")).get("configmaps", namespace=kubernix_namespace)


def test_a_service_account_acts_in_its_namespace(kubernix: Cluster, kubernix_namespace: str) -> None:
    """Its kubeconfig is limited by its RBAC, and starts in its own namespace, as in a pod."""
    namespace = kubernix_namespace
    kubernix.kubectl("create", "serviceaccount", "operator", namespace=namespace)
    path = kubernix.service_account(namespace, "operator")
    operator = kubernix.kubectl.using(path)
    assert who(operator)["username"] == f"system:serviceaccount:{namespace}:operator"
    with pytest.raises(KubectlError, match=rf'cannot list .* in the namespace "{namespace}"'):
        operator.get("configmaps")

    subject = {"kind": "ServiceAccount", "name": "operator", "namespace": namespace}
    kubernix.kubectl.apply(may_read_configmaps(namespace, subject))
    assert operator.get("configmaps")["items"]
    with pytest.raises(KubectlError, match=r"\(Forbidden\)"):
        operator.get("secrets")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_service_account_that_is_not_there(kubernix: Cluster, kubernix_namespace: str) -> None:
    """The error names it."""
    with pytest.raises(KubectlError, match='serviceaccounts "nobody" not found'):
        kubernix.service_account(kubernix_namespace, "nobody")


def test_the_python_client(kubernix: Cluster, kubernix_kubeconfig: Path, kubernix_client: Any) -> None:
    """The client is the administrator's, or any user's, and goes straight to the cluster whatever proxy is set."""
    assert kubernix_kubeconfig == kubernix.kubeconfig
    assert kubernix_client is kubernix.client()
    nodes = CoreV1Api(kubernix_client).list_node().items
    assert {node.metadata.name for node in nodes if node.metadata} == set(kubernix.nodes)
    with pytest.raises(ApiException) as raised:
        CoreV1Api(kubernix.client(kubernix.user("alice"))).list_node()
    assert raised.value.status == 403


def test_a_proxy_is_not_in_the_way(kubernix: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose proxy is for the world outside can still run tests."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    # A kubeconfig that no client was made for so far.
    operator = kubernix.client(kubernix.user("carol", groups=("system:masters",)))
    assert CoreV1Api(operator).list_namespace().items
    assert kubernix.kubectl.get("namespaces")["items"]
