#!/usr/bin/env python3
"""Serve the demo of the running stack on 127.0.0.1: ``make demo``."""

from __future__ import annotations

import argparse
import sys

import uvicorn

from workshop.demo.app import LOCAL_NAMES, make_app
from workshop.settings import load_settings


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted."""
    settings = load_settings()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=settings.demo_port, help="default: WORKSHOP_DEMO_PORT")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; another one than the default is for a container"
    )
    options = parser.parse_args(arguments)
    print(f"The demo: http://127.0.0.1:{options.port}", flush=True)
    uvicorn.run(make_app(settings, LOCAL_NAMES), host=options.host, port=options.port, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
