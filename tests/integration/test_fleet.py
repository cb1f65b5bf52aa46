"""A fleet of real tritonservers: balanced by client and nginx, killed, rolled out on, fed from an object store."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

import boto3
import numpy as np
import psutil
import pytest
import tiny_models
from moto.server import ThreadedMotoServer

from scripts import fleet as command
from workshop.errors import (
    DataInvalidError,
    InferenceError,
    ModelNotReadyError,
    RepositoryError,
    RolloutError,
    ServingError,
    SettingsError,
)
from workshop.loadtest.senders import encode_grpc, grpc_sender
from workshop.scale import fleet
from workshop.scale.endpoints import EndpointPool
from workshop.scale.measure import compare, least_outstanding, measure_service_times
from workshop.scale.object_store import Location, publish
from workshop.scale.proxy import Backend, nginx_config
from workshop.scale.rollout import Probe, roll_out
from workshop.scale.simulator import Deployment
from workshop.stack.private import free_ports, private_settings
from workshop.stack.process import read_identity
from workshop.triton.client import TritonClient
from workshop.triton.endpoint import Endpoint
from workshop.triton.repository import read_config

X = np.arange(6, dtype=np.float32).reshape(2, 3)
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="no nginx on this machine; Debian's package nginx-light has it")


MODEL = """
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            time.sleep(0.005)  # so that requests are under way when something happens
            x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("y", x * np.float32({factor}))]))
        return answers
