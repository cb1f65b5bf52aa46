"""Every error the workshop raises on purpose.

A message names what was asked, what was expected and what was received; ``hint`` is the next thing to try.
"""

from __future__ import annotations

import os
import re

COMPOSE_VARIABLE = "WORKSHOP_IN_COMPOSE"
"""Environment variable that docker-compose.yml sets in the JupyterLab container."""

# The container has no make, and its servers are other containers: what to do there instead, longest command first.
IN_COMPOSE = {
    "on the local stack: unset it, then make down, then make up": "the local stack has it and no container: on the "
    "host docker compose stop, then the two commands at the top of README.md",
    r'make run NOTEBOOKS="([^"]*)"': r"python scripts/run_notebooks.py \1",
    "make down, then make up": "on the host: docker compose restart",
    "PYTHON=python3.11 make setup": "on the host: docker compose up --detach --build",
    "make setup": "python scripts/fetch_data.py, or on the host: docker compose up --detach --build",
    "make password": "python scripts/stack.py password",
    "make status": "on the host: docker compose ps",
    "make up": "on the host: docker compose up --detach --wait",
}
"""Pattern of a ``make`` command in a hint -> what replaces it in the JupyterLab container."""


def hint_for_here(hint: str) -> str:
    """``hint`` with commands that exist where this process runs: ``make`` targets, or what does the same in Compose."""
    if os.environ.get(COMPOSE_VARIABLE):
        for command, instead in IN_COMPOSE.items():
            hint = re.sub(command, instead, hint)
    return hint


class WorkshopError(Exception):
    """Base of the tree. ``str(error)`` is the message followed by the hint, when there is one."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.hint = hint_for_here(hint) if hint else None
        super().__init__(f"{message}\nTry: {self.hint}" if self.hint else message)


def print_error(error: WorkshopError) -> None:
    """What a command prints before it fails: the error's type, its message and its hint, to standard error."""
    from rich.console import Console  # here, since a client on another machine needs no terminal
    from rich.markup import escape

    Console(stderr=True, soft_wrap=True).print(f"[bold red]{type(error).__name__}[/]: {escape(str(error))}")


class SettingsError(WorkshopError):
    """A setting is missing or has a value that cannot work."""


# --- data -----------------------------------------------------------------------------------------------------
class DataError(WorkshopError):
    """Base: an input file."""


class DataMissingError(DataError):
    """A file that must be on disk is not."""


class DataCorruptError(DataError):
    """A file is there but is not what its hash, format or manifest says."""


class DataInvalidError(DataError):
    """Values inside the data break a rule: wrong width, NaN, unknown ids."""


class UnknownKeyError(DataInvalidError):
    """The catalogue has no film, or no product, of the key that was asked for."""


# --- models ---------------------------------------------------------------------------------------------------
class ModelError(WorkshopError):
    """Base: making, tracing or loading a model."""


class ModelSourceError(ModelError):
    """The weights asked for are not on this machine, or are not the expected ones."""


class TraceRefusedError(ModelError):
    """A traced model was not saved because it would not serve correctly."""


class OutputMismatchError(TraceRefusedError):
    """What a model returns is not what its signature says: number, rank, sizes or dtype."""


class ParityError(TraceRefusedError):
    """Traced and eager model disagree on an input unlike the trace example."""


class PrecisionLossError(TraceRefusedError):
    """Rounded to a lower precision, a model computes something else than its float32 weights."""


class DeviceConstantError(TraceRefusedError):
    """The traced graph holds a device constant, so it runs on one kind of device only."""


class ForbiddenOpError(TraceRefusedError):
    """The traced graph uses an operator outside ``aten::`` and ``prim::``."""


class CompilerMissingError(ModelError):
    """A model cannot be compiled, because this machine has no compiler."""


class CompiledTargetError(ModelError):
    """A compiled model was altered, or made for another kind of machine than this one."""


class CheckpointError(ModelError):
    """A checkpoint is of another architecture, or damaged."""


# --- serving --------------------------------------------------------------------------------------------------
class RepositoryError(WorkshopError):
    """The model repository on disk is not in order."""


class ServingError(WorkshopError):
    """Base: talking to Triton."""


class ServerUnreachableError(ServingError):
    """Nothing accepts connections at the address, or the connection broke."""


