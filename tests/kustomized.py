"""What ``kubectl kustomize`` makes of a folder, as far as deploy/kubernetes goes; a test compares the two."""

from __future__ import annotations

import copy
from pathlib import Path

import yaml

_MERGED_BY = "name"  # containers, env, ports and volumes
_CLUSTER_WIDE = {"Namespace"}
_KNOWN = {"apiVersion", "kind", "namespace", "resources", "patches", "images"}


def build(folder: Path) -> list[dict]:
    """The resources of a kustomization.

    Raises ValueError where it uses what this does not know.
    """
    plan = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if unknown := set(plan) - _KNOWN:
        raise ValueError(f"{folder}: {unknown} are not known here")
    found = []
    for name in plan["resources"]:
        path = folder / name
        found += build(path) if path.is_dir() else read(path)
    for resource in found:
        if "namespace" in plan:
            if resource["kind"] not in _CLUSTER_WIDE:
                resource["metadata"]["namespace"] = plan["namespace"]
            elif resource["kind"] == "Namespace":
                resource["metadata"]["name"] = plan["namespace"]
        for image in plan.get("images", []):
            _rename(resource, image)
    for patch in plan.get("patches", []):
        _apply(found, folder, patch)
    return found


def read(path: Path) -> list[dict]:
    """The resources of a file."""
    return list(yaml.safe_load_all(path.read_text()))


def find(resources: list[dict], kind: str, name: str) -> dict:
    """The one resource of that kind and name."""
    (found,) = [one for one in resources if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def containers(resource: dict) -> list[dict]:
    """The containers of what has a template of pods; none of another kind."""
    return resource.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])


def _rename(resource: dict, image: dict) -> None:
    for container in containers(resource):
        if container["image"] == image["name"]:
            container["image"] = f"{image['newName']}:{image['newTag']}"


def _apply(resources: list[dict], folder: Path, patch: dict) -> None:
    if "path" in patch:
        (change,) = read(folder / patch["path"])
        target = find(resources, change["kind"], change["metadata"]["name"])
        merged = _merged(target, change)
        target.clear()
        target.update(merged)
        return
    target = find(resources, patch["target"]["kind"], patch["target"]["name"])
    for step in yaml.safe_load(patch["patch"]):
        if step["op"] != "remove":
            raise ValueError(f"{step} is not known here")
        *way, last = step["path"].strip("/").split("/")
        place = target
        for part in way:
            place = place[part]
        del place[last]


def _merged(base: dict, change: dict) -> dict:
    """A strategic merge: mappings by key, lists of named things by name, other lists are replaced."""
    result = copy.deepcopy(base)
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merged(result[key], value)
        elif isinstance(value, list) and key in result and all(_MERGED_BY in one for one in value + result[key]):
            result[key] = _merged_lists(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _merged_lists(base: list[dict], change: list[dict]) -> list[dict]:
    by_name = {one[_MERGED_BY]: one for one in base}
    # kustomize puts what is new first
    new = [copy.deepcopy(one) for one in change if one[_MERGED_BY] not in by_name]
    changed = {one[_MERGED_BY]: one for one in change}
    return new + [_merged(one, changed.get(name, {})) for name, one in by_name.items()]
