"""Files as they turn up in folders of pictures: whole, odd, damaged and hostile ones."""

import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SCENE = np.zeros((24, 40, 3), np.uint8)  # every corner and side has a colour of its own
SCENE[...] = (200, 60, 30)
SCENE[:8, :10] = (20, 220, 90)
SCENE[16:, 30:] = (30, 40, 240)
SCENE.flags.writeable = False

ORIENTATION = 0x0112  # EXIF's tag
# What a camera stores for each orientation, so that a viewer shows the scene
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


def encoded(image: Image.Image, fmt: str, **options) -> bytes:
    "The bytes of an image in a format."
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def photo(fmt: str = "JPEG", orientation: int = 1, scale: int = 1) -> bytes:
    "The scene as a camera stores it when it is held so."
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    lying = np.ascontiguousarray(STORED[orientation](SCENE))
    large = np.kron(lying, np.ones((scale, scale, 1), np.uint8))
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
    return encoded(Image.fromarray(large), fmt, exif=exif, **options.get(fmt, {}))


def chunk(kind: bytes, data: bytes) -> bytes:
    "A chunk of a PNG file with its check sum."
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colours: int, row: bytes, *extra: bytes) -> bytes:
    "A PNG file with `row` as each of its rows; `colours` is the standard's colour type."
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + row) * min(height, 100)))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + b"".join(extra) + pixels + chunk(b"IEND", b"")


