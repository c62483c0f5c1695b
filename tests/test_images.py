"""One picture: whatever a file holds, it is read as a person sees it or refused with its reason."""

import io
import os
import struct
import threading

import numpy as np
import pytest
import pyvips
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from oddities import (
    GREY,
    NOT_PICTURES,
    PICTURE,
    SCENE,
    WHOLE_PNG,
    changed,
    chunk,
    encoded,
    photo,
    png,
    rotten,
    tiff,
    webp_bomb,
    with_alpha,
    write_odd_folder,
    write_oddities,
)
from PIL import Image, ImageFile
from skimage import data as photos

from imgrec import images
from imgrec.core import OptionError, PictureError
from imgrec.images import (
    FORMATS,
    REASONS,
    RESIZE_RULES,
    Limits,
    check_image,
    decode_image,
    picture_bytes,
    read_image,
    resize_image,
    to_channels,
)

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


def test_an_odd_folder_is_read_as_designed(tmp_path):
    many = write_odd_folder(tmp_path)
    assert len(many) > 80
    for name, odd in many.items():
        verdict = check_image(tmp_path / name)
        if odd.reason:
            assert not verdict.ok and verdict.reason.startswith(odd.reason), (name, verdict)
        else:
            assert verdict.ok and verdict.note.startswith(odd.note), (name, verdict)
            assert off(tmp_path / name, odd.pixels) <= odd.off, name
        assert verdict.ok or verdict.reason.startswith(REASONS), (name, verdict)


# ---- against another library


def by_vips(content):
    "What libvips shows of a file: upright, on white, 8 bit."
    image = pyvips.Image.new_from_buffer(content, "").autorot()
    if image.interpretation == "cmyk":  # without a colour profile: what no ink covers is seen
        inks = image.numpy().astype(float)
        return (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255
    if image.interpretation in ("grey16", "rgb16", "b-w"):
        image = image.colourspace("srgb")
    image = image.cast("uchar")
    if image.hasalpha():
        image = image.flatten(background=[255] * (image.bands - 1))
    pixels = image.numpy().reshape(image.height, image.width, -1)
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


REAL = Image.fromarray(photos.coffee()).resize((150, 100))
SLOPE = Image.fromarray(np.tile(np.linspace(0, 255, 150).astype(np.uint8), (100, 1)))
SEE_THROUGH = REAL.copy()
SEE_THROUGH.putalpha(SLOPE)
SIXTEEN = Image.fromarray(np.asarray(REAL.convert("L")).astype(np.uint16) * 257)
SIXTEEN_RGB = (np.asarray(REAL)[0].astype(np.uint16) * 257 + 3).astype(">u2").tobytes()


def held(orientation, fmt="JPEG"):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(REAL, fmt, exif=exif)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        *((f"orientation {turn}", held(turn)) for turn in range(1, 9)),
        ("orientation of a PNG", held(6, "PNG")),
        ("orientation of a WebP", held(8, "WEBP")),
        ("orientation of a TIFF", held(5, "TIFF")),
        ("transparency", encoded(SEE_THROUGH, "PNG")),
        ("transparency of a WebP", encoded(SEE_THROUGH, "WEBP", lossless=True)),
        ("transparency of a GIF", encoded(with_alpha(PICTURE), "GIF")),
        ("transparent grey (LA)", encoded(SEE_THROUGH.convert("LA"), "PNG")),
        ("16 bit", encoded(SIXTEEN, "PNG")),
        ("16 bit TIFF", encoded(SIXTEEN, "TIFF")),
        ("16 bit RGB", png(150, 24, 16, 2, SIXTEEN_RGB)),
        ("CMYK", encoded(REAL.convert("CMYK"), "JPEG", quality=90)),
        ("CMYK, as scanners write", encoded(REAL.convert("CMYK"), "JPEG", subsampling=0)),
        ("CMYK TIFF", encoded(REAL.convert("CMYK"), "TIFF")),
        ("palette", encoded(REAL.quantize(200), "PNG")),
        ("palette of a GIF", encoded(REAL.quantize(200), "GIF")),
        ("1 bit", encoded(REAL.convert("1"), "PNG")),
        ("1 bit TIFF", encoded(REAL.convert("1"), "TIFF")),
        ("grey", encoded(REAL.convert("L"), "JPEG")),
        ("progressive", encoded(REAL, "JPEG", progressive=True)),
        ("first frame", encoded(REAL, "GIF", save_all=True, append_images=[REAL.rotate(90)])),
        ("first page", encoded(REAL, "TIFF", save_all=True, append_images=[REAL.rotate(90)])),
    ],
)
def test_a_picture_is_what_another_library_shows(file, kind, content):
    file.write_bytes(content)
    assert off(file, by_vips(content)) <= 1, kind


