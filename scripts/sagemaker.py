"""A model on a SageMaker endpoint: ``python scripts/sagemaker.py pack|local|deploy|invoke|status|delete|list``.

    python scripts/sagemaker.py pack
    python scripts/sagemaker.py local films        # here, on the running stack, until Ctrl-C
    python scripts/sagemaker.py deploy films --role ROLE_ARN --bucket BUCKET --accounts accounts.json \\
        --triton 24.09-py3 --instance-type ml.g5.xlarge --dry-run
    python scripts/sagemaker.py invoke films "a heist that goes wrong"
    python scripts/sagemaker.py delete films --bucket BUCKET

An endpoint costs money for every hour that it is there, asked or not. Credentials and region come from boto3's usual
places. Exit status: 0 when all is well, 1 on errors, 2 when asked wrongly, 3 when there is no such endpoint, 130 when
interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from workshop.errors import SettingsError, WorkshopError, print_error
from workshop.sagemaker import endpoint
from workshop.sagemaker.archive import SINGLE_MODEL_FILE, Archive, pack, read_archive, unpack
from workshop.sagemaker.aws import Aws, DryRun, Preview, partition_domain
from workshop.sagemaker.deployment import (
    PREFIX,
    Deployment,
    Scaling,
    archive_folder,
    cost_text,
    delete_command,
    image_uri,
)
from workshop.sagemaker.front_end import FrontEnd
from workshop.sagemaker.payload import JSON_TYPE, Payload, decode
from workshop.sagemaker.relay import local_runtime
from workshop.sagemaker.runtime import ask, invoke, local_client
from workshop.settings import load_settings
from workshop.text.endpoint.signatures import BATCH_LIMIT, INPUT, OUTPUT, PLATFORMS

MISSING, INTERRUPTED = 3, 130


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = parse_arguments(argv)
    try:
        return options.run(options)
    except (WorkshopError, OSError) as error:
        print_error(error)
        return 1
    except KeyboardInterrupt:
        way_on = "interrupted; the same command goes on from here"
        if options.run is run_deploy:
            way_on += f", {delete_command(options.name, options.bucket, options.prefix)} removes what is there"
        print(way_on, file=sys.stderr)
        return INTERRUPTED


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; ``run`` in the result is the function to call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="command")
    account = argparse.ArgumentParser(add_help=False)
    account.add_argument("--region", default="", help="default: that of the profile, or AWS_REGION")
    account.add_argument("--profile", default="", help="of the AWS configuration")
    named = argparse.ArgumentParser(add_help=False, parents=[account])
    named.add_argument("name", help="of the endpoint")

    command = commands.add_parser("pack", help="write the archive of the sentence model, or of other models")
    command.add_argument("--target", type=Path, default=default_archive(), help="the archive (default %(default)s)")
    command.add_argument("--core", choices=sorted(PLATFORMS), default="onnx", help="its form (default %(default)s)")
    command.add_argument("--repository", type=Path, help="another model repository, to pack its models as they are")
    command.add_argument("--models", nargs="+", help="its models; default: all")
    command.set_defaults(run=run_pack)

    command = commands.add_parser("local", help="serve an archive on the running stack under an endpoint's name")
    command.add_argument("name", help="of the endpoint")
    command.add_argument("--archive", type=Path, default=default_archive(), help="default %(default)s")
    command.add_argument("--port", type=int, default=0, help="of the stand-in for AWS (default: a free one)")
    command.set_defaults(run=run_local)

    command = commands.add_parser("deploy", parents=[named], help="bring an endpoint into service")
    add_deployment(command)
    command.set_defaults(run=run_deploy)

    command = commands.add_parser("invoke", parents=[named], help="embed texts, or send a file as it is")
    command.add_argument("texts", nargs="*", help="texts to embed")
    command.add_argument("--json", action="store_true", help="tensors as JSON; default: binary")
    command.add_argument("--target-model", default="", help="archive behind an endpoint for several")
    command.add_argument("--body", type=Path, help="file with the body of a request, instead of texts")
    command.add_argument("--content-type", default=JSON_TYPE, help="of that file (default %(default)s)")
    command.add_argument("--endpoint-url", default="", help="what `local` prints")
    command.set_defaults(run=run_invoke)

    command = commands.add_parser("status", parents=[named], help="how an endpoint is")
    command.set_defaults(run=run_status)

    command = commands.add_parser("delete", parents=[named], help="remove an endpoint and all that was made for it")
    command.add_argument("--bucket", help="look there for archives of a deployment interrupted before it made a model")
    command.add_argument("--prefix", default=PREFIX, help="of their keys (default %(default)s)")
    command.add_argument("--dry-run", action="store_true", help="look, and show the calls that would change something")
    command.set_defaults(run=run_delete)

    command = commands.add_parser("list", parents=[account], help="the endpoints that this project made")
    command.set_defaults(run=run_list)
    options, rest = parser.parse_known_args(argv)
    if rest and (options.run is not run_invoke or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.texts += rest  # argparse takes `texts` as empty where an option stands before them
    return options


def add_deployment(command: argparse.ArgumentParser) -> None:
    """The options that say what the endpoint is to be."""
    command.add_argument("--archive", type=Path, default=default_archive(), help="default %(default)s")
    command.add_argument("--role", required=True, help="ARN of the role that the endpoint runs as")
    command.add_argument("--bucket", required=True, help="S3 bucket for the archive")
    command.add_argument("--prefix", default=PREFIX, help="of its key (default %(default)s)")
    command.add_argument("--image", help="URI of the Triton container, instead of --accounts and --triton")
    command.add_argument("--accounts", type=Path, help='JSON: {"region": "account of AWS\'s registry there"}')
    command.add_argument("--triton", metavar="TAG", help="of AWS's Triton container, 24.09-py3 for instance")
    command.add_argument("--instance-type", required=True, help="ml.g5.xlarge for instance")
    command.add_argument("--instances", type=int, default=1, help="at the start (default 1)")
    command.add_argument("--multi-model", action="store_true", help="an endpoint that takes several archives")
    command.add_argument("--scale", nargs=2, type=int, metavar=("LEAST", "MOST"), help="instances, by load")
    command.add_argument("--requests", type=float, default=600, help="a minute and instance, for --scale (default 600)")
    command.add_argument("--env", nargs="*", default=[], metavar="NAME=VALUE", help="variables of the container")
    command.add_argument("--tag", nargs="*", default=[], metavar="KEY=VALUE", help="tags of all parts")
    command.add_argument("--price-per-hour", type=float, help="of one instance, to see what it costs")
    command.add_argument("--timeout", type=float, default=1800, help="seconds to wait for it (default 1800)")
    command.add_argument("--dry-run", action="store_true", help="look, and show the calls that would change something")


def default_archive() -> Path:
    """Where ``pack`` writes and ``deploy`` reads."""
    return load_settings().data_dir / "sagemaker" / SINGLE_MODEL_FILE


def run_pack(options: argparse.Namespace) -> int:
    """Write an archive."""
    if options.repository:
        show_archive(pack(options.repository, options.target, options.models))
        return 0
    from workshop.text.endpoint.prepare import endpoint_repository, prepare_endpoint  # torch, for nothing else here

    settings = load_settings()
    repository = endpoint_repository(settings, options.core)
    prepare_endpoint(settings, repository, options.core)
    show_archive(pack(repository, options.target))
    if options.core == "onnx":
        print("With the core as a TensorRT plan, on the endpoint's kind of GPU: scripts/build_tensorrt.sh core")
    return 0


def show_archive(archive: Archive) -> None:
    """Print what an archive is."""
    print(f"{archive.path}: {archive.megabytes:.1f} MB, sha256 {archive.sha256}")
    print(f"serves {archive.model} ({', '.join(archive.models)})")


def run_local(options: argparse.Namespace) -> int:
    """Load an archive into the stack's Triton, and answer ``invoke_endpoint`` for it until interrupted."""
    settings = load_settings()
    front_end = FrontEnd.from_settings(settings)
    front_end.wait()
    front_end.unload(settings.sagemaker_model)
    front_end.load(settings.sagemaker_model, unpack(options.archive, settings.data_dir / "sagemaker" / "unpacked"))
    try:
        with local_runtime({options.name: front_end}, options.port) as url:
            print(f"python scripts/sagemaker.py invoke {options.name} --endpoint-url {url} TEXT", flush=True)
            until_interrupted()
    finally:
        front_end.unload(settings.sagemaker_model)
    return 0