def tiff(width: int, bits: int, row: bytes, white: int = 1, order: str = "<", kind: int = 1):
    "A TIFF file of one grey row; `white` 0 means that zero is white, `kind` 3 means floats."
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: white, 273: 8, 277: 1, 278: 1}
    tags |= {279: len(row), 339: kind}
    start = b"II*\0" if order == "<" else b"MM\0*"
    listed = b"".join(struct.pack(order + "HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    place = struct.pack(order + "I", 8 + len(row))
    count = struct.pack(order + "H", len(tags))
    return start + place + row + count + listed + struct.pack(order + "I", 0)


def damaged(data: bytes) -> bytes:
    "A PNG file with one byte of its pixels changed."
    place = data.index(b"IDAT") + 10
    return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]


WHOLE_PNG = encoded(Image.fromarray(SCENE), "PNG")
NOT_PICTURES = {  # name -> content and the beginning of the reason
    "empty.jpg": (b"", "empty"),
    "text.jpg": (b"I am a recipe for soup.", "not a picture"),
    "zeros.jpg": (bytes(1000), "not a picture"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "not a pic"),
    "paper.pdf": (b"%PDF-1.4\n1 0 obj\n<</Type/Catalog>>\nendobj\n", "not a picture"),
    "icon.png": (encoded(Image.fromarray(SCENE), "ICO"), "not a picture"),
    "new.jpg": (encoded(Image.fromarray(SCENE), "PPM"), "not a picture"),
    "cut.jpg": (photo()[:-120], "truncated"),
    "cut.png": (WHOLE_PNG[:-30], "truncated"),
    "pixels.png": (damaged(WHOLE_PNG), "damaged"),
    "checksum.png": (WHOLE_PNG[:-20] + bytes([WHOLE_PNG[-20] ^ 255]) + WHOLE_PNG[-19:], "damaged"),
    "exif.png": (png(1, 1, 8, 0, b"\7", chunk(b"eXIf", b"garbage")), "damaged"),
    "bomb.png": (png(20_000, 20_000, 8, 2, bytes(3)), "too many pixels"),
    "large.png": (png(9_000, 9_000, 8, 2, bytes(3)), "too many pixels"),
}


def write_specials(folder: Path) -> dict[str, str]:
    "Write what is no ordinary file into a folder; the names with the expected reasons."
    folder, reasons = folder.absolute(), {}
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.jpg")
        reasons["pipe.jpg"] = "not a regular file"
    with (folder / "film.jpg").open("wb") as file:
        file.truncate(10**12)  # takes no place on the disk
    (folder / "gone.jpg").symlink_to(folder / "nowhere")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    return reasons | {"film.jpg": "too large", "gone.jpg": "missing", "loop.jpg": "unreadable"}


def write_oddities(folder: Path) -> dict[str, str]:
    "Write everything that is no picture into a folder; the names with the expected reasons."
    for name, (content, _) in NOT_PICTURES.items():
        (folder / name).write_bytes(content)
    reasons = {name: reason for name, (_, reason) in NOT_PICTURES.items()}
    return reasons | write_specials(folder)


def write_folder(root: Path, classes=("cat", "dog", "fox"), count: int = 8) -> Path:
    "A folder with small pictures; each is of one colour that tells its class and number."
    for row, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(count):
            picture = Image.new("RGB", (9, 7), (60 + 60 * row, 5 * number, 90))
            picture.save(root / name / f"{number}.png")
    return root


# ---- a folder of odd files, each with what is to be made of it


@dataclass(frozen=True)
class Odd:
    "An odd file: its content, and either the pixels that a person sees or the reason to refuse it."

    content: bytes
    pixels: np.ndarray | None = None  # `(height, width, 3)`
    reason: str = ""  # How it begins
    note: str = ""  # How it begins
    off: float = 1.5  # Mean difference that the format's own loss explains, of 255


PICTURE = Image.fromarray(SCENE)
GREY = np.repeat(np.asarray(PICTURE.convert("L"))[..., None], 3, axis=-1)
SHADES = GREY[..., 0].astype(np.uint16) * 257  # 16 bit
BLACK_OR_WHITE = (255 * (GREY > 99)).astype(np.uint8)
CLEAR = np.full((24, 40), 255, np.uint8)  # the upper left corner is not there
CLEAR[:8, :10] = 0
ON_WHITE = SCENE.copy()
ON_WHITE[:8, :10] = 255
SEVERAL = "several frames"


def several(fmt: str, **options) -> bytes:
    "An animation, or a file with pages, that begins with the scene."
    later = [Image.new("RGB", PICTURE.size, "black")]
    return encoded(PICTURE.copy(), fmt, save_all=True, append_images=later, **options)


def with_alpha(image: Image.Image) -> Image.Image:
    "The image with its upper left corner transparent."
    image = image.copy()
    image.putalpha(Image.fromarray(CLEAR))
    return image


def webp_bomb(side: int) -> bytes:
    "A small animation on a large ground: a decoder reserves two frames of the ground's size."
    still = encoded(Image.new("RGB", (4, 4)), "WEBP", lossless=True)[12:]
    frame = bytes(6) + b"\3\0\0\3\0\0" + b"\x64\0\0\0" + still
    ground = 2 * (side - 1).to_bytes(3, "little")
    parts = {b"VP8X": b"\2\0\0\0" + ground, b"ANIM": bytes(6), b"ANMF": frame}
    body = b"".join(kind + struct.pack("<I", len(data)) + data for kind, data in parts.items())
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def rotten(data: bytes, place: float, length: int = 1) -> bytes:
    "A file with a few bytes turned over, at a place between 0 (its start) and 1."
    start = int(len(data) * place)
    return (
        data[:start]
        + bytes(b ^ 0x55 for b in data[start : start + length])
        + data[start + length :]
    )


def changed(data: bytes, mark: bytes, offset: int, byte: int) -> bytes:
    "A file with the byte `offset` behind `mark` set."
    place = data.index(mark) + offset
    return data[:place] + bytes([byte]) + data[place + 1 :]


def seen_files() -> dict[str, Odd]:
    "Files that are odd, yet show a picture: name -> how it must look."
    jpeg, found = photo(), {}
    for turn in range(2, 9):
        found[f"turned_{turn}.jpg"] = Odd(photo("JPEG", turn), SCENE)
    for fmt in ("PNG", "WEBP", "TIFF"):
        found[f"turned.{fmt.lower()}"] = Odd(photo(fmt, 6), SCENE)
    alpha = with_alpha(PICTURE)
    for name, content in {
        "alpha.png": encoded(alpha, "PNG"),
        "alpha.webp": encoded(alpha, "WEBP", lossless=True),
        "alpha.tif": encoded(alpha, "TIFF"),
        "alpha.gif": encoded(alpha, "GIF"),
    }.items():
        found[name] = Odd(content, ON_WHITE)
    on_white = np.where(CLEAR[..., None] > 0, GREY, 255)
    found["alpha_grey.png"] = Odd(encoded(with_alpha(PICTURE.convert("L")), "PNG"), on_white)
    for fmt in ("PNG", "GIF", "BMP", "TIFF"):
        found[f"palette.{fmt.lower()}"] = Odd(encoded(PICTURE.quantize(8), fmt), SCENE)
    one_bit = Image.fromarray(BLACK_OR_WHITE[..., 0] > 0)
    for fmt in ("PNG", "TIFF", "BMP"):
        found[f"one_bit.{fmt.lower()}"] = Odd(encoded(one_bit, fmt), BLACK_OR_WHITE)
    for fmt in ("PNG", "TIFF"):
        found[f"sixteen_bit.{fmt.lower()}"] = Odd(encoded(Image.fromarray(SHADES), fmt), GREY)
    row = (SCENE[0].astype(np.uint16) * 257).astype(">u2").tobytes()
    found["sixteen_bit_rgb.png"] = Odd(png(40, 24, 16, 2, row), np.tile(SCENE[:1], (24, 1, 1)))
    floats = Image.fromarray(GREY[..., 0].astype(np.float32) / 255)
    found["floats.tif"] = Odd(encoded(floats, "TIFF"), GREY)
    found["twelve_bit.tif"] = Odd(tiff(2, 12, b"\xff\xf8\0"), np.uint8([[[255] * 3, [128] * 3]]))
    white_is_zero = np.repeat(np.uint8([[255, 191, 0]]), 3, axis=0).T[None]
    found["white_is_zero.tif"] = Odd(tiff(3, 8, bytes([0, 64, 255]), white=0), white_is_zero)
    found["inks.jpg"] = Odd(encoded(PICTURE.convert("CMYK"), "JPEG", quality=95), SCENE, off=4)
    found["inks.tif"] = Odd(encoded(PICTURE.convert("CMYK"), "TIFF"), SCENE)
    found["grey.jpg"] = Odd(encoded(PICTURE.convert("L"), "JPEG", quality=95), GREY)
    progressive = encoded(PICTURE, "JPEG", quality=95, subsampling=0, progressive=True)
    found["progressive.jpg"] = Odd(progressive, SCENE)
    found["animation.gif"] = Odd(several("GIF"), SCENE, note=SEVERAL)
    found["animation.png"] = Odd(several("PNG"), SCENE, note=SEVERAL)
    moving = several("WEBP", lossless=True)
    found["animation.webp"] = Odd(moving, SCENE, note=SEVERAL)
    found["pages.tif"] = Odd(several("TIFF"), SCENE, note=SEVERAL)
    found["two_in_one.jpg"] = Odd(several("MPO", quality=95), SCENE, off=6)
    unusual = changed(jpeg, b"JFIF", 5, 2)
    found["revision_2.jpg"] = Odd(unusual, SCENE, note="unusual header")
    found["padded.jpg"] = Odd(jpeg[:-2] + bytes(99) + jpeg[-2:], SCENE, note="filled up")
    found["more_behind.jpg"] = Odd(jpeg + b"\0" * 5000, SCENE)
    return found


NAMES = (  # the content decides, not the name; and a name may hold what a file system allows
    *("really_a_png.jpg", "no_extension", "SHOUTED.JPEG", "a photo.png", "two\nlines.png"),
    *("[1](2){3}*?.png", "\N{GRINNING FACE}.png", os.fsdecode(b"caf\xe9.png"), "-rf.png"),
    *("<b>bold</b>.png", "e\u0301.png", "'; drop table.png", f"{'long' * 60}.png"),
)


def refused_files() -> dict[str, Odd]:
    "Files that show no picture, or not all of it: name -> the reason."
    jpeg, inks = photo(scale=4), encoded(PICTURE.convert("CMYK"), "JPEG", subsampling=0)
    both = changed(rotten(jpeg, 0.8), b"JFIF", 5, 2)
    many = {name: Odd(content, reason=reason) for name, (content, reason) in NOT_PICTURES.items()}
    many["rotten.jpg"] = Odd(rotten(jpeg, 0.8), reason="damaged")
    many["rotten_behind_odd_header.jpg"] = Odd(both, reason="damaged")
    many["rotten_inks.jpg"] = Odd(rotten(inks, 0.86, 9), reason="damaged")
    many["zeros_at_the_end.jpg"] = Odd(jpeg[:-300] + bytes(300), reason="truncated")
    many["no_end.jpg"] = Odd(jpeg[:-2], reason="truncated")
    many["header_only.jpg"] = Odd(jpeg[:200], reason="truncated")
    many["twelve_bit.jpg"] = Odd(changed(jpeg, b"\xff\xc0", 4, 12), reason="damaged")
    for fmt in ("GIF", "WEBP", "BMP", "TIFF"):
        content = encoded(PICTURE, fmt)
        many[f"cut.{fmt.lower()}"] = Odd(content[: len(content) * 2 // 3], reason="truncated")
    many["bomb.webp"] = Odd(webp_bomb(16_000), reason="too many pixels")
    avif = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(300)
    many["avif.jpg"] = Odd(avif, reason="format not allowed: AVIF")
    many["heic.jpg"] = Odd(avif.replace(b"avif", b"heic"), reason="format not allowed: HEIC")
    many["page.jpg"] = Odd(b"<!DOCTYPE html><title>404 Not Found</title>", reason="not a picture")
    many["archive.png"] = Odd(b"PK\x03\x04" + bytes(60), reason="not a picture")
    many["apple.jpg"] = Odd(b"\0\x05\x16\x07\0\x02\0\0Mac OS X" + bytes(99), reason="not a picture")
    return many


def write_odd_folder(root: Path) -> dict[str, Odd]:
    "Write some eighty odd files into a folder: name -> what is to be made of it."
    many = seen_files() | refused_files()
    many |= {name: Odd(WHOLE_PNG, SCENE) for name in NAMES}
    written = {}
    for name, odd in many.items():
        try:
            (root / name).write_bytes(odd.content)
        except OSError:  # this file system refuses such a name
            continue
        written[name] = odd
    specials = write_specials(root)
    return written | {name: Odd(b"", reason=reason) for name, reason in specials.items()}
