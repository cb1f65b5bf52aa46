"""Which pods the resources of deploy/kubernetes make, and whom the network policies let in to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kustomized import containers

NAMESPACE = "workshop"
_NAME = "kubernetes.io/metadata.name"
_MAKES_NONE = {
    *("ConfigMap", "Namespace", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"),
    *("PodMonitor", "PrometheusRule", "ScaledObject"),
}
# what the operators give their pods: kube-arangodb the first three labels, KServe the other
_ARANGODB_ROLES = {"agents": "agent", "dbservers": "dbserver", "coordinators": "coordinator"}
_KSERVE_LABEL = "serving.kserve.io/inferenceservice"
_KSERVE_PORTS = {"http": 8080, "grpc": 9000, "metrics": 8002}


@dataclass(frozen=True)
class Pod:
    """A pod's place, labels, and ports by name."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = NAMESPACE
    ports: Mapping[str, int] = field(default_factory=dict)


def pods(resources: list[dict]) -> dict[str, Pod]:
    """A pod of each kind that the resources make, by the resource's name and, for a cluster's, its role.

    Raises ValueError for a kind of which it is not known here whether it makes pods.
    """
    found = {}
    for one in resources:
        kind, name, spec = one["kind"], one["metadata"]["name"], one.get("spec", {})
        if kind in ("Deployment", "StatefulSet", "Job"):
            ports = {port["name"]: port["containerPort"] for made in containers(one) for port in made.get("ports", [])}
            found[name] = Pod(spec["template"]["metadata"]["labels"], ports=ports)
        elif kind == "ArangoDeployment":
            for role in (_ARANGODB_ROLES[group] for group in spec if group in _ARANGODB_ROLES):
                labels = {"app": "arangodb", "arango_deployment": name, "role": role}
                found[f"{name} {role}"] = Pod(labels, ports={"server": 8529})
        elif kind == "InferenceService":
            found[name] = Pod({_KSERVE_LABEL: name}, ports=_KSERVE_PORTS)
        elif kind not in _MAKES_NONE:
            raise ValueError(f"it is not known here whether a {kind} makes pods")
    return found


def policies_of(pod: Pod, resources: list[dict]) -> set[str]:
    """Names of the policies that select the pod and are about what comes in."""
    return {one["metadata"]["name"] for one in _selecting(pod, resources)}


def lets_in(resources: list[dict], target: Pod, caller: Pod, port: int) -> bool:
    """Whether a caller reaches a port of the target: no policy selects it, or a rule of one that does says so."""
    selecting = _selecting(target, resources)
    rules = [rule for policy in selecting for rule in policy["spec"].get("ingress", [])]
    return not selecting or any(
        _is_from(rule, caller, target.namespace) and _is_to(rule, target, port) for rule in rules
    )


def _selecting(pod: Pod, resources: list[dict]) -> list[dict]:
    return [
        one
        for one in resources
        if one["kind"] == "NetworkPolicy"
        and one["metadata"]["namespace"] == pod.namespace
        and "Ingress" in one["spec"]["policyTypes"]
        and selects(one["spec"]["podSelector"], pod.labels)
    ]


def _is_from(rule: dict, caller: Pod, own: str) -> bool:
    """Whether a rule names the caller; one without ``from`` names everybody."""
    for peer in rule.get("from", [{"namespaceSelector": {}}]):
        if unknown := set(peer) - {"namespaceSelector", "podSelector"}:
            raise ValueError(f"{unknown} are not known here")
        there = (
            selects(peer["namespaceSelector"], {_NAME: caller.namespace})
            if "namespaceSelector" in peer
            else (caller.namespace == own)
        )
        if there and selects(peer.get("podSelector", {}), caller.labels):
            return True
    return False


def _is_to(rule: dict, target: Pod, port: int) -> bool:
    """Whether a rule opens the port, which it may call by number or by the container's name for it."""
    return "ports" not in rule or any(
        port == (one["port"] if isinstance(one["port"], int) else target.ports.get(one["port"]))
        for one in rule["ports"]
    )


def selects(selector: dict, labels: Mapping[str, str]) -> bool:
    """Whether a label selector holds for these labels; an empty one always does."""
    if unknown := set(selector) - {"matchLabels", "matchExpressions"}:
        raise ValueError(f"{unknown} are not known here")
    for one in selector.get("matchExpressions", []):
        if one["operator"] != "In":
            raise ValueError(f"{one} is not known here")
        if labels.get(one["key"]) not in one["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()
