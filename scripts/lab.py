#!/usr/bin/env python3
"""JupyterLab on the notebooks, reachable from this machine only, with the local stack up while it runs."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console

from workshop import stack
from workshop.errors import WorkshopError
from workshop.runner.execute import check_kernel, kernel_environment
from workshop.settings import PROJECT_ROOT, load_settings


def main() -> int:
    """Start the stack, serve until Ctrl-C, stop what was started."""
    console = Console(soft_wrap=True)
    command = [
        *(sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1"),
        f"--ServerApp.root_dir={PROJECT_ROOT}",
        "--LabApp.default_url=/lab/tree/notebooks/00_check_setup.ipynb",
        *sys.argv[1:],
    ]
    try:
        settings = load_settings()
        check_kernel()
        with stack.running(settings):
            console.print("The stack is up. Ctrl-C stops JupyterLab, its kernels and the stack.")
            return serve(command, kernel_environment(settings))
    except WorkshopError as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        return 2
    except KeyboardInterrupt:
        return 130


def serve(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program to its end. Ctrl-C and SIGTERM reach it as SIGTERM, on which Jupyter shuts its kernels down."""
    program: subprocess.Popen[bytes] | None = None
    told_to_stop = False

    def stop(*_: object) -> None:
        nonlocal told_to_stop
        told_to_stop = True
        if program is not None:
            program.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    program = subprocess.Popen(command, env=environment, start_new_session=True)
    if told_to_stop:  # while the program was being started
        program.terminate()
    return program.wait()


if __name__ == "__main__":
    sys.exit(main())
