"""Which precision `auto` stands for, by the device of the server."""

import pytest
import torch
from metrics_page import metrics_page

from workshop.settings import load_settings
from workshop.stack.private import free_ports
from workshop.text import sources
from workshop.text.sources import served_precision

GPU_PAGE = 'nv_gpu_utilization{gpu_uuid="GPU-1"} 0\n'
CPU_PAGE = "nv_cpu_utilization 0.5\n"


def here(monkeypatch, *, units, cuda, cuda_bf16=True):
    """This process sees such a processor and such a GPU."""
    monkeypatch.setattr(sources, "cpu_has_bf16_units", lambda: units)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: cuda_bf16)


@pytest.mark.parametrize(
    ("page", "seen", "expected"),
    [
        (CPU_PAGE, {"units": True, "cuda": False}, "bf16"),
        (CPU_PAGE, {"units": False, "cuda": False}, "fp32"),
        (CPU_PAGE, {"units": False, "cuda": True}, "fp32"),
        (GPU_PAGE, {"units": True, "cuda": False}, "fp32"),
        (GPU_PAGE, {"units": False, "cuda": True}, "bf16"),
        (GPU_PAGE, {"units": True, "cuda": True, "cuda_bf16": False}, "fp32"),
    ],
)
def test_auto_is_decided_by_the_servers_device(monkeypatch, tmp_path, page, seen, expected):
    here(monkeypatch, **seen)
    with metrics_page(page, tmp_path) as settings:
        assert served_precision(settings.model_copy(update={"precision": "auto"})) == expected
        assert served_precision(settings.model_copy(update={"precision": "fp16"})) == "fp16"


@pytest.mark.parametrize("seen", [{"units": True, "cuda": False}, {"units": False, "cuda": True}])
def test_this_process_decides_where_no_server_answers(monkeypatch, seen):
    here(monkeypatch, **seen)
    (port,) = free_ports(1)
    settings = load_settings(triton_host="127.0.0.1", triton_metrics_port=port, precision="auto")
    assert served_precision(settings) == "bf16"
