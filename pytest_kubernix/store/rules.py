"""The rules of a rollback: what is the cluster's own and left alone, and in which order the rest is put back.
Names are those below /registry/, as etcd has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

PREFIX = b"/registry/"

# What the API server keeps in etcd of itself.
OWN = (
    b"masterleases/",
    b"peerserverleases/",
    b"leases/kube-system/apiserver-",
    b"leases/kube-system/kube-controller-manager",
    b"leases/kube-system/kube-scheduler",
)
EVENTS = b"events/"
NAMESPACES = b"namespaces/"
PODS = b"pods/"
NODES = b"minions/"
CRDS = b"apiextensions.k8s.io/customresourcedefinitions/"
API_SERVICES = b"apiregistration.k8s.io/apiservices/"
# On APIServices that the API server makes and removes by itself, as CRDs come and go.
AUTOMANAGED = b"kube-aggregator.kubernetes.io/automanaged"

# The order in which objects go. A controller that saw a pod go before its ReplicaSet would make another one; one
# that works in a namespace that is gone can make nothing. Admission goes first, so that it stands in no one's way.
# Instances go before their CRD, so that those who watch them see it. What is not listed has rank 0.
DELETE_RANKS = {
    CRDS: 1,
    b"jobs/": 1,
    b"replicasets/": 1,
    API_SERVICES: 2,
    PODS: 2,
    b"configmaps/": 2,
    b"controllerrevisions/": 2,
    b"endpointslices/": 2,
    b"ipaddresses/": 2,
    b"persistentvolumeclaims/": 2,
    b"resourceclaims/": 2,
    b"secrets/": 2,
    b"serviceaccounts/": 2,
    b"services/endpoints/": 2,
    EVENTS: 2,
}
# The order in which they come back: what others live in or refer to, then most, then what controllers work on. Of
# the last, all at once: a ReplicaSet alone would get new pods, and pods without their ReplicaSet would be collected.
PUT_RANKS = {
    CRDS: 0,
    b"configmaps/": 0,
    b"ipaddresses/": 0,
    b"ranges/": 0,
    b"secrets/": 0,
    b"serviceaccounts/": 0,
    NAMESPACES: 0,
    NODES: 0,
    b"controllerrevisions/": 2,
    b"controllers/": 2,
    b"cronjobs/": 2,
    b"daemonsets/": 2,
    b"deployments/": 2,
    b"endpointslices/": 2,
    b"jobs/": 2,
    PODS: 2,
    b"replicasets/": 2,
    b"services/": 2,
    b"statefulsets/": 2,
}
OTHER_PUT_RANK = 1
RANKS = 3

# What controllers make of the state of pods, and make again at once when it is not true.
DERIVED = (b"endpointslices/", b"services/endpoints/")

# Kinds of Kubernetes' own that are metadata, spec and status.
WITH_STATUS = frozenset(
    {
        *("CertificateSigningRequest", "CronJob", "DaemonSet", "Deployment", "FlowSchema", "HorizontalPodAutoscaler"),
        *("Ingress", "Job", "Namespace", "Node", "PersistentVolume", "PersistentVolumeClaim", "Pod"),
        *("PodDisruptionBudget", "PriorityLevelConfiguration", "ReplicaSet", "ReplicationController"),
        *("ResourceClaim", "ResourceQuota", "Service", "ServiceCIDR", "StatefulSet", "VolumeAttachment"),
    }
)

# The shortest grace that a kubelet knows, in seconds. A longer goodbye would mean nothing to a test that is over.
POD_GRACE = 1
TERMINAL = (b"Succeeded", b"Failed")


@dataclass(frozen=True)
class Rules:
    """What a rollback leaves alone.

    Attributes:
        nodes: Names of the nodes that really run; what their kubelets report is theirs to say.
        events: Whether events are rolled back too.
        lenient: Whether a status that a controller wrote again stays.
        impatient: Whether to do what the API server was expected to do by itself.
        reborn: As in `Plan`, of rollbacks before.
    """

    nodes: Collection[str] = ()
    events: bool = False
    lenient: bool = False
    impatient: bool = False
    reborn: Mapping[str, str] = field(default_factory=dict)

    def left_alone(self, key: bytes) -> bool:
        """Whether this key is none of a rollback's business, whatever happens to it."""
        name = key.removeprefix(PREFIX)
        if name.startswith(OWN):
            return True
        if name.startswith(EVENTS):
            return not self.events
        own = (f"leases/kube-node-lease/{node}".encode() for node in self.nodes)
        return name in own or name in (f"csinodes/{node}".encode() for node in self.nodes)


def rank_of(key: bytes, ranks: Mapping[bytes, int], other: int) -> int:
    """The rank of a key in one of the orders above; `other` where it has none."""
    name = key.removeprefix(PREFIX)
    return next((rank for prefix, rank in ranks.items() if name.startswith(prefix)), other)
