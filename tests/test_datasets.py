"""Sets in a file: found, refused when damaged, and fetched only when asked for and right."""

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
from urllib.error import URLError

import numpy as np
import pytest

from imgrec import datasets
from imgrec.core import DataError, MissingFileError
from imgrec.datasets import (
    FASHION_FILES,
    Source,
    cifar10,
    digits,
    fashion_mnist,
    fetch,
    find_source,
    mnist,
    read_idx,
)
from imgrec.pictures import read_row

X = np.arange(20 * 28 * 28).reshape(20, 28, 28).astype(np.uint8)
Y = np.arange(20) % 10
PUBLISHED = datasets._SIZES


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    "A folder for data, and nothing anywhere else; the network is out of reach."
    for name in ("IMGREC_DATA", "KERAS_HOME", "IMGREC_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
        (tmp_path / name).mkdir()
    monkeypatch.setattr(datasets, "urlopen", unreachable)
    small = {"MNIST": (20, 10), "Fashion-MNIST": (20, 10), "CIFAR-10": (50, 10)}
    monkeypatch.setattr(datasets, "_SIZES", small)
    return tmp_path / "IMGREC_DATA"


def unreachable(url, timeout):
    "A network that is not there."
    raise URLError("no network")


def npz(save=np.savez, **changes):
    "A file laid out as MNIST, with something changed."
    buffer = io.BytesIO()
    save(buffer, **({"x_train": X, "y_train": Y, "x_test": X[:10], "y_test": Y[:10]} | changes))
    return buffer.getvalue()


def npy():
    "One array in NumPy's format."
    buffer = io.BytesIO()
    np.save(buffer, X)
    return buffer.getvalue()


def test_digits_need_no_file_and_are_not_to_be_mirrored():
    catalog = digits()
    assert (len(catalog), catalog.arrays.shape) == (1797, (1797, 8, 8, 1))
    assert catalog.class_names == tuple("0123456789") and not catalog.horizontal_flip
    assert (catalog.arrays.min(), catalog.arrays.max()) == (0, 255)


@pytest.mark.parametrize("load", [mnist, fashion_mnist, cifar10])
def test_a_set_that_is_nowhere_says_which_file_to_put_where(load, data):
    with pytest.raises(MissingFileError, match="Put the file from https://") as error:
        load()
    assert str(data) in str(error.value) and "download=True" in str(error.value)
    with pytest.raises(MissingFileError, match=r"could not be fetched.*put it at"):
        load(download=True)


def test_the_users_folder_comes_before_the_caches(data, tmp_path):
    source = Source("set.npz", "https://example.org/set.npz", "")
    for folder in ("IMGREC_CACHE", "KERAS_HOME"):
        place = tmp_path / folder / "datasets" / "set.npz"
        place.parent.mkdir()
        place.touch()
        assert find_source(source) == place
    (data / "set.npz").mkdir()  # a folder of that name is no file
    assert find_source(source) == place
    (data / "set.npz").rmdir()
    (data / "set.npz").touch()
    assert find_source(source) == data / "set.npz"


def test_mnists_test_part_stays_the_test_part(data):
    (data / "mnist.npz").write_bytes(npz())
    catalog = mnist()
    assert catalog.summary().loc["all"].to_dict() == {"train": 20, "test": 10}
    assert catalog.split(valid=0.4).summary().loc["all"].to_dict() == {
        "train": 10,
        "valid": 10,
        "test": 10,
    }
    assert (read_row(catalog, 21)[..., 0] == X[1]).all()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a picture",
        npz()[:-300],
        npz(np.savez_compressed)[:60] + bytes(40) + npz(np.savez_compressed)[100:],
        npy(),
        pickle.dumps("surprise"),
        npz(x_train=np.array([{}], dtype=object)),
    ],
)
def test_a_damaged_mnist_is_named_however_it_is_damaged(data, content):
    (data / "mnist.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"mnist\.npz cannot be read: expected arrays x_train"):
        mnist()


@pytest.mark.parametrize(
    ("changes", "part", "received"),
    [
        ({"x_train": X[:7]}, "training", r"pictures \(7, 28, 28\) of uint8 and labels \(20,\)"),
        ({"x_train": X[:7], "y_train": Y[:7]}, "training", r"pictures \(7, 28, 28\)"),
        ({"y_train": Y * 0}, "training", r"labels \(20,\): \[0\]"),
        ({"x_train": X / 255}, "training", r"\(20, 28, 28\) of float64"),
        ({"y_test": Y[:10] + 90}, "test", r"\[90, 91, 92"),
        ({"y_test": Y[:10].astype(str)}, "test", r"\['0', '1'"),
        ({"y_test": np.eye(10, dtype=np.uint8)}, "test", r"labels \(10, 10\): \[0, 1\]"),
        ({"x_test": X[:10, :9]}, "test", r"pictures \(10, 9, 28\)"),
    ],
)
def test_a_file_that_holds_something_else_is_no_mnist(data, changes, part, received):
    (data / "mnist.npz").write_bytes(npz(**changes))
    words = rf"mnist\.npz is not MNIST, see its {part} part: expected .*Received .*{received}"
    with pytest.raises(DataError, match=words + r".*Get the published file"):
        mnist()


def test_the_sets_have_the_sizes_that_were_published():
    assert PUBLISHED["MNIST"] == PUBLISHED["Fashion-MNIST"] == (60_000, 10_000)
    assert PUBLISHED["CIFAR-10"] == (50_000, 10_000)


def idx(array):
    "An array of bytes in LeCun's format."
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return b"\0\0\x08" + bytes([array.ndim]) + shape + array.astype(np.uint8).tobytes()


def test_fashion_mnist_is_read_from_its_four_files(data):
    (data / "fashion-mnist").mkdir()
    for name in FASHION_FILES:
        count = 20 if name.startswith("train") else 10
        array = Y[:count] if "labels" in name else X[:count]
        (data / "fashion-mnist" / f"{name}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
    catalog = fashion_mnist()
    assert catalog.table["label"].iloc[9] == "boot"
    assert (read_row(catalog, 20)[..., 0] == X[0]).all()


NOISE = gzip.compress(np.random.default_rng(0).bytes(3000))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain",
        NOISE[:-20],
        NOISE[:100] + bytes(20) + NOISE[120:],
        gzip.compress(idx(X) * 20)[:15] + b"\xff" * 4 + gzip.compress(idx(X) * 20)[19:],
        gzip.compress(b""),
        gzip.compress(b"abc"),
        gzip.compress(b"\0\0\x08\x03"),
        gzip.compress(b"\0\0\x0d\x01" + bytes(8)),
        gzip.compress(idx(X)[:-1]),
        gzip.compress(idx(X) + b"\0"),
        gzip.compress(b"\0\0\x08\x04" + b"\xff" * 16),
    ],
)
def test_a_damaged_idx_file_is_named_however_it_is_damaged(data, content):
    (data / "a.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.gz cannot be read: expected bytes in IDX"):
        read_idx(data / "a.gz")


