"""The served image classifier, its ensemble and the command-line client, on the real tritonserver."""

import shutil

import numpy as np
import onnx
import pytest
import torch
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from onnx import TensorProto, helper
from pictures import encoded, noise, unusable
from PIL import Image
from tritonclient.utils import InferenceServerException

from scripts import image_client
from workshop.data.images import sample_photos
from workshop.errors import InferenceError, SignatureError, TensorShapeError
from workshop.export.torchscript import load_traced
from workshop.triton.client import TritonClient
from workshop.triton.signature import ModelSignature, TensorSpec, write_config
from workshop.vision.classification import classifier_form
from workshop.vision.prepare import TOLERANCE, prepare_image_classifier
from workshop.vision.preprocessing import decode
from workshop.vision.signatures import IMAGE_MODELS
from workshop.vision.sources import imagenet_labels

MODELS = ["image_classifier", "image_decoder", "image_classification"]
UNUSABLE = unusable()
CAT = next(photo for photo in sample_photos() if photo.name == "cat")


@pytest.fixture(scope="module")
def served(local_stack):
    """Settings of the running stack, with the image models traced and loaded."""
    prepare_image_classifier(local_stack)
    with TritonClient.from_settings(local_stack) as client:
        for name in MODELS:
            client.load_model(name)
    return local_stack


