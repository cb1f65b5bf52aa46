"""The committed report on packages: its versions are those that are installed."""

from __future__ import annotations

import re
from collections import defaultdict

from workshop.settings import PROJECT_ROOT


def test_the_audit_s_versions_are_those_of_the_constraints():
    pinned = defaultdict(set)
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", (PROJECT_ROOT / "constraints.txt").read_text(), re.MULTILINE):
        pinned[name].add(version)
    report = (PROJECT_ROOT / "docs/audit.md").read_text()
    rows = re.findall(r"^\| ([\w-]+) \| (\d[\w., ]*) \|", report, re.MULTILINE)
    assert len(rows) > 20
    assert {name: set(versions.split(", ")) for name, versions in rows} == {name: pinned[name] for name, _ in rows}