# ---- JPEG: what libjpeg warns about, and smaller scales


def said(content):
    "The verdict on a file's content: its reason, or its note."
    try:
        return decode_image(content)[1].note
    except PictureError as reason:
        return str(reason)


LARGE = encoded(Image.fromarray(photos.astronaut()).resize((200, 160)), "JPEG", quality=90)


@pytest.mark.parametrize("length", [1, 40])
def test_a_jpeg_that_other_readers_mend_in_silence_is_damaged(length):
    found = [said(rotten(LARGE, place / 20, length)) for place in range(2, 20)]
    assert sum(reason.startswith("damaged") for reason in found) >= len(found) // 2
    assert all(reason == "" or reason.startswith(REASONS) for reason in found)


def test_most_lost_sectors_are_noticed():
    start = LARGE.index(b"\xff\xda") + 14
    places = range(start, len(LARGE) - 512, 512)
    found = [said(LARGE[:place] + bytes(512) + LARGE[place + 512 :]) for place in places]
    assert sum(reason.startswith("damaged") for reason in found) >= len(found) / 2


ODD_HEADERS = {
    "JFIF revision": changed(LARGE, b"JFIF", 5, 2),
    "SOS parameters": changed(LARGE, b"\xff\xda", 12, 5),
    "ICC marker": LARGE[:2] + b"\xff\xe2\0\x14ICC_PROFILE\0\5\2abcd" + LARGE[2:],
    "Adobe": changed(encoded(REAL.convert("CMYK"), "JPEG", subsampling=0), b"Adobe", 11, 9),
}


@pytest.mark.parametrize("kind", ODD_HEADERS)
def test_an_odd_header_is_a_note_and_hides_no_damage(kind):
    content = ODD_HEADERS[kind]
    with pytest.raises(ValueError, match=kind):
        simplejpeg.decode_jpeg(content, "CMYK" if kind == "Adobe" else "RGB")
    pixels, verdict = decode_image(content)
    assert verdict.note.startswith("unusual header") and kind in verdict.note
    np.testing.assert_array_equal(pixels, Image.open(io.BytesIO(content)).convert("RGB"))
    hidden = [said(rotten(content, place / 20, 30)) for place in range(8, 20)]
    assert any(reason.startswith("damaged") for reason in hidden)
    shown = [said(rotten(LARGE, place / 20, 30)) for place in range(8, 20)]
    if kind == "JFIF revision":  # of the same length, so the same bytes are damaged
        assert [reason.startswith("damaged") for reason in shown] == [
            reason.startswith("damaged") for reason in hidden
        ]
    assert said(content[:-900]) == "truncated"


@pytest.mark.parametrize(("byte", "ok"), [(0, True), (255, True), (None, False)])
def test_only_bytes_that_fill_up_may_be_left_over(byte, ok):
    left = bytes(range(1, 100)) if byte is None else bytes([byte]) * 99
    assert said(LARGE[:-2] + left + LARGE[-2:]).startswith("damaged") != ok