def until_interrupted() -> None:
    """Return at Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def run_deploy(options: argparse.Namespace) -> int:
    """Bring an endpoint into service, or show how."""
    aws = Aws(options.region, options.profile)
    sent = "changed"
    if options.dry_run and aws.has_credentials:
        aws = Preview(print, options.region, options.profile)
    elif options.dry_run:
        print("no AWS credentials are here: the calls are those for an empty account")
        aws, sent = DryRun(print), "sent"
    deployment = described(options)
    patience = endpoint.Patience(seconds=options.timeout)
    endpoint.deploy(aws, deployment, lambda line: print(line, flush=True), patience)
    print(cost_text(deployment, options.price_per_hour))
    if deployment.multi_model:
        print(f"requests name the archive: --target-model {deployment.target}")
    if options.dry_run:
        print(f"nothing was {sent}")
    return 0


def described(options: argparse.Namespace) -> Deployment:
    """The endpoint that the command line describes.

    Raises:
        SettingsError: the container is not named, or a pair is none.
    """
    scaling = Scaling(*options.scale, requests_a_minute=options.requests) if options.scale else None
    return Deployment(
        name=options.name,
        archive=read_archive(options.archive),
        image=options.image or container(options),
        role=options.role,
        bucket=options.bucket,
        prefix=options.prefix,
        instance_type=options.instance_type,
        instances=options.instances,
        multi_model=options.multi_model,
        scaling=scaling,
        environment=pairs(options.env),
        tags=pairs(options.tag),
    )


def container(options: argparse.Namespace) -> str:
    """URI of AWS's Triton container in the region."""
    if not (options.accounts and options.triton):
        raise SettingsError("which container? Give --image, or --accounts and --triton")
    try:
        accounts = json.loads(options.accounts.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SettingsError(f"{options.accounts} is not JSON: {error}") from error
    region = options.region or Aws(profile=options.profile).region
    if not region:
        raise SettingsError("no AWS region is known", hint="--region, or AWS_REGION")
    return image_uri(accounts, region, options.triton, partition_domain(region))


def pairs(texts: list[str]) -> dict[str, str]:
    """``NAME=VALUE`` texts as a mapping."""
    wrong = [text for text in texts if not text.partition("=")[0] or "=" not in text]
    if wrong:
        raise SettingsError(f"{', '.join(wrong)}: expected NAME=VALUE")
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}


