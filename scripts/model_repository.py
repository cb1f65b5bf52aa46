"""Write, check or export the model repository: ``python scripts/model_repository.py generate|check|export-mlflow``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workshop.catalogue import repository_signatures
from workshop.errors import RepositoryError, print_error
from workshop.export.mlflow import export_mlflow
from workshop.settings import load_settings
from workshop.triton.repository import check_repository, complete_models
from workshop.triton.signature import write_config


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 1 when ``check`` finds a problem."""
    parser = argparse.ArgumentParser(description="Write, check or export Triton's model repository")
    commands = {
        "generate": "write config.pbtxt of every model",
        "check": "name what is wrong",
        "export-mlflow": "copy a Python-backend model into an MLflow bundle",
    }
    parser.add_argument(
        "command", choices=commands, help="; ".join(f"{name}: {does}" for name, does in commands.items())
    )
    parser.add_argument("model", nargs="?", help="to export")
    parser.add_argument("--target", type=Path, default=Path("mlflow"), help="folder of the bundles (default mlflow)")
    parser.add_argument("--repository", type=Path, default=load_settings().model_repository)
    options = parser.parse_args(arguments)
    if (options.command == "export-mlflow") != bool(options.model):
        parser.error("export-mlflow takes a model, the other commands take none")
    if options.command == "export-mlflow":
        try:
            print(export_mlflow(options.repository, options.model, options.target))
        except RepositoryError as error:
            print_error(error)
            return 1
        return 0
    signatures = repository_signatures(options.repository)
    if options.command == "generate":
        for signature in signatures:
            print(write_config(signature, options.repository))
        return 0
    problems = check_repository(options.repository, signatures)
    for problem in problems:
        print(f"[FAIL] {problem}")
    for name in complete_models(options.repository):
        print(f"[OK]   {name} can be loaded")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
