"""One notebook, one kernel: run it with papermill, keep what it left, say where it broke."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from workshop.errors import RunnerError
from workshop.settings import PROJECT_ROOT, Settings

KERNEL = "python3"
START_TIMEOUT = 120

CellWatcher = Callable[[int, int, str], None]
"""Called with (cells begun, cells in all, the first line of code of this one) whenever a cell begins."""


@dataclass(frozen=True)
class Failure:
    """Where a notebook broke. ``cell`` counts from 0 in the notebook as committed; None: no cell is to blame."""

    cell: int | None
    line: str
    error: str

    def __str__(self) -> str:
        return self.error if self.cell is None else f"cell {self.cell} (`{self.line}`): {self.error}"


def check_kernel() -> None:
    """Make sure that the kernel called ``python3`` is the running interpreter's.

    Raises:
        RunnerError: no such kernel is installed, or it belongs to another Python.
    """
    remedy = f"{Path(sys.executable).name} -m ipykernel install --sys-prefix, or make setup"
    try:
        program = KernelSpecManager().get_kernel_spec(KERNEL).argv[0]
    except NoSuchKernel as error:
        raise RunnerError(f"no Jupyter kernel {KERNEL!r} in {sys.prefix}", hint=remedy) from error
    own = {"python", "python3", f"python3.{sys.version_info.minor}"}  # Jupyter runs these with sys.executable
    if program not in own and Path(program) != Path(sys.executable):
        raise RunnerError(f"kernel {KERNEL!r} runs {program}, expected {sys.executable}", hint=remedy)


def kernel_environment(settings: Settings) -> dict[str, str]:
    """Environment in which a kernel imports this project's ``workshop`` and reads the same settings as this process."""
    ours = {f"WORKSHOP_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set}
    python_path = os.pathsep.join(filter(None, [str(PROJECT_ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, **ours, "PYTHONPATH": python_path}


def execute_notebook(
    source: Path,
    target: Path,
    *,
    parameters: Mapping[str, object],
    environment: Mapping[str, str],
    timeout: float,
    on_cell: CellWatcher = lambda begun, total, line: None,
) -> Failure | None:
    """Run ``source`` in a fresh kernel, in the notebook's own folder as JupyterLab does, and write ``target``.

    Whatever happens, ``target`` holds the cells that ran and their output.

    Args:
        source: the committed notebook.
        target: where the executed copy goes.
        parameters: injected after the cell tagged ``parameters``; the names must have been checked before.
        environment: of the kernel, see ``kernel_environment``.
        timeout: seconds the whole notebook may take; starting the kernel has its own limit, ``START_TIMEOUT``.
        on_cell: progress.

    Returns:
        None when every cell ran, otherwise where and why it stopped.
    """
    original = nbformat.read(source, as_version=4)
    positions = {cell.get("id"): position for position, cell in enumerate(original.cells)}
    deadline = time.monotonic() + timeout
    current: list[tuple[int | None, str]] = [(None, "")]

    def cell_begins(cell: nbformat.NotebookNode, cell_index: int) -> None:
        current[0] = positions.get(cell.get("id")), _first_line(cell.source)
        on_cell(cell_index + 1, len(original.cells) + bool(parameters), current[0][1])

    def remaining(cell: nbformat.NotebookNode) -> int:
        return max(1, round(deadline - time.monotonic()))

    log = target.with_suffix(".kernel.log")
    try:
        with log.open("wb") as stream:
            papermill.execute_notebook(
                source,
                target,
                parameters=dict(parameters),
                kernel_name=KERNEL,
                kernel_manager_class=_kernel_manager(environment, stream),
                cwd=source.parent,
                progress_bar=False,
                start_timeout=START_TIMEOUT,
                timeout_func=remaining,
                on_cell_start=cell_begins,
            )
    except PapermillExecutionError as error:
        return Failure(*current[0], f"{error.ename}: {error.evalue}")
    except CellTimeoutError:
        return Failure(*current[0], f"the notebook took longer than its {timeout:g} s")
    except DeadKernelError:
        return Failure(*current[0], f"the kernel died, most often for want of memory{_last_lines(log)}")
    except RuntimeError as error:  # jupyter_client's word for a kernel that does not start
        return Failure(None, "", f"the kernel did not start: {error}{_last_lines(log)}")
    finally:
        if log.stat().st_size == 0:
            log.unlink()
    return None


def _first_line(source: str) -> str:
    lines = (line.strip() for line in source.splitlines())
    return next((line for line in lines if line and not line.startswith("#")), "")


def _last_lines(log: Path, count: int = 10) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    return "".join(f"\n  {line}" for line in lines)


def _kernel_manager(environment: Mapping[str, str], log: BinaryIO) -> type[AsyncKernelManager]:
    """A manager whose kernels get ``environment``, talk encrypted, and write what IPython cannot catch to ``log``."""

    class ProjectKernelManager(AsyncKernelManager):
        async def start_kernel(self, **options: object) -> None:
            self.transport_encryption = "auto"
            await super().start_kernel(**options, env=dict(environment), stdout=log, stderr=log)

    return ProjectKernelManager