"""
ROW = ("FP32", [-1])


def write_version(repository, version, factor) -> None:
    """A version of the model ``times``; the first one writes the configuration too."""
    folder = repository / "times"
    if version == 1:
        tiny_models.write_config(folder, "", [("x", *ROW)], [("y", *ROW)], batch=8, extra='backend: "python"')
    (folder / str(version)).mkdir(exist_ok=True)
    (folder / f"{version}/model.py").write_text(MODEL.replace("{factor}", str(factor)))


def probe(factor, tolerance=1e-3):
    return Probe({"x": X}, {"y": X * factor}, tolerance)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    write_version(folder / "models", 1, 2.0)
    return private_settings(folder / "stack", model_repository=folder / "models", triton_control_key="fleet-key")


@pytest.fixture(scope="module")
def servers(settings):
    with fleet.running(settings, 2) as found:
        yield found


@pytest.fixture
def whole(settings, servers):
    """The fleet, with every server running again after the test."""
    yield servers
    fleet.up(settings, 2)


@pytest.fixture
def clients(settings, servers):
    with ExitStack() as open_clients:
        yield [
            open_clients.enter_context(TritonClient.from_settings(settings, url=server.grpc_url, timeout=30))
            for server in servers
        ]


def kill(server) -> None:
    os.kill(read_identity(Path(server.folder), "triton").pid, signal.SIGKILL)


def until(condition, seconds=30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.01)


def requests(count):
    return [{"x": np.full((1, 2), number, np.float32)} for number in range(count)]


def killed_on_the_way(server, at, items):
    """The items, with the server killed before the one at ``at`` is drawn."""
    for number, item in enumerate(items):
        if number == at:
            kill(server)
        yield item


def check_answers(answers, count):
    found = np.concatenate([answer["y"] for answer in answers])
    np.testing.assert_allclose(found, 2 * np.repeat(np.arange(count, dtype=np.float32)[:, None], 2, axis=1), rtol=1e-4)


def test_a_server_that_is_killed_costs_no_request_and_takes_part_again(settings, whole):
    urls = [server.grpc_url for server in whole]
    with EndpointPool(urls, timeout=20, back_off=0.1) as pool:
        answers = list(pool.infer_many("times", killed_on_the_way(whole[1], 20, requests(80))))
        check_answers(answers, 80)
        first, second = pool.statuses()
        assert second.answered > 0
        assert (first.healthy, second.healthy) == (True, False)
        fleet.up(settings, 2)
        until(lambda: pool.infer("times", {"x": X}) and pool.statuses()[1].answered > second.answered)


def test_a_model_that_lacks_on_one_server_is_asked_of_the_other(settings, servers, clients):
    key = settings.triton_control_key  # without it no server says whether it knows the model
    with EndpointPool([server.grpc_url for server in servers], timeout=20, control_key=key) as pool:
        pool.infer("times", {"x": X})
        clients[0].unload_model("times")
        try:
            check_answers([pool.infer("times", inputs) for inputs in requests(4)], 4)
            assert all(status.healthy for status in pool.statuses())
            clients[1].unload_model("times")
            until(lambda: not served(clients[1]))
            with pytest.raises(ModelNotReadyError, match=r"model 'times' at .* is not loaded"):
                pool.infer("times", {"x": X})
        finally:
            for client in clients:
                until(lambda client=client: not served(client))  # a load before the end of the unloading would be lost
                client.load_model("times")


@contextmanager
def proxied(servers, folder):
    """A real nginx before the servers; gives its HTTP and gRPC addresses."""
    http, grpc = (f"127.0.0.1:{port}" for port in free_ports(2))
    backends = [Backend("127.0.0.1", server.http, server.grpc) for server in servers]
    path = folder / "nginx.conf"
    path.write_text(nginx_config(backends, http=http, grpc=grpc, folder=str(folder), timeout=20))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([NGINX, "-c", str(path), "-e", "stderr"], stdout=log, stderr=log)
    try:
        with TritonClient(grpc) as client:
            client.wait_ready("times", timeout=30)
        yield http, grpc
    finally:
        process.terminate()
        process.wait(20)


@needs_nginx
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_behind_nginx_a_server_that_is_killed_costs_no_request(whole, tmp_path, protocol):
    with proxied(whole, tmp_path) as addresses:
        url = addresses[protocol == "grpc"]
        # over HTTP nginx itself asks the other server; over gRPC the client does, see workshop/scale/proxy.py
        with TritonClient(
            url, protocol=protocol, timeout=20, in_flight=4, retries=0 if protocol == "http" else 2
        ) as one:
            check_answers(list(one.infer_many("times", killed_on_the_way(whole[1], 20, requests(80)))), 80)


@needs_nginx
def test_nginx_balances_and_passes_on_what_is_listed_only(settings, whole, clients, tmp_path):
    before = [client.server_time("times").requests for client in clients]
    with proxied(whole, tmp_path) as (http, grpc):
        for protocol, url in (("http", http), ("grpc", grpc)):
            key = settings.triton_control_key
            with TritonClient(url, protocol=protocol, control_key=key, retries=0) as client:
                assert client.is_ready("times")
                assert client.signature("times").max_batch_size == 8
                one_stream = protocol == "grpc"
                check_answers(list(client.infer_many("times", requests(30), one_stream=one_stream)), 30)
                with pytest.raises(ServingError, match="the proxy passes on neither model control nor shared memory"):
                    client.unload_model("times")
    gained = [client.server_time("times").requests - count for client, count in zip(clients, before, strict=True)]
    assert sum(gained) == 60
    assert min(gained) >= 8, "a stream goes to one server, the requests over HTTP to both"


# --- rollout --------------------------------------------------------------------------------------------------
@pytest.fixture
def second_version(settings, clients):
    """Version 2 in the repository; afterwards version 1 serves alone."""
    write_version(settings.model_repository, 2, 3.0)
    yield
    shutil.rmtree(settings.model_repository / "times/2")
    config = read_config(settings.model_repository / "times")
    config.version_policy.specific.versions[:] = [1]
    for client in clients:
        if served(client) != [("times", "1")]:
            client.load_model("times", config)


def served(client) -> list[tuple[str, str]]:
    return [(state.name, state.version) for state in client.models() if state.state == "READY"]


@contextmanager
def asked_all_the_time(servers):
    """Answers of a pool of the servers, asked without a pause while the block runs; an error is raised at its end."""
    factors, errors, end = [], [], threading.Event()

    def ask() -> None:
        one = {"x": np.ones((1, 1), np.float32)}
        with EndpointPool([server.grpc_url for server in servers], timeout=20) as pool:
            while not end.is_set() and not errors:
                try:
                    factors.append(round(float(pool.infer("times", one)["y"][0, 0])))
                except ServingError as error:
                    errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        until(lambda: factors or errors)
        yield factors
    finally:
        end.set()
        thread.join(30)
    assert not errors, errors[0]


def test_a_version_that_computes_something_else_is_never_served(settings, servers, clients, second_version):
    with asked_all_the_time(servers) as factors:
        message = rf"times version 2 failed on {servers[0].grpc_url}: .*'y' differs by 5 .* it was not switched"
        with pytest.raises(RolloutError, match=message):
            roll_out(clients, settings.model_repository, "times", 2, probe(4.0))
    assert set(factors) == {2}
    for client in clients:
        assert served(client) == [("times", "1")]


def test_a_server_that_fails_at_the_switch_takes_the_others_back(settings, servers, clients, second_version):
    second = servers[1].grpc_url

    def spoil(step: str) -> None:
        if step.startswith(f"{second}: switching"):
            (settings.model_repository / "times/2/model.py").write_bytes(b"torn")

    with pytest.raises(RolloutError, match=rf"failed on {second}: .*; all 2 that were switched serve what they served"):
        roll_out(clients, settings.model_repository, "times", 2, probe(3.0), report=spoil)
    for client in clients:
        assert served(client) == [("times", "1")]
        np.testing.assert_allclose(client.infer("times", {"x": X})["y"], 2 * X, rtol=1e-4)


def test_a_version_with_another_signature_is_refused(settings, clients, second_version):
    config = settings.model_repository / "times/config.pbtxt"
    original = config.read_text()
    tiny_models.rewrite(config, "max_batch_size: 8", "max_batch_size: 4")
    try:
        with pytest.raises(
            RolloutError, match=r"its signature is \(x FP32 \[-1\]\) -> .* with at most 4 rows, clients"
        ):
            roll_out(clients, settings.model_repository, "times", 2, probe(3.0))
    finally:
        config.write_text(original)


def test_what_is_not_in_the_repository_changes_nothing(settings, clients):
    with pytest.raises(RepositoryError, match=r"times/9 is no complete version of 'times': it lacks model\.py"):
        roll_out(clients, settings.model_repository, "times", 9, probe(3.0))
    assert served(clients[0]) == [("times", "1")]


# --- what the simulator is fed with, and checked by ---------------------------------------------------------------
def test_service_times_are_measured_and_a_load_on_two_servers_is_predicted(servers, clients):
    signature = clients[0].signature("times")
    requests = {rows: [encode_grpc(signature, {"x": np.ones((rows, 2), np.float32)})] for rows in (1, 8)}

    async def measured():
        async with AsyncExitStack() as stack:
            first = {
                rows: await stack.enter_async_context(grpc_sender(Endpoint(servers[0].grpc_url), encoded))
                for rows, encoded in requests.items()
            }
            times = await measure_service_times(clients[0], "times", first, repeats=20)
            senders = [
                await stack.enter_async_context(grpc_sender(Endpoint(server.grpc_url), requests[1]))
                for server in servers
            ]
            before = [client.server_time("times").requests for client in clients]
            found = await compare(times, Deployment(2), least_outstanding(senders), 60, 1.5, seed=1)
            after = [client.server_time("times").requests for client in clients]
            return times, found, np.subtract(after, before)

    times, found, asked = asyncio.run(measured())
    assert set(times.samples) == {1, 8}
    assert 0.005 <= np.median(times.samples[1]) < 0.05, "the model waits 5 ms for each request"
    assert 0 < times.overhead < 0.05
    assert not found.measured.errors
    assert found.measured.completed > 50
    assert min(asked) > 0.3 * sum(asked)
    alone = 1000 * (times.at(1, 0) + times.overhead)
    assert alone <= found.predicted.percentile(50) <= found.predicted.percentile(95)
    assert abs(found.error) < 1
    with (
        TritonClient("127.0.0.1:1", retries=0) as nobody,
        pytest.raises(InferenceError, match="a request of the measure"),
    ):
        asyncio.run(measure_service_times(nobody, "times", {1: failing}))


async def failing(number: int) -> str:
    return "UNAVAILABLE"


# --- the command ----------------------------------------------------------------------------------------------
@pytest.fixture
def environment(settings, monkeypatch):
    for name in ("stack_dir", "model_repository", "triton_control_key"):
        monkeypatch.setenv(f"WORKSHOP_{name.upper()}", str(getattr(settings, name)))


def test_the_command_shows_the_fleet(environment, servers, capsys):
    assert command.main(["status", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [one["ports"]["grpc"] for one in shown] == [server.grpc for server in servers]
    assert all(one["healthy"] and one["models"] == {"times": "READY"} for one in shown)
    assert command.main(["proxy", "--http", "9000"]) == 0
    config = capsys.readouterr().out
    assert "listen 9000;" in config
    assert config.count("max_fails=1") == 4


def test_a_version_is_rolled_out_while_requests_are_answered(
    environment, servers, clients, second_version, tmp_path, capsys
):
    probe(3.0).save(tmp_path / "probe.npz")
    with asked_all_the_time(servers) as factors:
        assert command.main(["rollout", "times", "2", "--probe", str(tmp_path / "probe.npz")]) == 0
        answered = len(factors)
        until(lambda: len(factors) >= answered + 4)
    first, second = (server.grpc_url for server in servers)
    assert capsys.readouterr().out.splitlines() == [
        f"{first}: verifying times version 2, which does not serve yet",
        f"{second}: verifying times version 2, which does not serve yet",
        f"{first}: switching times from version 1 to version 2",
        f"{second}: switching times from version 1 to version 2",
        "times version 2 serves on 2 servers",
    ]
    assert set(factors) == {2, 3}
    assert factors[-2:] == [3, 3]
    for client in clients:
        assert served(client) == [("times", "2")]
    assert command.main(["rollout", "times", "7", "--probe", str(tmp_path / "probe.npz")]) == 1
    assert "no complete version" in capsys.readouterr().err


def test_a_fleet_that_is_smaller_or_none_is_said_so(settings, whole, environment, capsys):
    kill(whole[1])
    assert command.main(["status"]) == command.NOT_READY
    assert command.main(["up", "1"]) == 0
    assert [server.grpc for server in fleet.servers(settings)] == [whole[0].grpc]
    assert capsys.readouterr().out.endswith(f"WORKSHOP_TRITON_ENDPOINTS={whole[0].grpc_url}\n")
    assert command.main(["up", "0"]) == 1
    assert "a fleet has 1 to 32 servers, asked for 0" in capsys.readouterr().err


# --- an object store ------------------------------------------------------------------------------------------
@pytest.fixture
def bucket(monkeypatch):
    """URL of a folder in a bucket of an S3 server, with its credentials in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}").create_bucket(Bucket="models")
    yield f"s3://http://127.0.0.1:{port}/models/shared/v1"
    server.stop()


