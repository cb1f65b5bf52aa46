"""A served model as an MLflow bundle: the form in which ArangoDB's platform takes models that Triton hosts.

Layout of the ``triton`` flavour: the model folder with ``config.pbtxt`` and its versions, and ``MLmodel`` beside them,
https://github.com/triton-inference-server/server/tree/main/deploy/mlflow-triton-plugin. Neither MLflow nor the platform
was at hand when this was written: the bundle is made by the documentation and has not been taken in by either. Weights
that the configuration names by a path or a Hub id are not in it; the server that runs it needs them at that place.
"""

from __future__ import annotations

import datetime
import json
import shutil
import uuid
from pathlib import Path

from workshop.errors import RepositoryError
from workshop.triton.artefact import model_folder, version_folders
from workshop.triton.repository import needed_files, read_config

MLMODEL_FILE = "MLmodel"


def export_mlflow(repository: Path, model: str, target: Path) -> Path:
    """Copy a Python-backend model of the repository into a bundle; returns the bundle's folder ``target/model``.

    Raises:
        RepositoryError: the model is not there, not complete, no Python-backend model, or the bundle exists.
    """
    folder, bundle = model_folder(repository, model), target / model
    config = read_config(folder)
    if config.backend != "python":
        raise RepositoryError(
            f"model {model!r} is no Python-backend model", hint="an entry of create_repository is one"
        )
    versions = version_folders(folder)
    missing = [name for name in needed_files(config) if not versions or not (versions[-1] / name).is_file()]
    if missing:
        raise RepositoryError(f"model {model!r} lacks {', '.join(missing)}", hint="make the entry again")
    if bundle.exists():
        raise RepositoryError(f"{bundle} exists", hint="remove it, or export to another folder")
    # written aside, so that a bundle is whole or absent
    aside = target / f".{model}.{uuid.uuid4().hex}"
    shutil.copytree(folder, aside, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
    about = {"flavors": {"triton": {}}, "utc_time_created": now, "model_uuid": uuid.uuid4().hex}
    (aside / MLMODEL_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")  # JSON is YAML
    return aside.rename(bundle)