def test_whatever_follows_the_end_of_a_jpeg_is_no_damage():
    assert said(LARGE + b"what a camera left behind" * 99) == ""
    assert said(LARGE + LARGE) == ""


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_jpeg_is_truncated_wherever_it_is_cut(progressive):
    whole = encoded(REAL, "JPEG", progressive=progressive)
    assert {said(whole[:length]) for length in range(20, len(whole), 61)} == {"truncated"}
    assert said(whole[: len(whole) // 2] + bytes(len(whole) // 2)) == "truncated"


def test_chroma_that_one_decoder_does_not_know_is_left_to_the_other(file):
    strange = changed(encoded(REAL, "JPEG", subsampling=0), b"\xff\xc0", 11, 0x31)
    with pytest.raises(ValueError, match="subsampling"):
        simplejpeg.decode_jpeg(strange)
    file.write_bytes(strange)
    expected = np.asarray(Image.open(io.BytesIO(strange)))
    np.testing.assert_array_equal(read_image(file), expected)
    np.testing.assert_array_equal(read_image(file, (10, 10)), expected)
    assert said(strange[:-2000]) == "truncated"


def test_a_notebook_that_lets_pillow_load_halves_changes_no_verdict(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert said(LARGE[:-900]) == "truncated"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(24, 24), (50, 100), (200, 90), (384, 640), (999, 999)])
def test_scaled_decoding_shows_the_same_scene_and_is_large_enough(file, orientation, size):
    file.write_bytes(photo(orientation=orientation, scale=16))
    small = read_image(file, image_size=size)
    height, width, _ = small.shape
    assert height >= min(size[0], 384) and width >= min(size[1], 640)
    eighth = (height - 48 < size[0], width - 80 < size[1])  # one eighth less would not do
    assert any(eighth) or height == 384
    assert np.abs(resize_image(small, (24, 40)).astype(float) - SCENE).mean() < 3
    verdict = check_image(file)
    assert (verdict.height, verdict.width) == (384, 640)


@pytest.mark.parametrize("rule", ["stretch", "crop"])
def test_scaled_decoding_changes_little(file, rule):
    differences = []
    for name in ("astronaut", "coffee", "chelsea", "camera"):
        for quality in (50, 90):
            picture = Image.fromarray(getattr(photos, name)()).convert("RGB")
            file.write_bytes(encoded(picture, "JPEG", quality=quality))
            full = read_image(file)
            for size in [(48, 64), (128, 128), (224, 224)]:
                small = resize_image(read_image(file, size), size, rule).astype(float)
                differences.append(np.abs(small - resize_image(full, size, rule)).mean())
    assert max(differences) < 6 and np.mean(differences) < 2.5


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


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")  # noqa: PTH110
def test_a_large_webp_is_refused_before_its_frames_are_reserved(file):
    def reserved():
        with open("/proc/self/status") as status:  # noqa: PTH123
            return int(next(line.split()[1] for line in status if line.startswith("VmPeak")))

    file.write_bytes(webp_bomb(100))
    assert check_image(file).ok
    before = reserved()
    file.write_bytes(webp_bomb(10_000))
    assert check_image(file).reason == "too many pixels: 10000 x 10000"
    assert reserved() - before < 100_000  # kilobytes; 800,000 otherwise


def test_depth_and_transparency_take_a_few_bytes_a_pixel():
    resource = pytest.importorskip("tracemalloc")
    content = encoded(Image.fromarray(np.zeros((2000, 2000), np.uint16)), "PNG")
    resource.start()
    decode_image(content)
    _, peak = resource.get_traced_memory()
    resource.stop()
    assert peak < 40_000_000  # ten bytes a pixel


def test_every_reason_begins_with_a_word_of_the_list(tmp_path):
    for name in write_oddities(tmp_path):
        with pytest.raises(PictureError) as error:
            decode_image(picture_bytes(tmp_path / name))
        assert str(error.value).startswith(REASONS)
    assert len(set(REASONS)) == len(REASONS)


def test_a_huge_announcement_takes_no_memory(tmp_path):
    tracemalloc = pytest.importorskip("tracemalloc")
    (tmp_path / "bomb.png").write_bytes(NOT_PICTURES["bomb.png"][0])
    tracemalloc.start()
    check_image(tmp_path / "bomb.png")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000  # 1.2 GB were announced


def announced(kind: str, side: int) -> bytes:
    "A small file whose header speaks of a square of so many pixels a side."
    if kind == "PNG":
        return png(side, side, 8, 2, bytes(3))
    data, place = encoded(Image.new("L", (8, 8)), kind), {"GIF": 6, "BMP": 18}[kind]
    both = struct.pack("<HH" if kind == "GIF" else "<II", side, side)
    return data[:place] + both + data[place + len(both) :]


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP"])
def test_our_cap_counts_and_not_the_one_of_pillow(kind):
    data = announced(kind, 20_000)
    with pytest.raises(PictureError, match=r"^too many pixels: 20000 x 20000$"):
        images._open(data, Limits())
    assert images._open(data, Limits(max_pixels=10**9)).size == (20_000, 20_000)


def test_a_gif_whose_first_frame_is_huge_is_refused_by_every_limit():
    data = bytearray(encoded(Image.new("P", (8, 8)), "GIF"))
    place = data.index(b"\x2c") + 5
    data[place : place + 4] = struct.pack("<HH", 60_000, 60_000)
    for limits in (Limits(), Limits(max_pixels=10**10)):
        with pytest.raises(PictureError, match=r"^too many pixels"):
            decode_image(bytes(data), limits)


SEEDS = [photo(fmt, 6) for fmt in ("JPEG", "PNG", "WEBP", "TIFF")] + [
    encoded(PICTURE, "BMP"),
    encoded(PICTURE, "GIF", save_all=True, append_images=[PICTURE.rotate(180)]),
    encoded(PICTURE.quantize(8), "PNG", transparency=3),
    encoded(Image.fromarray(GREY[..., 0].astype(np.uint16)), "TIFF", compression="tiff_lzw"),
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about what it skips
@settings(max_examples=400, derandomize=True)
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
        assert not verdict.ok and verdict.reason.startswith(REASONS)
    else:
        assert verdict.ok and shape == (verdict.height, verdict.width, 3)


sides = st.integers(1, 40)


@settings(max_examples=60, derandomize=True)
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
