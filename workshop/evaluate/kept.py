"""Measurements of an earlier run, for whoever has no time to measure again.

A speed belongs to the machine that it was measured on. So what was kept is found again there only, for the same file,
measured in the same way.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from workshop.errors import DataCorruptError
from workshop.files import write_text
from workshop.triton.compiled_target import processor

CPUINFO = Path("/proc/cpuinfo")


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """The processor's name, where Linux tells it; else the machine's kind."""
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


@dataclass(frozen=True)
class Measurement:
    """What was measured of a file, and when.

    Attributes:
        sha256: of the file.
        measured: local time, to the minute.
        values: the measured numbers by name.
    """

    sha256: str
    measured: str
    values: dict[str, float]


class Kept:
    """Measurements in a JSON file, all of one machine and one way to measure.

    Args:
        path: of the file; it need not be there.
        way: what else the numbers depend on, strings and numbers by name.
    """

    def __init__(self, path: Path, **way: str | float) -> None:
        self.path = path
        # a virtual machine may hide the processor's name, but not what it can do
        self.way = {"processor": processor_name(), "cores": os.cpu_count(), **processor(), **way}

    def find(self, name: str, sha256: str) -> Measurement | None:
        """What was measured of this very file on this machine, in this way; None: nothing.

        Raises:
            DataCorruptError: the file of measurements cannot be read.
        """
        found = self._measurements().get(name)
        return found if found and found.sha256 == sha256 else None

    def keep(self, name: str, sha256: str, values: Mapping[str, float]) -> None:
        """Keep a measurement in place of an earlier one; those of another machine or way are dropped."""
        now = datetime.now().strftime("%Y-%m-%d %H:%M")
        measurements = {**self._measurements(), name: Measurement(sha256, now, dict(values))}
        content = {"way": self.way, "measurements": {name: asdict(one) for name, one in measurements.items()}}
        write_text(self.path, json.dumps(content, indent=2) + "\n")

    def _measurements(self) -> dict[str, Measurement]:
        if not self.path.exists():
            return {}
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            measurements = {name: Measurement(**one) for name, one in content["measurements"].items()}
            return measurements if content["way"] == self.way else {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataCorruptError(f"{self.path} holds no measurements", hint="delete it and measure again") from error
