"""Write or check the model repository: ``python scripts/model_repository.py generate|check``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workshop.catalogue import SIGNATURES
from workshop.settings import load_settings
from workshop.triton.repository import check_repository, complete_models
from workshop.triton.signature import write_config


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 1 when ``check`` finds a problem."""
    parser = argparse.ArgumentParser(description="Write or check Triton's model repository")
    parser.add_argument("command", choices=["generate", "check"], help="write config.pbtxt, or name what is wrong")
    parser.add_argument("--repository", type=Path, default=load_settings().model_repository)
    options = parser.parse_args(arguments)
    if options.command == "generate":
        for signature in SIGNATURES:
            print(write_config(signature, options.repository))
        return 0
    problems = check_repository(options.repository, SIGNATURES)
    for problem in problems:
        print(f"[FAIL] {problem}")
    for name in complete_models(options.repository):
        print(f"[OK]   {name} can be loaded")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
