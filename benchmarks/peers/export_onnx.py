"""Save the ONNX and OpenVINO files of a sentence-transformers model: ``export_onnx.py MODEL_FOLDER``."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for backend in ("onnx", "openvino"):
        model = SentenceTransformer(str(folder), device="cpu", backend=backend)
        model.save_pretrained(str(folder))
    shutil.copy(folder / "onnx" / "model.onnx", folder / "model.onnx")  # where fastembed looks for it
    # fastembed cuts texts at the lesser of two lengths here; MiniLM's files still name 128, that of its training
    config = folder / "tokenizer_config.json"
    facts = {**json.loads(config.read_text()), "max_length": model.max_seq_length}
    config.write_text(json.dumps(facts, indent=2))