def archive(*batches):
    "A file laid out as CIFAR-10, with these contents of its batches."
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as made:
        names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
        for name, batch in zip(names, batches, strict=False):
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(batch)
            made.addfile(member, io.BytesIO(batch))
    return buffer.getvalue()


def python_2_pickle(shade):
    "Ten pictures of one shade, pickled byte for byte as Python 2 did for the published file."
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + b"J\xff\xff\xff\xff" * 2
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    pixels = b"T" + struct.pack("<I", 30_720) + bytes([shade]) * 30_720
    state = b"(K\x01K\nM\x00\x0c\x86" + dtype + b"K\x00tb\x89" + pixels + b"tb"
    labels = b"](" + b"".join(b"K" + bytes([number]) for number in range(10)) + b"e"
    return b"\x80\x02}(U\x04data" + array + state + b"U\x06labels" + labels + b"u."


def test_cifar_10_is_read_as_it_was_published(data):
    content = archive(*(python_2_pickle(shade) for shade in range(1, 7)))
    (data / "cifar-10-python.tar.gz").write_bytes(content)
    catalog = cifar10()
    assert catalog.summary().loc["all"].to_dict() == {"train": 50, "test": 10}
    assert catalog.arrays.shape == (60, 32, 32, 3)
    assert catalog.arrays[::10].max(axis=(1, 2, 3)).tolist() == [1, 2, 3, 4, 5, 6]
    assert catalog.table["label"].iloc[9] == "truck"


