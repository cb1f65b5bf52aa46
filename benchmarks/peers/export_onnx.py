"""Save the ONNX and OpenVINO files of a sentence-transformers model: ``export_onnx.py MODEL_FOLDER``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for backend in ("onnx", "openvino"):
        SentenceTransformer(str(folder), device="cpu", backend=backend).save_pretrained(str(folder))
    shutil.copy(folder / "onnx" / "model.onnx", folder / "model.onnx")  # where fastembed looks for it