def test_the_wheels_server_reads_its_models_from_an_object_store(settings, bucket, tmp_path):
    done = publish(settings.model_repository, bucket)
    assert done.written[-1] == "shared/v1/times/config.pbtxt", "the model is whole before a server can see it"
    assert set(done.written) == {"shared/v1/times/1/model.py", "shared/v1/times/config.pbtxt"}
    assert publish(settings.model_repository, bucket, ["times"]).unchanged == 2
    elsewhere = private_settings(
        tmp_path / "stack", model_repository=tmp_path / "no folder", model_repository_url=bucket
    )
    core = min(os.sched_getaffinity(0))
    with (
        fleet.running(elsewhere, 1, models=["times"], cores=[[core]]) as (server,),
        TritonClient.from_settings(elsewhere, url=server.grpc_url) as client,
    ):
        assert psutil.Process(read_identity(Path(server.folder), "triton").pid).cpu_affinity() == [core]
        np.testing.assert_allclose(client.infer("times", {"x": X})["y"], 2 * X, rtol=1e-4)


def test_what_cannot_be_published_is_said(settings, bucket):
    with pytest.raises(RepositoryError, match=r"models \['nobody'\] are not complete in .*; these are: \['times'\]"):
        publish(settings.model_repository, bucket, ["nobody"])
    with pytest.raises(RepositoryError, match=r"other: .*\n.*check AWS_ACCESS_KEY_ID"):
        publish(settings.model_repository, bucket.replace("/models/", "/other/").removesuffix("/shared/v1"))


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("s3://bucket/a/b", Location(None, "bucket", "a/b")),
        ("s3://bucket", Location(None, "bucket", "")),
        ("s3://https://store.example:9000/bucket/a/", Location("https://store.example:9000", "bucket", "a")),
        ("https://bucket/a", None),
        ("s3://store.example:9000/bucket?x", None),
    ],
)
def test_a_location_is_read_as_triton_does(url, location):
    if location:
        assert Location.parse(url) == location
    else:
        with pytest.raises(SettingsError, match="is no S3 location"):
            Location.parse(url)


