"""Single flags of components, as a suite sets them: each is seen in what the component does."""

from __future__ import annotations

import re
import ssl
import urllib.request

import pytest

from pytest_kubernix import Cluster

from .pods import eventually

ARGS = {
    "kube-apiserver": {"feature-gates": "ContextualLogging=false", "anonymous-auth": True},
    "kube-controller-manager": {"use-service-account-credentials": True},
    "kubelet": {"max-pods": 7},
}

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180), pytest.mark.kubernix(nodes=1, component_args=ARGS)]

COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
POLICY = f"""
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: only-the-collector}}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{{apiGroups: [""], apiVersions: [v1], operations: [DELETE], resources: [configmaps]}}]
    objectSelector: {{matchLabels: {{guarded: "yes"}}}}
  validations: [{{expression: "request.userInfo.username == '{COLLECTOR}'", message: only the collector may}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: only-the-collector}}
spec: {{policyName: only-the-collector, validationActions: [Deny]}}
"""


def test_a_feature_gate_reaches_the_api_server(kubernix: Cluster) -> None:
    """The API server says itself that the gate is as it was set."""
    metrics = kubernix.kubectl("get", "--raw=/metrics").stdout
    assert re.search(r'kubernetes_feature_enabled\{name="ContextualLogging",[^}]*\} 0', metrics)


def test_a_flag_of_every_kubelet_reaches_it(kubernix: Cluster) -> None:
    """A flag wins over the kubelet's configuration file, and the node has what it says."""
    node = kubernix.kubectl.get("node", "node-1")
    assert node["status"]["capacity"]["pods"] == "7"


def test_strangers_are_answered_where_that_is_wanted(kubernix: Cluster) -> None:
    """With anonymous-auth, /version is there without credentials, and nothing that RBAC does not allow."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with urllib.request.urlopen(f"{kubernix.server}/version", context=context, timeout=10) as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{kubernix.server}/api/v1/secrets", context=context, timeout=10)


def test_controllers_have_accounts_where_that_is_wanted(kubernix: Cluster, kubernix_namespace: str) -> None:
    """With accounts of their own, a policy can let one controller do what it forbids to all others."""
    kubectl = kubernix.kubectl.in_namespace(kubernix_namespace)
    kubectl.apply(POLICY)
    kubectl("create", "configmap", "owner")
    owner = kubectl.get("configmap", "owner")["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    metadata = {"name": "owned", "labels": {"guarded": "yes"}, "ownerReferences": [reference]}
    kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})

    def refused() -> bool:
        result = kubectl("delete", "configmap", "owned", "--dry-run=server", check=False)
        return "only the collector may" in result.stderr

    eventually(refused, what="the policy to be in effect")
    try:
        kubectl.delete("configmap", "owner")
        kubectl.wait("configmap/owned", "delete", timeout=60)
    finally:
        kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "only-the-collector")
