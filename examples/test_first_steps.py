"""The first five minutes: what a test can do with a cluster, a few lines each.
Run it with `pytest examples/test_first_steps.py`."""

from __future__ import annotations

import pytest
from kubernetes.client import ApiClient, CoreV1Api

from pytest_kubernix import Cluster, Kubectl

# A pod that says something and then serves HTTP; its image is on every node, no registry is asked.
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
    - name: web
      image: kubernix.test/server:1
      ports: [{containerPort: 8080}]
"""

pytestmark = pytest.mark.timeout(180)
