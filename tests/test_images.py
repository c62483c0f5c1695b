"""One picture: whatever a file holds, it is read as a person sees it or refused with its reason."""

import os
import struct
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oddities import (
    NOT_PICTURES,
    SCENE,
    WHOLE_PNG,
    chunk,
    encoded,
    photo,
    png,
    tiff,
    write_oddities,
)
from PIL import Image

from imgrec.core import OptionError, PictureError
from imgrec.images import (
    FORMATS,
    RESIZE_RULES,
    Limits,
    check_image,
    read_image,
    resize_image,
    to_channels,
)

PICTURE = Image.fromarray(SCENE)
GREY = np.repeat(np.asarray(PICTURE.convert("L"))[..., None], 3, axis=-1)
WHITE = [255, 255, 255]


@pytest.fixture
def file(tmp_path):
    "Where a test writes its picture; the name says nothing about the format."
    return tmp_path / "picture"


def off(path, expected, **options):
    "How far the picture that is read is from the expected one, on average."
    seen = read_image(path, **options)
    assert seen.dtype == np.uint8 and seen.shape == expected.shape
    return np.abs(seen.astype(float) - expected).mean()


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_stands_upright_however_the_camera_was_held(file, fmt, orientation):
    file.write_bytes(photo(fmt, orientation))
    assert off(file, SCENE) < 1.5
    verdict = check_image(file)
    assert (verdict.ok, verdict.format) == (True, fmt)
    assert (verdict.height, verdict.width) == (24, 40)


@pytest.mark.parametrize("orientation", [1, 6])
def test_scaled_decoding_shows_the_same_scene_and_is_large_enough(file, orientation):
    file.write_bytes(photo(orientation=orientation, scale=16))
    small = read_image(file, image_size=(24, 24))
    assert small.shape == (48, 80, 3)  # an eighth of 384 x 640, and still larger than asked
    assert np.abs(resize_image(small, (24, 40)).astype(float) - SCENE).mean() < 3


def test_palettes_cmyk_grey_and_bits_look_as_they_should(file):
    for image, fmt, expected, tolerance in [
        (PICTURE.quantize(8), "PNG", SCENE, 1),
        (PICTURE.quantize(8), "GIF", SCENE, 1),
        (PICTURE.quantize(8), "BMP", SCENE, 1),
        (PICTURE.convert("CMYK"), "TIFF", SCENE, 1),
        (PICTURE.convert("CMYK"), "JPEG", SCENE, 2),
        (PICTURE.convert("YCbCr"), "TIFF", SCENE, 2),
        (PICTURE.convert("L"), "JPEG", GREY, 2),
        (PICTURE.convert("L"), "WEBP", GREY, 2),
        (Image.fromarray(GREY[..., 0] > 99), "PNG", 255 * (GREY > 99), 0),
        (Image.fromarray(GREY[..., 0] > 99), "TIFF", 255 * (GREY > 99), 0),
        (Image.fromarray(GREY[..., 0].astype(np.uint16) * 257), "PNG", GREY, 0),
        (Image.fromarray(GREY[..., 0].astype(np.uint16) * 257), "TIFF", GREY, 0),
        (Image.fromarray(GREY[..., 0].astype(np.int32) * 257), "TIFF", GREY, 0),
        (Image.fromarray(GREY[..., 0].astype(np.float32)), "TIFF", GREY, 0),
    ]:
        file.write_bytes(encoded(image, fmt))
        assert off(file, expected) <= tolerance, (image.mode, fmt)
        assert check_image(file).format == fmt


