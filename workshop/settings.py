"""One typed settings object for the library, the notebooks and the scripts.

Every field can be set by an environment variable ``WORKSHOP_<FIELD>`` or in the file ``.env`` at the project's root;
the ArangoDB address and password also answer to ArangoDB's own names, ``ARANGO_URL`` and ``ARANGO_ROOT_PASSWORD``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from workshop.errors import SettingsError
from workshop.logs import LogFormat

Precision = Literal["auto", "fp32", "bf16", "fp16"]
DataSize = Literal["tiny", "default", "full"]


def find_project_root() -> Path:
    """The folder that relative settings, notebooks, models and data are meant from.

    It is the one that the environment variable ``WORKSHOP_PROJECT_ROOT`` names, else the checkout this module lies in,
    else (the library was installed from a wheel) the current folder.
    """
    if named := os.environ.get("WORKSHOP_PROJECT_ROOT"):
        return Path(named).resolve()
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


PROJECT_ROOT = find_project_root()
"""Where the notebooks, the model repository, the data and ``.env`` are, see :func:`find_project_root`."""


class Settings(BaseSettings):
    """Where things are and how they run; the defaults reach the local stack."""

    model_config = SettingsConfigDict(
        env_prefix="WORKSHOP_", env_file=PROJECT_ROOT / ".env", extra="ignore", populate_by_name=True
    )

    triton_host: str = Field("127.0.0.1", description="Host of the Triton server")
    triton_http_port: int = Field(8000, description="Triton's HTTP port")
    triton_grpc_port: int = Field(8001, description="Triton's gRPC port")
    triton_metrics_port: int = Field(8002, description="Triton's Prometheus port")
    triton_protocol: Literal["grpc", "http"] = Field("grpc", description="Protocol of the client")
    triton_endpoints: str = Field(
        "",
        pattern=r"^[^/\s]*(,\s*[^/\s]+)*$",
        description="gRPC addresses of several Triton servers, `host:port,host:port`, for what balances over them "
        "(`workshop.scale`); empty: the one above",
    )
    triton_timeout: float = Field(300.0, gt=0, description="Seconds a request may take")
    triton_tls: bool = Field(False, description="Whether the client talks to Triton over TLS")
    triton_tls_ca: Path | None = Field(None, description="PEM file of the authorities to trust; empty: the usual ones")
    triton_tls_certificate: Path | None = Field(
        None, description="PEM file of the client's own certificate, if asked for"
    )
    triton_tls_key: Path | None = Field(None, description="PEM file of the key of that certificate")
    triton_headers: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description='Headers of every request to Triton, as JSON: `{"authorization": "Bearer ..."}`',
        repr=False,
    )
    triton_control_key: str = Field(
        "",
        pattern=r"^[\w.~-]*$",
        description="Key without which Triton lists, loads and unloads no models; empty: none is asked for",
        repr=False,
    )
    response_cache_mb: int = Field(0, ge=0, description="Triton response cache in MB; 0 switches it off")
    sagemaker_port: int | None = Field(
        None, ge=0, description="Port of Triton's SageMaker front end; empty: the HTTP port plus 5; 0 switches it off"
    )
    sagemaker_model: str = Field("ensemble", description="Model that the SageMaker front end serves at `/invocations`")
    api_port: int = Field(8010, gt=0, lt=65536, description="Port of the OpenAI-compatible API of `make api`")
    demo_port: int = Field(8020, gt=0, lt=65536, description="Port of the demo of `make demo`")

    arango_url: str = Field(
        "",
        validation_alias=AliasChoices("WORKSHOP_ARANGO_URL", "ARANGO_URL"),
        pattern=r"^(https?://[^\s,;]+(,\s*https?://[^\s,;]+)*)?$",
        description="A real ArangoDB server, or the coordinators of a cluster, comma-separated, of which the next is "
        "asked when one cannot be reached; empty means the local stack's aqlite",
    )
    arango_port: int = Field(8529, description="Port of the local stack's aqlite")
    arango_database: str = Field("workshop", description="Database that holds the graphs")
    arango_user: str = Field("root", description="ArangoDB user")
    arango_password: str = Field(
        "",
        validation_alias=AliasChoices("WORKSHOP_ARANGO_PASSWORD", "ARANGO_ROOT_PASSWORD"),
        description="ArangoDB password; empty means the one the local stack wrote",
        repr=False,
    )

    trace_url: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="Where the local Triton sends OpenTelemetry traces (OTLP over HTTP), such as "
        "`http://127.0.0.1:4318/v1/traces`; empty: nowhere",
    )
    trace_rate: int = Field(1, ge=1, description="One request in so many is traced")
    log_format: LogFormat = Field("text", description="Logs as `text`, or as `json`: one object a line")
    log_requests: bool = Field(
        False, description="Whether the Triton client and the local store log every request, with its id"
    )
    start_servers: bool = Field(True, description="Whether `make run` starts servers; false: all of them run already")

    data_dir: Path = Field(PROJECT_ROOT / ".data", description="Downloads and caches, checked by SHA-256")
    stack_dir: Path = Field(PROJECT_ROOT / ".stack", description="State and logs of the local stack")
    model_repository: Path = Field(PROJECT_ROOT / "model_repository", description="Triton's model repository")
    model_repository_url: str = Field(
        "",
        pattern=r"^(\w+://\S+)?$",
        description="Where the local Triton reads the models instead: `s3://bucket/models`, "
        "`s3://https://host:port/bucket/models`, credentials from `AWS_*`; empty: the folder above",
    )
    dump_dir: Path = Field(PROJECT_ROOT / "dump", description="Graph dumps in arangodump format")
    checkpoint_dir: Path = Field(PROJECT_ROOT / "checkpoints", description="Trained weights")

    movies_csv: Path | None = Field(None, description="Own table of movies, instead of the pinned TMDB 5000")
    credits_csv: Path | None = Field(None, description="Own table of credits that goes with it")
    movies_prefix: str = Field(
        "",
        pattern=r"^([A-Za-z][A-Za-z0-9_]*)?$",
        description="What the names of the films' collections begin with, such as `mine_`: own tables have collections "
        "of their own then, in notebook 06, `make likes`, `make demo` and `make api`; empty: `movies`, `people` ...",
    )
    ratings_csv: Path | None = Field(
        None, description="Own table of film ratings (user, item, rating, time) to judge by; empty: a synthetic one"
    )
    ratings_columns: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description='Other names of its columns, as JSON: `{"userId": "user", "title": "item"}`',
    )
    data_size: DataSize = Field("default", description="How much data the notebooks use")
    allow_large_downloads: bool = Field(False, description="Permit downloading ogbn-products (1.4 GB) for size full")
    precision: Precision = Field(
        "auto",
        description="Precision of traced text models; auto is bf16 where it is known to be fast and the model "
        "bears it, else fp32",
    )
    sentence_model: str = Field("", description="Hub name or folder of a sentence BERT; empty: the installed MiniLM")
    entailment_model: str = Field("", description="Hub name or folder of an MNLI model; empty: latent embeddings")
    vit_model: str = Field("", description="Hub name or folder of a vision transformer; empty: the digits' checkpoint")
    image_model: str = Field("", description="torchvision:NAME or timm:NAME; empty: the installed EfficientNet-Lite0")

    @field_validator("triton_headers", "ratings_columns", mode="before")
    @classmethod
    def _texts_of_json(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value or "{}")
        except ValueError:
            raise ValueError("expected a JSON object of texts") from None

    @property
    def aqlite_url(self) -> str:
        """Address of the local stack's aqlite."""
        return f"http://127.0.0.1:{self.arango_port}"

    @property
    def stack_password_file(self) -> Path:
        """Where the local stack keeps the ArangoDB password it made."""
        return self.stack_dir / "arango_password"

    @property
    def effective_sagemaker_port(self) -> int:
        """Port of Triton's SageMaker front end, 0 where it is switched off."""
        return self.triton_http_port + 5 if self.sagemaker_port is None else self.sagemaker_port

    @property
    def effective_arango_url(self) -> str:
        """The ArangoDB server in use: ``arango_url`` when set, otherwise the local aqlite."""
        return self.arango_url or self.aqlite_url

    @property
    def triton_endpoint_urls(self) -> list[str]:
        """gRPC addresses of the several Triton servers, each ``host:port``; none where there is one server."""
        return [url.strip() for url in self.triton_endpoints.split(",") if url.strip()]

    @property
    def arango_hosts(self) -> list[str]:
        """Addresses of the ArangoDB in use: one server, or a cluster's coordinators in the order they are asked."""
        return [url.strip() for url in self.effective_arango_url.split(",")]


def load_settings(**overrides: object) -> Settings:
    """Read the settings from the environment and ``.env``; keyword arguments win.

    Raises:
        SettingsError: a value is of the wrong kind; the message names the variable.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = "; ".join(map(_describe, error.errors()))
        raise SettingsError(f"settings: {problems}", hint="see the settings table in README.md") from error


def _describe(problem: Mapping[str, Any]) -> str:
    """What is wrong with a setting; the value of one that may hold a secret is left out."""
    field = Settings.model_fields.get(str(problem["loc"][0]))
    got = "" if field is not None and not field.repr else f" (got {problem['input']!r})"
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}{got}"


def notebook_settings(**parameters: object) -> Settings:
    """The settings of a notebook: a parameter that is given wins, an empty one leaves the setting as it is.

    Args:
        parameters: setting's name to the value of the notebook's parameter; ``""`` and ``None`` are not given.

    Raises:
        SettingsError: as :func:`load_settings`.
    """
    return load_settings(**{name: value for name, value in parameters.items() if value not in ("", None)})
