#!/usr/bin/env python3
"""Serve recommendations and an OpenAI-compatible façade of the running stack on 127.0.0.1: ``make api``."""

from __future__ import annotations

import argparse
import sys

import uvicorn

from workshop.api.app import make_app
from workshop.settings import load_settings


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted."""
    settings = load_settings()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=settings.api_port, help="default: WORKSHOP_API_PORT")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; another one than the default is for a container"
    )
    options = parser.parse_args(arguments)
    print(f"OpenAI-compatible API: base_url http://127.0.0.1:{options.port}/v1, any api_key", flush=True)
    print(f"Recommendations: POST http://127.0.0.1:{options.port}/v1/recommend/films and .../products", flush=True)
    uvicorn.run(make_app(settings), host=options.host, port=options.port, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