def run_invoke(options: argparse.Namespace) -> int:
    """Ask an endpoint, and print the answer as JSON."""
    if bool(options.texts) == bool(options.body):
        raise SettingsError("what is to be sent? Give texts, or --body")
    runtime = local_client(options.endpoint_url) if options.endpoint_url else runtime_client(options)
    if options.body:
        payload = Payload(options.body.read_bytes(), options.content_type)
        outputs = decode(invoke(runtime, options.name, payload, options.target_model))
        print(json.dumps({name: array.tolist() for name, array in outputs.items()}))
        return 0
    for start in range(0, len(options.texts), BATCH_LIMIT):
        texts = options.texts[start : start + BATCH_LIMIT]
        sent = {INPUT: np.array([[text] for text in texts], dtype=object)}
        vectors = ask(runtime, options.name, sent, [OUTPUT], binary=not options.json, target=options.target_model)
        for text, vector in zip(texts, vectors[OUTPUT], strict=True):
            print(json.dumps({"text": text, "vector": [round(float(number), 6) for number in vector]}))
    return 0


def runtime_client(options: argparse.Namespace) -> Any:
    """boto3's client for requests."""
    return Aws(options.region, options.profile).client("sagemaker-runtime")


def run_status(options: argparse.Namespace) -> int:
    """Print how an endpoint is."""
    found = endpoint.status(Aws(options.region, options.profile), options.name)
    print(f"{found.name}: {found.status or 'no such endpoint'} {found.reason}".rstrip())
    if found.status:
        print(f"serves {found.configuration}, {found.instances[0]} of {found.instances[1]} instances run")
        print(f"scaling: {found.scaling[0]} to {found.scaling[1]} instances" if found.scaling else "scaling: none")
    if found.parts:
        print(f"parts: {', '.join(found.parts)}")
    return 0 if found.status else MISSING


def run_delete(options: argparse.Namespace) -> int:
    """Remove an endpoint, or show how."""
    place = {"region": options.region, "profile": options.profile}
    aws = Preview(print, **place) if options.dry_run else Aws(**place)
    archives = (options.bucket, archive_folder(options.prefix, options.name)) if options.bucket else None
    if endpoint.delete(aws, options.name, lambda line: print(line, flush=True), archives=archives):
        return 0
    print(f"nothing of {options.name} is there")
    return MISSING


def run_list(options: argparse.Namespace) -> int:
    """Print the project's endpoints."""
    found = endpoint.endpoints(Aws(options.region, options.profile))
    for name, status in found:
        print(f"{name}  {status}")
    if not found:
        print("no endpoint of this project")
    return 0


if __name__ == "__main__":
    sys.exit(main())
