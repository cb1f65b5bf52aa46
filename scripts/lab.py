#!/usr/bin/env python3
"""JupyterLab on the notebooks, reachable from this machine only, with the local stack up while it runs."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console

from workshop import stack
from workshop.errors import WorkshopError
from workshop.runner.execute import check_kernel, kernel_environment
from workshop.settings import PROJECT_ROOT, load_settings


def main() -> int:
    """Start the stack, serve until Ctrl-C, stop what was started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
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
            console.print("The stack is up. Stop JupyterLab and the stack with Ctrl-C.")
            return subprocess.run(command, env=kernel_environment(settings), check=False).returncode
    except WorkshopError as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        return 2
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