FOUR = [0, 16384, 32768, 65535]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (tiff(4, 16, struct.pack("<4H", *FOUR)), [0, 64, 128, 255]),
        (tiff(4, 16, struct.pack(">4H", *FOUR), order=">"), [0, 64, 128, 255]),
        (tiff(4, 16, struct.pack("<4H", *FOUR), white=0), [255, 191, 127, 0]),
        (tiff(4, 8, bytes([0, 64, 128, 255]), white=0), [255, 191, 127, 0]),
        (tiff(2, 12, bytes([0xFF, 0xF8, 0x00])), [255, 128]),
        (tiff(2, 32, struct.pack("<2f", 0.25, 1.0), kind=3), [64, 255]),
        (tiff(2, 32, struct.pack("<2f", float("nan"), 255.0), kind=3), [0, 255]),
        (png(4, 1, 16, 0, struct.pack(">4H", *FOUR)), [0, 64, 128, 255]),
        (png(4, 1, 2, 0, b"\x1b"), [0, 85, 170, 255]),
        (png(4, 1, 1, 0, b"\xa0"), [255, 0, 255, 0]),
    ],
)
def test_every_depth_of_grey_spans_black_to_white(file, content, expected):
    file.write_bytes(content)
    np.testing.assert_array_equal(read_image(file)[0, :, 0], expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(Image.new("RGBA", (1, 1), (255, 0, 0, 128)), "PNG"), [[255, 127, 127]]),
        (encoded(Image.new("RGBA", (1, 1), (9, 9, 9, 0)), "WEBP", lossless=True), [WHITE]),
        (encoded(Image.new("RGBA", (1, 1), (9, 9, 9, 0)), "TIFF"), [WHITE]),
        (encoded(Image.new("LA", (1, 1), (0, 128)), "PNG"), [[127, 127, 127]]),
        (encoded(Image.new("RGBA", (1, 1), (9, 9, 9, 0)), "GIF"), [WHITE]),
        (  # a palette in which red is opaque, green is clear and blue is half clear
            png(
                *(3, 1, 2, 3, b"\x18"),
                chunk(b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255])),
                chunk(b"tRNS", bytes([255, 0, 128])),
            ),
            [[255, 0, 0], WHITE, [127, 127, 255]],
        ),
        (
            png(2, 1, 8, 2, bytes(range(6)), chunk(b"tRNS", bytes([0, 0, 0, 1, 0, 2]))),
            [WHITE, [3, 4, 5]],
        ),
        (png(2, 1, 16, 0, bytes([0, 0, 0x80, 0]), chunk(b"tRNS", bytes(2))), [WHITE, [128] * 3]),
        (png(1, 1, 16, 4, bytes([0, 0, 0x80, 0])), [[127] * 3]),
        (png(2, 1, 1, 0, b"\x80", chunk(b"tRNS", bytes(2))), [WHITE, WHITE]),
    ],
)
def test_what_is_transparent_shows_white(file, content, expected):
    file.write_bytes(content)
    np.testing.assert_allclose(read_image(file)[0], expected, atol=1)