def test_cifar_10_is_found_as_keras_keeps_it(tmp_path):
    batches = [python_2_pickle(shade) for shade in range(1, 7)]
    kept = tmp_path / "KERAS_HOME" / "datasets"
    folder = kept / "cifar-10-batches-py-target" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    for name, batch in zip(names, batches, strict=True):
        (folder / name).write_bytes(batch)
    extracted = cifar10()
    (folder / "data_batch_3").unlink()
    with pytest.raises(DataError, match=r"cifar-10-batches-py/test_batch cannot be read.*batch_3"):
        cifar10()
    (kept / "cifar-10-batches-py-target_archive").write_bytes(archive(*batches))
    for catalog in (extracted, cifar10()):
        assert catalog.arrays[::10].max(axis=(1, 2, 3)).tolist() == [1, 2, 3, 4, 5, 6]


def test_a_cifar_10_of_other_counts_or_classes_is_none(data):
    few = pickle.dumps({b"data": np.zeros((9, 3072), np.uint8), b"labels": list(range(9))})
    (data / "cifar-10-python.tar.gz").write_bytes(archive(*[few] * 6))
    with pytest.raises(DataError, match=r"not CIFAR-10, see its training.*\(45, 32, 32, 3\)"):
        cifar10()


class Intruder:
    "Runs a program when it is unpickled without care."

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_a_program_is_refused_and_does_not_run(data, tmp_path):
    hostile = pickle.dumps({b"data": Intruder(tmp_path / "was here")})
    (data / "cifar-10-python.tar.gz").write_bytes(archive(*[hostile] * 6))
    with pytest.raises(DataError, match="mkdir has no place in a data set"):
        cifar10()
    assert not (tmp_path / "was here").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain",
        archive(*[python_2_pickle(1)] * 6)[:-200],
        archive(*[python_2_pickle(1)] * 3),
        archive(*[b"garbage"] * 6),
        archive(*[python_2_pickle(1)[:-900]] * 6),
        archive(*[pickle.dumps([1, 2])] * 6),
        archive(*[pickle.dumps({b"data": 1})] * 6),
        archive(*[pickle.dumps({b"data": np.zeros((10, 7)), b"labels": [0] * 10})] * 6),
    ],
)
def test_a_damaged_cifar_10_is_named_however_it_is_damaged(data, content):
    (data / "cifar-10-python.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"tar\.gz cannot be read: expected CIFAR-10"):
        cifar10()


class Cable:
    "A server's answer that breaks off."

    def __init__(self, content, breaks=False):
        self.content, self.breaks = io.BytesIO(content), breaks

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def read(self, size):
        block = self.content.read(size)
        if self.breaks and not block:
            raise ConnectionResetError("the cable was pulled")
        return block


@pytest.mark.parametrize(
    ("url", "answer", "error", "words"),
    [
        ("https://a.org/s", Cable(b"something else"), DataError, "expected sha256 ba7816bf8f01..."),
        ("https://a.org/s", Cable(b"abc" * 99), DataError, "larger than 100 bytes"),
        ("https://a.org/s", Cable(b"ab", breaks=True), MissingFileError, "the cable was pulled"),
        ("http://a.org/s", Cable(b"abc"), DataError, "expected https"),
        ("file:///etc/passwd", Cable(b"abc"), DataError, "expected https"),
    ],
)
def test_what_is_fetched_is_right_or_not_kept(monkeypatch, tmp_path, url, answer, error, words):
    monkeypatch.setattr(datasets, "urlopen", lambda url, timeout: answer)
    source = Source("set", url, hashlib.sha256(b"abc").hexdigest())
    with pytest.raises(error, match=words):
        fetch(source, tmp_path / "new", max_bytes=100)
    assert not [path for path in (tmp_path / "new").rglob("*") if path.is_file()]


def test_what_is_fetched_once_is_found_the_next_time(monkeypatch, tmp_path):
    source = Source("below/set", "https://a.org/s", hashlib.sha256(b"abc").hexdigest())
    monkeypatch.setattr(datasets, "urlopen", lambda url, timeout: Cable(b"abc"))
    path = find_source(source, download=True)
    assert path.read_bytes() == b"abc" and path.is_relative_to(tmp_path / "IMGREC_CACHE")
    monkeypatch.setattr(datasets, "urlopen", unreachable)
    assert find_source(source, download=True) == path