class NoHealthyEndpointError(ServerUnreachableError):
    """None of several Triton servers takes requests; the message says how each failed."""


class ServingTimeoutError(ServingError):
    """The server did not answer within the time allowed."""


class ServerBusyError(ServingError):
    """The server refused a request because too many are waiting."""


class ServingAuthError(ServingError):
    """The server, or a proxy before it, wants other headers."""


class ModelNotFoundError(ServingError):
    """The server does not know a model of that name."""


class ModelNotReadyError(ServingError):
    """The model exists but is not loaded, or failed to load."""


class SignatureError(ServingError):
    """Base: a tensor does not fit the served model's signature."""


class TensorNameError(SignatureError):
    """An input is missing, or its name is unknown to the model."""


class TensorTypeError(SignatureError):
    """An input has another dtype than the model expects."""


class TensorShapeError(SignatureError):
    """An input has another rank or size than the model expects."""


class TensorValueError(SignatureError):
    """An input holds a value outside the range the model can look up, such as a token id beyond its vocabulary."""


class RolloutError(ServingError):
    """A new version of a model failed on one of several servers, and was taken back from all."""


class InferenceError(ServingError):
    """The model failed on a well-formed request."""


# --- clusters -------------------------------------------------------------------------------------------------
class ClusterError(WorkshopError):
    """Base: work that Ray shares out."""


class ClusterUnreachableError(ClusterError):
    """No Ray cluster answers at the address."""


class ClusterFailedError(ClusterError):
    """Ray gave up: too few machines, too little memory, or workers that died again and again."""


# --- store ----------------------------------------------------------------------------------------------------
class StoreError(WorkshopError):
    """Base: talking to ArangoDB."""


class StoreUnreachableError(StoreError):
    """Nothing accepts connections at the address, or the connection broke."""


class StoreTimeoutError(StoreError):
    """The store did not answer within the time allowed."""


class StoreAuthError(StoreError):
    """User or password was refused."""


class StoreSchemaError(StoreError):
    """A collection, graph or index differs from what the workshop needs."""


class DocumentsRejectedError(StoreError):
    """Some documents of a bulk write were refused; the first reasons are in the message."""


class QueryError(StoreError):
    """An AQL query failed."""


class DumpError(StoreError):
    """A dump folder is incomplete, damaged, or of another data set."""


# --- local stack ----------------------------------------------------------------------------------------------
class StackError(WorkshopError):
    """Base: the local stack."""


class UnsupportedPlatformError(StackError):
    """This Python, C library or processor cannot run the local tritonserver."""


class PortInUseError(StackError):
    """Another process listens on a port the stack needs."""


class ServerDiedError(StackError):
    """A server ended or gave up while starting; the message carries its last log lines."""


class StartTimeoutError(StackError):
    """A server process runs but did not become ready in time; the message carries its last log lines."""


# --- SageMaker ------------------------------------------------------------------------------------------------
class SageMakerError(WorkshopError):
    """Base: packing a model for an endpoint, deploying it, asking it."""


class ArchiveError(SageMakerError):
    """A model archive has another layout than the endpoint expects, is damaged, or would write outside its folder."""


class PayloadError(SageMakerError):
    """A request is too large for an endpoint, or of a content type that Triton does not take there."""


class InvocationError(SageMakerError):
    """The endpoint answered a request with an error."""


class AwsCredentialsError(SageMakerError):
    """There are no AWS credentials, or AWS does not accept them."""


class AwsQuotaError(SageMakerError):
    """The account may not have so many instances, endpoints or calls."""


class AwsRefusedError(SageMakerError):
    """AWS refused a call for another reason, or could not be reached."""


class EndpointNameTakenError(SageMakerError):
    """Something of that name is there and was not made by this deployment."""


class EndpointFailedError(SageMakerError):
    """The endpoint did not come into service."""


# --- notebooks ------------------------------------------------------------------------------------------------
class RunnerError(WorkshopError):
    """Base: running notebooks."""


class UnknownNotebookError(RunnerError):
    """No notebook of that number or name is in the index."""


class UnknownParameterError(RunnerError):
    """The notebook's parameters cell has no such name."""


class ExerciseError(WorkshopError):
    """A notebook has no such exercise or quiz, or a check was given other data than it needs."""