# --- what a rollout compares with -----------------------------------------------------------------------------
def test_a_probe_is_kept_whole_texts_too(tmp_path):
    given = Probe({"t": np.array([["a"], ["ö"]], object)}, {"y": X, "z": np.array([b"b", b"c"], object)}, 0.5)
    given.save(tmp_path / "probe.npz")
    found = Probe.load(tmp_path / "probe.npz")
    assert found.inputs["t"].tolist() == [[b"a"], ["ö".encode()]]
    assert found.tolerance == 0.5
    assert found.difference({"y": X + 0.4, "z": np.array([b"b", b"c"], object)}) == ""
    assert "differs by 1 from the expected, 0.5 is allowed" in found.difference({"y": X + 1})
    assert "differs by nan" in found.difference({"y": X * np.nan})
    assert "holds other texts" in found.difference({"y": X, "z": np.array([b"b", b"d"], object)})
    assert "has shape [1, 3], expected [2, 3]" in found.difference({"y": X[:1]})
    assert "no output 'y', it gives ['z']" in found.difference({"z": X})
    (tmp_path / "other.npz").write_bytes(b"text")
    with pytest.raises(DataInvalidError, match=r"other\.npz is no probe"):
        Probe.load(tmp_path / "other.npz")


def test_a_probe_that_unpacks_to_too_much_is_refused_before_it_is_read(tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.npz"
    np.savez_compressed(bomb, **{"input:x": np.zeros(2**21, np.float32), "expected:y": X, "tolerance": 1.0})
    assert bomb.stat().st_size < 2**16
    assert Probe.load(bomb).inputs["x"].nbytes == 2**23
    monkeypatch.setattr("workshop.scale.rollout.LARGEST_PROBE", 2**20)
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(DataInvalidError, match=r"bomb\.npz is no probe: it unpacks to 8,3.* bytes, at most 1,048,576"):
        Probe.load(bomb)


@pytest.mark.parametrize("backends", [[], [Backend("a;b")], [Backend("a", http=0)]])
def test_an_address_that_is_none_gets_no_configuration(backends):
    with pytest.raises(SettingsError):
        nginx_config(backends)