@pytest.fixture
def run(served, monkeypatch, capsys):
    """Run the command-line client against the stack; returns its exit code, what it printed, and its complaints."""
    monkeypatch.setenv("WORKSHOP_TRITON_HTTP_PORT", str(served.triton_http_port))
    monkeypatch.setenv("WORKSHOP_TRITON_GRPC_PORT", str(served.triton_grpc_port))

    def run(*arguments):
        code = image_client.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three photos, and between them a file that is none and two that cannot be read."""
    folder = tmp_path_factory.mktemp("photos")
    for number, photo in enumerate(sample_photos()[:3]):
        shutil.copy(photo.path, folder / f"{number}{photo.path.suffix}")
    (folder / "1b.jpg").write_bytes(b"not a picture")
    (folder / "1c.jpg").symlink_to("/proc/self/mem")  # a file that root, too, cannot read
    (folder / "1d.jpg").symlink_to(folder / "gone.jpg")
    (folder / ".hidden").write_bytes(b"not looked at")
    return folder


def test_bytes_and_tensors_give_the_answer_of_the_file(client, served):
    form = classifier_form(client.signature("image_classifier"))
    photos = sample_photos()[:3]
    tensors = [form.tensor(decode(photo.path.read_bytes())) for photo in photos]
    raw = client.infer("image_classifier", form.inputs(tensors))["probabilities__0"]
    sent = np.array([[photo.path.read_bytes()] for photo in photos], dtype=object)
    from_bytes = client.infer("image_classification", {"IMAGE": sent})["PROBABILITIES"]
    with torch.no_grad():
        traced = load_traced(served.model_repository / "image_classifier/1/model.pt")
        local = traced(torch.from_numpy(np.stack(tensors)))
    assert np.abs(raw - local.numpy()).max() <= TOLERANCE
    assert np.abs(raw - from_bytes).max() <= TOLERANCE
    labels = imagenet_labels()
    assert all(labels[row.argmax()] in photo.labels for row, photo in zip(raw, photos, strict=True))


def test_triton_names_the_best_classes_of_tensors_and_of_bytes(client):
    form = classifier_form(client.signature("image_classifier"))
    picture = decode(CAT.path.read_bytes())
    answer = client.infer("image_classifier", form.inputs([form.tensor(picture)] * 2), classes=3)
    best, again = form.classes(answer)
    assert [found.label for found in best] == ["tiger cat", "Egyptian cat", "tabby"]
    assert [found.index for found in again] == [282, 285, 281]
    assert best[0].score > best[1].score > best[2].score > 0
    sent = np.array([[CAT.path.read_bytes()]], dtype=object)
    text = client.infer("image_classification", {"IMAGE": sent}, classes=1)["PROBABILITIES"][0, 0]
    assert text.decode().endswith(":282:tiger cat")


def test_the_configuration_is_what_tritons_example_client_demands(served):
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{served.triton_grpc_port}") as client:
        metadata = client.get_model_metadata("image_classifier")
        config = client.get_model_config("image_classifier").config
    assert [(i.datatype, list(i.shape)) for i in metadata.inputs] == [("FP32", [-1, 3, 224, 224])]
    assert [(o.datatype, list(o.shape)) for o in metadata.outputs] == [("FP32", [-1, 1000])]
    assert config.input[0].format == config.input[0].FORMAT_NCHW
    assert config.max_batch_size > 0


def test_tritons_example_client_finds_the_same_over_http(served):
    """What it reads before it sends, and how it asks for names and takes the answer apart."""
    form = classifier_form(IMAGE_MODELS[0])
    with triton_http.InferenceServerClient(f"127.0.0.1:{served.triton_http_port}") as client:
        metadata = client.get_model_metadata("image_classifier")
        config = client.get_model_config("image_classifier")
        ((source,), (scores,)) = metadata["inputs"], metadata["outputs"]
        tensor = triton_http.InferInput(source["name"], [2, *source["shape"][1:]], source["datatype"])
        tensor.set_data_from_numpy(np.stack([form.tensor(decode(CAT.path.read_bytes()))] * 2))
        wanted = triton_http.InferRequestedOutput(scores["name"], class_count=2)
        answer = client.infer("image_classifier", [tensor], outputs=[wanted]).as_numpy(scores["name"])
    assert (source["datatype"], source["shape"]) == ("FP32", [-1, 3, 224, 224])
    assert (scores["datatype"], scores["shape"]) == ("FP32", [-1, 1000])
    assert [tensor["format"] for tensor in config["input"]] == ["FORMAT_NCHW"]
    assert config["max_batch_size"] > 0
    assert [["".join(map(chr, text)).split(":")[1:] for text in row] for row in answer] == [
        [["282", "tiger cat"], ["285", "Egyptian cat"]]
    ] * 2


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_picture_that_cannot_be_used_is_a_clear_error_and_the_server_goes_on(client, name):
    data, reason = UNUSABLE[name]
    with pytest.raises(InferenceError, match=f"IMAGE 1: .*({reason})"):
        client.infer("image_classification", {"IMAGE": np.array([[encoded(noise())], [data]], dtype=object)})
    answer = client.infer("image_classification", {"IMAGE": np.array([[encoded(noise())]], dtype=object)})
    assert answer["PROBABILITIES"].sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("model", "name", "dtype", "shape"),
    [
        ("image_classifier", "image__0", "FP32", [1, 3, 224, 225]),
        ("image_classifier", "image__0", "FP32", [1, 224, 224, 3]),
        ("image_classifier", "image__0", "FP32", [3, 224, 224]),
        ("image_classifier", "image__0", "UINT8", [1, 3, 224, 224]),
        ("image_classifier", "image__0", "FP32", [33, 3, 224, 224]),
        ("image_classifier", "image__0", "FP32", [0, 3, 224, 224]),
        ("image_decoder", "IMAGE", "BYTES", [1, 2]),
        ("image_decoder", "IMAGE", "BYTES", [0, 1]),
        ("image_decoder", "IMAGE", "FP32", [1, 1]),
        ("image_classification", "IMAGE", "BYTES", [1]),
        ("image_classification", "IMAGE", "BYTES", [0, 1]),
    ],
)
def test_wrong_shapes_and_types_are_refused_by_the_server_itself(served, model, name, dtype, shape):
    tensor = triton_http.InferInput(name, shape, dtype)
    kinds = {"FP32": np.float32, "UINT8": np.uint8, "BYTES": object}
    tensor.set_data_from_numpy(np.full(shape, b"x" if dtype == "BYTES" else 0, dtype=kinds[dtype]))
    with triton_http.InferenceServerClient(f"127.0.0.1:{served.triton_http_port}") as client:
        with pytest.raises(InferenceServerException, match=r"shape|data-type|batch-size|byte size|elements|unexpected"):
            client.infer(model, [tensor])
        assert client.is_model_ready(model)


@pytest.mark.parametrize("model", ["image_classifier", "image_classification"])
def test_zero_pictures_are_refused(client, model):
    spec = client.signature(model).inputs[0]
    with pytest.raises(TensorShapeError, match="at least one row"):
        client.infer(model, {spec.name: np.empty((0, *spec.dims), dtype=spec.numpy_dtype)})


@pytest.mark.parametrize("mode", [[], ["-a"], ["-i", "gRPC"], ["-i", "gRPC", "-a"], ["-i", "gRPC", "--streaming"]])
def test_every_way_of_sending_gives_the_same_lines(run, folder, mode):
    code, lines, complaints = run("-b", 2, "-c", 2, *mode, folder)
    assert code == 0
    assert [line for line in lines if not line.startswith("    ")] == [
        "Request 1, batch size 2",
        "Request 2, batch size 2",
        "PASS",
    ]
    found = [line.partition(" = ")[2] for line in lines if line.startswith("    ")]
    # the second batch is filled up with the first picture
    assert found == ["tiger cat", "Egyptian cat", "espresso", found[3], "tripod", found[5], "tiger cat", "Egyptian cat"]
    assert "1b.jpg: not a picture" in complaints
    assert "1c.jpg: [Errno 5]" in complaints
    assert "1d.jpg: [Errno 2]" in complaints


def test_the_lines_have_the_form_people_know(run):
    code, lines, _ = run(CAT.path)
    assert code == 0
    assert lines[0] == "Request 1, batch size 1"
    assert lines[1].startswith("    0.")
    assert lines[1].endswith(" (282) = tiger cat")
    assert lines[2:] == ["PASS"]


def test_the_wrong_scaling_changes_the_answer(run):
    _, described, _ = run(CAT.path)
    _, whole, _ = run("-s", "INCEPTION", CAT.path)
    _, unscaled, _ = run("-s", "NONE", CAT.path)
    assert described[1] != whole[1] != unscaled[1]
    assert "cat" not in unscaled[1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-m", "no_such_model", CAT.path], "no_such_model"),
        (["-m", "image_classification", CAT.path], "no image classifier of the expected form"),
        (["-x", "7", CAT.path], "version 7"),
        (["-b", "40", CAT.path], "40 pictures, expected 1 to 32"),
        (["-u", "127.0.0.1:1", CAT.path], "no Triton server answers"),
        (["/no/such/file.jpg"], "does not exist"),
        ([__file__], "none of 1 files is a picture"),
    ],
)
def test_what_cannot_be_done_is_said(run, arguments, reason):
    code, lines, complaints = run(*arguments)
    assert code == 1
    assert "PASS" not in lines
    assert reason in complaints


def test_an_empty_folder_is_said(run, tmp_path):
    code, _, complaints = run(tmp_path)
    assert code == 1
    assert "holds no files" in complaints


def test_streaming_needs_grpc(run, capsys):
    with pytest.raises(SystemExit):
        run("--streaming", CAT.path)
    assert "--streaming needs -i gRPC" in capsys.readouterr().err


INCEPTION = ModelSignature(
    name="inception_graphdef",
    platform="onnxruntime_onnx",
    inputs=(TensorSpec("input", "FP32", (299, 299, 3), format="FORMAT_NHWC"),),
    outputs=(TensorSpec("InceptionV3/Predictions/Softmax", "FP32", (1001,), label_filename="inception_labels.txt"),),
    max_batch_size=128,
)


@pytest.fixture
def inception(served):
    """A small graph behind the configuration of the Inception model that Triton's quickstart served in 2021."""
    folder = served.model_repository / INCEPTION.name
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["colour"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["scores"]),
        helper.make_node("Softmax", ["scores"], [INCEPTION.outputs[0].name], axis=1),
    ]
    weights = np.zeros((3, 1001), dtype=np.float32)
    weights[0, 1], weights[1, 2], weights[2, 3] = 20, 20, 20
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 299, 299, 3])],
        [helper.make_tensor_value_info(INCEPTION.outputs[0].name, TensorProto.FLOAT, ["batch", 1001])],
        [helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.ravel())],
    )
    (folder / "1").mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "1/model.onnx")
    write_config(INCEPTION, served.model_repository)
    names = ["BACKGROUND", "RED", "GREEN", "BLUE", *(f"CLASS {n}" for n in range(4, 1001))]
    (folder / "inception_labels.txt").write_text("\n".join(names))
    with TritonClient.from_settings(served) as client:
        client.load_model(INCEPTION.name)
        yield
        client.unload_model(INCEPTION.name)
    shutil.rmtree(folder)


