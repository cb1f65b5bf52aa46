"""Classify pictures with a served model, with the options of Triton's example image client.

python scripts/image_client.py photo.jpg -c 3
python scripts/image_client.py -m image_classifier -s INCEPTION -b 4 -i gRPC --streaming folder/

Works with any model that takes one NCHW or NHWC picture and gives one vector of scores. Without -s the pictures are
made as the served model's parameters say. A file that cannot be used is named, and the others of its folder go on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from workshop.data.images import photos_in
from workshop.errors import DataInvalidError, DataMissingError, WorkshopError
from workshop.settings import load_settings
from workshop.triton.client import TritonClient
from workshop.vision.classification import SCALINGS, ClassifierForm, classifier_form
from workshop.vision.preprocessing import PictureError, decode

IN_FLIGHT = 8


def main(arguments: list[str] | None = None) -> int:
    """Classify and print; the exit code is 1 when nothing could be classified or the server failed."""
    options = parse(arguments)
    try:
        classify(options)
    except WorkshopError as error:
        print(f"FAIL: {error}", file=sys.stderr)
        return 1
    print("PASS")
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line's options, checked against each other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path, help="a picture, or a folder of pictures")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is sent")
    parser.add_argument("-a", "--async", dest="asynchronous", action="store_true", help="several requests at a time")
    parser.add_argument("--streaming", action="store_true", help="all requests over one stream; needs -i gRPC")
    parser.add_argument("-m", "--model-name", default="image_classifier", help="default: %(default)s")
    parser.add_argument("-x", "--model-version", default="", help="default: the version that the server chooses")
    parser.add_argument("-b", "--batch-size", type=int, default=1, help="pictures a request, default: %(default)s")
    parser.add_argument("-c", "--classes", type=int, default=1, help="classes to show, default: %(default)s")
    parser.add_argument("-s", "--scaling", choices=SCALINGS, help="default: what the served model describes")
    parser.add_argument("-u", "--url", help="host:port, default: the settings'")
    parser.add_argument("-i", "--protocol", type=str.lower, choices=["http", "grpc"], help="default: http")
    options = parser.parse_args(arguments)
    options.protocol = options.protocol or "http"
    if options.streaming and options.protocol != "grpc":
        parser.error("--streaming needs -i gRPC")
    if options.batch_size < 1 or options.classes < 1:
        parser.error("-b and -c are positive numbers")
    return options


def classify(options: argparse.Namespace) -> None:
    """Send the pictures and print the answers as they come."""
    many = options.asynchronous or options.streaming
    given = {"url": options.url} if options.url else {}
    client = TritonClient.from_settings(
        load_settings(triton_protocol=options.protocol), in_flight=IN_FLIGHT if many else 1, **given
    )
    with client:
        form = classifier_form(client.signature(options.model_name), options.scaling)
        names, tensors = read_pictures(options.image, form)
        batches = list(wrapped_batches(len(tensors), options.batch_size))
        requests = (form.inputs([tensors[index] for index in batch]) for batch in batches)
        if options.verbose:
            print(f"model {form.signature.name}: {form.signature.inputs[0]}, {form.preprocessing}")
        answers = client.infer_many(
            form.signature.name,
            requests,
            version=options.model_version,
            classes=options.classes,
            one_stream=options.streaming,
        )
        for number, (batch, answer) in enumerate(zip(batches, answers, strict=True), start=1):
            print(f"Request {number}, batch size {len(batch)}")
            for index, classes in zip(batch, form.classes(answer), strict=True):
                if options.verbose:
                    print(f"  {names[index]}")
                for found in classes:
                    print(f"    {found}")


def read_pictures(path: Path, form: ClassifierForm) -> tuple[list[str], list[np.ndarray]]:
    """Names and tensors of a picture or a folder of them; files that cannot be used are named and left out.

    Raises:
        DataMissingError: no such file or folder, or an empty one.
        DataInvalidError: no picture can be used.
    """
    if not path.exists():
        raise DataMissingError(f"{path} does not exist", hint="name a picture or a folder of pictures")
    files = [photo.path for photo in photos_in(path)] if path.is_dir() else [path]
    names, tensors = [], []
    for file in files:
        try:
            tensors.append(form.tensor(decode(file.read_bytes())))
            names.append(file.name)
        except (PictureError, OSError) as error:
            print(f"skipped {file}: {error}", file=sys.stderr)
    if not tensors:
        raise DataInvalidError(f"{path}: none of {len(files)} files is a picture that can be used")
    return names, tensors


def wrapped_batches(pictures: int, size: int) -> Iterator[list[int]]:
    """Positions of pictures in batches of ``size``; the last one is filled up from the first pictures."""
    for start in range(0, pictures, size):
        yield [index % pictures for index in range(start, start + size)]


if __name__ == "__main__":
    sys.exit(main())
