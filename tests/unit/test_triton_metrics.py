"""Triton's metrics as totals and as rates."""

import pytest
from metrics_page import metrics_page

from workshop.errors import ServerUnreachableError
from workshop.settings import load_settings
from workshop.stack.private import free_ports
from workshop.triton.metrics import ModelCounts, fetch_counts, rates, read_counts, server_gpus

TEXT = """# HELP nv_inference_request_success Number of successful inference requests, all batch sizes
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="bert",version="1"} 10
nv_inference_request_success{model="bert",version="2"} 2
nv_inference_request_failure{model="bert",reason="OTHER",version="1"} 1
nv_inference_request_failure{model="bert",reason="BACKEND",version="1"} 2
nv_inference_count{model="bert",version="1"} 96
nv_inference_exec_count{model="bert",version="1"} 6
nv_inference_request_duration_us{model="bert",version="1"} 240000
nv_inference_queue_duration_us{model="bert",version="1"} 12000
nv_inference_pending_request_count{model="bert",version="1"} 3
nv_inference_request_success{model="quiet",version="1"} 0
nv_cpu_utilization 0.5
"""


def test_versions_and_reasons_are_added_up():
    counts = read_counts(TEXT)
    assert list(counts) == ["bert", "quiet"]
    assert counts["bert"] == ModelCounts(12, 3, 96, 6, pytest.approx(0.24), pytest.approx(0.012), 3)
    assert counts["quiet"] == ModelCounts()


def test_rates_are_of_what_happened_in_between():
    before = {"bert": ModelCounts(10, 0, 40, 10, 1.0, 0.1, 0)}
    now = rates(before, {"bert": ModelCounts(14, 0, 56, 12, 1.2, 0.14, 1)}, seconds=2)["bert"]
    assert now.requests_per_second == 2
    assert now.milliseconds == pytest.approx(50)
    assert now.queue_milliseconds == pytest.approx(10)
    assert now.batch == 8


def test_an_idle_model_has_no_latency_and_a_reloaded_one_begins_anew():
    same = ModelCounts(10, 0, 40, 10, 1.0, 0.1, 0)
    idle = rates({"bert": same}, {"bert": same}, seconds=1)["bert"]
    assert (idle.requests_per_second, idle.milliseconds, idle.batch) == (0, None, None)
    again = rates({"bert": same}, {"bert": ModelCounts(2, 0, 2, 2, 0.1, 0.0, 0)}, seconds=1)["bert"]
    assert (again.requests_per_second, again.milliseconds) == (2, pytest.approx(50))


def test_a_server_without_metrics_is_an_error_that_says_where():
    (port,) = free_ports(1)
    with pytest.raises(ServerUnreachableError, match=f"no metrics of Triton at http://127.0.0.1:{port}/metrics"):
        fetch_counts(load_settings(triton_host="127.0.0.1", triton_metrics_port=port))


GPU_LINES = """nv_gpu_utilization{gpu_uuid="GPU-1"} 0
nv_gpu_utilization{gpu_uuid="GPU-2"} 0.4
nv_gpu_memory_total_bytes{gpu_uuid="GPU-1"} 24146608128
nv_gpu_memory_total_bytes{gpu_uuid="GPU-2"} 24146608128
"""


@pytest.mark.parametrize(("text", "gpus"), [(TEXT, 0), (TEXT + GPU_LINES, 2)], ids=["processor only", "two GPUs"])
def test_the_metrics_say_how_many_gpus_a_server_has(tmp_path, text, gpus):
    with metrics_page(text, tmp_path) as settings:
        assert server_gpus(settings) == gpus


def test_gpus_are_not_known_where_the_metrics_are_off_or_do_not_answer():
    (port,) = free_ports(1)
    assert server_gpus(load_settings(triton_host="127.0.0.1", triton_metrics_port=port)) is None
    assert server_gpus(load_settings(triton_metrics_port=0)) is None
