#!/usr/bin/env python3
"""Fill the parameters of studio-domain-config.json from the environment, and keep what the domain offers already.

``aws sagemaker describe-domain`` on standard input, the arguments of ``update-domain`` on standard output: its list of
images replaces the domain's, so the images that are there go into it. Needs the standard library only.
"""

import json
import os
import string
import sys
from pathlib import Path


def filled(template: str, domain: dict, parameters: dict) -> dict:
    """The arguments of ``UpdateDomain``.

    Args:
        template: text of studio-domain-config.json, with ``${NAME}`` for parameters.
        domain: the answer of ``DescribeDomain``.
        parameters: name to value.

    Raises:
        KeyError: a parameter has no value.
    """
    wanted = json.loads(string.Template(template).substitute(parameters))
    images = wanted["DefaultUserSettings"]["JupyterLabAppSettings"]["CustomImages"]
    ours = {image["ImageName"] for image in images}
    present = domain.get("DefaultUserSettings", {}).get("JupyterLabAppSettings", {}).get("CustomImages", [])
    images.extend(image for image in present if image["ImageName"] not in ours)
    return wanted


def main() -> None:
    """Fill the file that the command line names."""
    template = Path(sys.argv[1]).read_text(encoding="utf-8")
    try:
        arguments = filled(template, json.load(sys.stdin), dict(os.environ))
    except KeyError as error:
        sys.exit(f"the environment lacks the parameter {error}")
    json.dump(arguments, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
