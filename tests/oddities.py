"""Files as they turn up in folders of pictures: whole, odd, damaged and hostile ones."""

import io
import os
import struct
import zlib
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


def write_oddities(folder: Path) -> dict[str, str]:
    "Write everything that is no picture into a folder; the names with the expected reasons."
    for name, (content, _) in NOT_PICTURES.items():
        (folder / name).write_bytes(content)
    reasons = {name: reason for name, (_, reason) in NOT_PICTURES.items()}
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.jpg")
        reasons["pipe.jpg"] = "not a regular file"
    with (folder / "film.jpg").open("wb") as file:
        file.truncate(10**12)  # takes no place on the disk
    (folder / "gone.jpg").symlink_to(folder / "nowhere")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    return reasons | {"film.jpg": "too large", "gone.jpg": "missing", "loop.jpg": "unreadable"}


def write_folder(root: Path, classes=("cat", "dog", "fox"), count: int = 8) -> Path:
    "A folder with small pictures; each is of one colour that tells its class and number."
    for row, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(count):
            picture = Image.new("RGB", (9, 7), (60 + 60 * row, 5 * number, 90))
            picture.save(root / name / f"{number}.png")
    return root