@pytest.mark.parametrize("fmt", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_shows_its_first_frame_and_says_so(file, fmt):
    later = [Image.new("RGB", PICTURE.size, shade) for shade in ("black", "white")]
    options = {"lossless": True} if fmt == "WEBP" else {}
    file.write_bytes(encoded(PICTURE, fmt, save_all=True, append_images=later, **options))
    assert off(file, SCENE) < 2
    assert check_image(file).note == "several frames: the first is used"
    file.write_bytes(encoded(PICTURE, fmt, **options))
    assert check_image(file).note == ""


def test_a_damaged_second_frame_does_not_spoil_the_first(file):
    whole = encoded(PICTURE, "GIF", save_all=True, append_images=[Image.new("RGB", (40, 24))])
    second = whole.rindex(b"\x21\xf9\x04")  # where the second frame is announced
    file.write_bytes(whole[: second + 4])
    assert check_image(file).ok
    assert off(file, SCENE) < 2


def test_a_phones_jpeg_with_a_second_picture_behind_it_is_a_jpeg(file):
    file.write_bytes(encoded(PICTURE, "MPO", save_all=True, append_images=[PICTURE], quality=95))
    assert check_image(file).format == "JPEG"
    assert off(file, SCENE) < 6
    assert read_image(file, image_size=(12, 12)).shape == (12, 20, 3)


def test_the_content_decides_not_the_name(tmp_path):
    for name in ("photo.jpg", "photo", "photo.txt"):
        (tmp_path / name).write_bytes(WHOLE_PNG)
        assert check_image(tmp_path / name).format == "PNG"


def test_no_picture_is_refused_with_its_reason_and_its_name(tmp_path):
    reasons = write_oddities(tmp_path)
    for name, reason in reasons.items():
        verdict = check_image(tmp_path / name)
        assert not verdict.ok and verdict.reason.startswith(reason), (name, verdict)
        with pytest.raises(PictureError, match="cannot be used as a picture") as error:
            read_image(tmp_path / name)
        assert name in str(error.value) and verdict.reason in str(error.value)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of half a TIFF
@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_that_is_cut_within_its_header_is_truncated_and_no_other_thing(kind, file):
    content = encoded(PICTURE, kind)
    reasons = set()
    for length in range(16, len(content) // 2, 7):
        file.write_bytes(content[:length])
        verdict = check_image(file)
        reasons |= set() if verdict.ok else {verdict.reason.partition(":")[0]}
    assert "truncated" in reasons and "not a picture" not in reasons
    file.write_bytes(content[:20])
    others = Limits(formats=tuple(name for name in FORMATS if name != kind))
    assert check_image(file, others).reason == "not a picture"


@pytest.mark.parametrize("text", [b"BMW 2002, red", b"GIF87 is a format", b"MM, II and RIFF"])
def test_a_text_that_begins_like_a_picture_is_none(text, file):
    file.write_bytes(text)
    assert check_image(file).reason == "not a picture"


def test_folders_and_impossible_names_are_refused(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    assert check_image(tmp_path / "folder.jpg").reason == "not a regular file"
    assert check_image(tmp_path / "folder.jpg" / "in.jpg").reason == "missing"
    assert check_image(tmp_path / ("x" * 300)).reason.startswith("unreadable")
    assert check_image(tmp_path / "a\0b.jpg").reason.startswith("unreadable")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_does_not_make_the_program_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    looks = [threading.Thread(target=check_image, args=[tmp_path / "pipe.jpg"], daemon=True)]
    looks += [threading.Thread(target=check_image, args=["/dev/zero"], daemon=True)]
    for look in looks:
        look.start()
        look.join(10)
        assert not look.is_alive()


@pytest.mark.parametrize(
    "name",
    [
        b"a photo.png",
        b"two\nlines.png",
        b"[1](2){3}*?.png",
        "\N{GRINNING FACE}.png".encode(),
        b"\xe9.png",
    ],
)
def test_any_file_name_will_do(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    try:
        path.write_bytes(WHOLE_PNG)
    except OSError as error:
        pytest.skip(f"this file system refuses such names: {error}")
    assert check_image(path).ok
    assert off(path, SCENE) == 0


def test_a_link_to_a_picture_is_followed(tmp_path):
    (tmp_path / "there.png").write_bytes(WHOLE_PNG)
    (tmp_path / "here.png").symlink_to(tmp_path / "there.png")
    assert check_image(tmp_path / "here.png").ok


def test_limits_are_kept(file):
    file.write_bytes(WHOLE_PNG)
    assert check_image(file, Limits(max_pixels=24 * 40)).ok
    assert check_image(file, Limits(max_pixels=24 * 40 - 1)).reason == "too many pixels: 40 x 24"
    assert check_image(file, Limits(min_side=24)).ok
    assert check_image(file, Limits(min_side=25)).reason == "too small: 40 x 24"
    assert check_image(file, Limits(formats=("JPEG",))).reason == "format not allowed: PNG"
    assert check_image(file, Limits(max_bytes=10)).reason.startswith("too large")
    with pytest.raises(PictureError, match="too small"):
        read_image(file, limits=Limits(min_side=25))


def test_a_huge_announcement_takes_no_memory(tmp_path):
    tracemalloc = pytest.importorskip("tracemalloc")
    (tmp_path / "bomb.png").write_bytes(NOT_PICTURES["bomb.png"][0])
    tracemalloc.start()
    check_image(tmp_path / "bomb.png")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000  # 1.2 GB were announced


SEEDS = [photo(fmt, 6) for fmt in ("JPEG", "PNG", "WEBP", "TIFF")] + [
    encoded(PICTURE, "BMP"),
    encoded(PICTURE, "GIF", save_all=True, append_images=[PICTURE.rotate(180)]),
    encoded(PICTURE.quantize(8), "PNG", transparency=3),
    encoded(Image.fromarray(GREY[..., 0].astype(np.uint16)), "TIFF", compression="tiff_lzw"),
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about what it skips
@settings(deadline=None, max_examples=400, derandomize=True)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    st.integers(1, 3000),
)
def test_hostile_bytes_never_raise_and_the_verdict_is_what_reading_finds(
    tmp_path_factory, content, changes, end
):
    hostile = bytearray(content)
    for place, byte in changes:
        hostile[place % len(hostile)] = byte
    path = tmp_path_factory.getbasetemp() / "hostile"
    path.write_bytes(hostile[:end])
    verdict = check_image(path)
    try:
        shape = read_image(path).shape
    except PictureError:
        assert not verdict.ok and verdict.reason
    else:
        assert verdict.ok and shape == (verdict.height, verdict.width, 3)


sides = st.integers(1, 40)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(sides, sides, sides, sides, st.sampled_from([1, 3]), st.sampled_from(RESIZE_RULES))
def test_resizing_gives_the_size_asked_for_and_invents_no_colour(
    h, w, height, width, channels, rule
):
    image = np.full((h, w, channels), 77, np.uint8)
    resized = resize_image(image, (height, width), rule)
    assert resized.shape == (height, width, channels)
    assert set(np.unique(resized)) <= ({0, 77} if rule == "pad" else {77})


def test_the_three_rules_treat_proportions_as_they_say():
    stripes = np.zeros((20, 60, 3), np.uint8)
    stripes[:, :20], stripes[:, 20:40], stripes[:, 40:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stretch, crop, pad = (resize_image(stripes, (30, 30), rule) for rule in RESIZE_RULES)
    assert stretch[15, [2, 15, 27]].argmax(axis=-1).tolist() == [0, 1, 2]
    assert (crop[:, 5:25].argmax(axis=-1) == 1).all()  # only the middle is left
    assert pad[[0, -1]].max() == 0  # bars above and below
    assert pad[15, [2, 15, 27]].argmax(axis=-1).tolist() == [0, 1, 2]
    with pytest.raises(OptionError, match="squash"):
        resize_image(stripes, (30, 30), "squash")


def test_grey_is_weighted_as_the_eye_does_and_rgb_of_grey_is_grey():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_allclose(to_channels(colours, 1)[0, :, 0], [76, 150, 29], atol=1)
    grey = np.array([[[5], [200]]], np.uint8)
    assert to_channels(grey, 3).tolist() == [[[5] * 3, [200] * 3]]
    assert to_channels(grey[..., 0], 1).shape == (1, 2, 1)
