"""Both ends of ``scripts/build_tensorrt.sh``: ``python scripts/tensorrt_plan.py prepare|place sentence|core FOLDER``.

``prepare`` writes the FP16 graph, the options and the parity inputs for the build; ``place`` holds the built plan's
answers against the float32 model and puts it into the model repository, or (``core``) into that of the endpoint's
archive. The build runs between the two, in a container.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workshop.errors import WorkshopError
from workshop.settings import load_settings
from workshop.text.endpoint.plan import place_core_plan, prepare_core_plan
from workshop.text.endpoint.prepare import endpoint_repository
from workshop.text.prepare_forms import FormMaker


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 1 when it is refused."""
    parser = argparse.ArgumentParser(description="Before and after a TensorRT build")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, does in (
        ("prepare", "write what the build needs; of the served one also what ONNX Runtime runs with TensorRT"),
        ("place", "check the built plan, and place it"),
    ):
        command = commands.add_parser(name, help=does)
        command.add_argument("model", choices=("sentence", "core"), help="the served one, or the endpoint's core")
        command.add_argument("folder", type=Path, help="the work folder")
    place = commands.choices["place"]
    place.add_argument("--gpu", required=True, help="name of the GPU the plan was built on")
    place.add_argument("--tensorrt", required=True, help="release of TensorRT that built it")
    options = parser.parse_args(arguments)
    settings, folder = load_settings(), options.folder
    try:
        if options.command == "prepare" and options.model == "core":
            print(prepare_core_plan(settings, folder))
        elif options.command == "prepare":
            print(FormMaker(settings).prepare_plan(folder))
        else:
            target = {"gpu": options.gpu, "tensorrt": options.tensorrt}
            if options.model == "core":
                sidecar = place_core_plan(settings, folder, endpoint_repository(settings, "tensorrt"), target)
            else:
                sidecar = FormMaker(settings).place_plan(folder, target)
            lowest = min(sidecar.cosines.values())
            print(f"{sidecar.model}: lowest cosine to the float32 model {lowest:.5f}, placed")
            if options.model == "core":
                print("Then: python scripts/sagemaker.py pack --core tensorrt")
    except WorkshopError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