@pytest.mark.parametrize("mode", [["-i", "http"], ["-i", "grpc", "--streaming"]])
def test_the_inception_graph_of_2021_works_too(run, inception, tmp_path, mode):
    for name, colour in {"a": (250, 10, 10), "b": (10, 250, 10), "c": (10, 10, 250)}.items():
        (tmp_path / f"{name}.png").write_bytes(encoded(Image.new("RGB", (40, 30), colour)))
    code, lines, _ = run("-m", INCEPTION.name, "-s", "INCEPTION", "-b", 3, *mode, tmp_path)
    assert code == 0
    assert [line.partition(" = ")[2] for line in lines if line.startswith("    ")] == ["RED", "GREEN", "BLUE"]


def test_models_of_another_form_are_refused_with_what_differs():
    def classifier(**changes):
        fields = {
            "inputs": (TensorSpec("x", "FP32", (3, 8, 8), format="FORMAT_NCHW"),),
            "outputs": (TensorSpec("y", "FP32", (10,)),),
            **changes,
        }
        return ModelSignature("some", platform="onnxruntime_onnx", max_batch_size=4, **fields)

    assert classifier_form(classifier()).channels_first
    for changes, reason in (
        ({"outputs": (TensorSpec("y", "FP32", (10, 7)),)}, "expected one FP32 vector"),
        ({"outputs": (TensorSpec("y", "INT64", (10,)),)}, "expected one FP32 vector"),
        ({"inputs": (TensorSpec("x", "FP32", (3, 8, 8)),)}, "expected NCHW or NHWC"),
        ({"inputs": (TensorSpec("x", "FP32", (3, -1, -1), format="FORMAT_NCHW"),)}, "expected 3 fixed sizes"),
        ({"inputs": (TensorSpec("x", "FP32", (4, 8, 8), format="FORMAT_NCHW"),)}, "4 channels, expected 1 or 3"),
        ({"inputs": ()}, "0 inputs and 1 outputs"),
    ):
        with pytest.raises(SignatureError, match=reason):
            classifier_form(classifier(**changes))
