"""Encoded pictures to tensors: what is refused, what is cropped, and that the arithmetic is the published one."""

import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded, noise, unusable
from PIL import Image

from workshop.vision.preprocessing import PictureError, Preprocessing, decode
from workshop.vision.signatures import EFFICIENTNET_LITE0, image_classifier

UNUSABLE = unusable()
WHOLE = [encoded(noise(), kind) for kind in ("JPEG", "PNG", "GIF", "TIFF")]


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_picture_that_cannot_be_used_is_refused_with_its_reason(name):
    data, reason = UNUSABLE[name]
    with pytest.raises(PictureError, match=reason):
        decode(data)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_eight_bit_grey_palette_and_rgb_are_decoded_to_rgb(mode):
    picture = decode(encoded(noise().convert(mode)))
    assert (picture.mode, picture.size) == ("RGB", (64, 48))


def test_an_alpha_channel_without_effect_is_dropped():
    opaque = noise()
    with_alpha = opaque.copy()
    with_alpha.putalpha(255)
    assert np.array_equal(np.asarray(decode(encoded(with_alpha))), np.asarray(opaque))


def test_a_phone_photo_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(noise(64, 48), "JPEG", exif=exif)).size == (48, 64)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_damaged_files_are_refused_or_decoded_and_nothing_else(data):
    damaged = bytearray(data.draw(st.sampled_from(WHOLE)))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PictureError):
        assert decode(bytes(damaged[: data.draw(st.integers(1, len(damaged)))])).mode == "RGB"


@given(st.integers(2, 3000), st.integers(2, 3000), st.floats(0.01, 1))
def test_the_crop_lies_inside_is_central_and_has_the_inputs_shape(width, height, crop):
    left, upper, right, lower = Preprocessing(224, 224, crop).crop_box(width, height)
    assert 0 <= left < right <= width
    assert 0 <= upper < lower <= height
    assert abs((right - left) - (lower - upper)) <= 1
    assert abs(left - (width - right)) <= 1
    assert right - left == max(1, round(crop * min(width, height)))


def test_without_a_crop_the_whole_picture_is_squeezed():
    assert Preprocessing(20, 10, 0.0).crop_box(300, 40) == (0, 0, 300, 40)


def test_the_tensor_of_efficientnet_is_the_published_arithmetic():
    picture = noise(300, 260)
    edge = round(0.875 * 260)
    left, upper = (300 - edge) // 2, (260 - edge) // 2
    resized = picture.resize((224, 224), Image.Resampling.BICUBIC, box=(left, upper, left + edge, upper + edge))
    expected = (np.asarray(resized, dtype=np.float32) - 127) / 128
    tensor = EFFICIENTNET_LITE0.tensor(picture)
    assert tensor.shape == (3, 224, 224)
    assert tensor.dtype == np.float32
    assert np.abs(tensor.transpose(1, 2, 0) - expected).max() < 1e-6


def test_the_description_survives_the_models_configuration():
    parameters = {name: value.string_value for name, value in image_classifier().to_config().parameters.items()}
    assert Preprocessing.from_parameters(parameters) == EFFICIENTNET_LITE0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"crop": "1.5"}, "crop 1.5"),
        ({"interpolation": "magic"}, "'magic'"),
        ({"deviation": "1, 0, 1"}, "deviation"),
        ({"mean": "1, 2"}, "3 finite numbers each"),
        ({"height": "-1"}, "expected positive"),
        ({"width": "wide"}, "wide"),
    ],
)
def test_a_description_that_cannot_be_followed_is_named(change, reason):
    with pytest.raises(ValueError, match=reason):
        Preprocessing.from_parameters({**EFFICIENTNET_LITE0.to_parameters(), **change})


def test_a_missing_part_of_a_description_is_named():
    parameters = EFFICIENTNET_LITE0.to_parameters()
    del parameters["mean"]
    with pytest.raises(ValueError, match="without 'mean'"):
        Preprocessing.from_parameters(parameters)


def test_pictures_are_read_by_content_whatever_pillow_can_write():
    for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"):
        assert Image.open(io.BytesIO(encoded(noise(), kind))).format == kind
        assert decode(encoded(noise(), kind)).size == (64, 48)
