"""What everything stands on: specs, errors, seeds, files that appear whole, and a quiet import."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgrec import _quiet, core
from imgrec.core import (
    LABEL_MODES,
    DataError,
    ImageSpec,
    ImgrecError,
    MissingFileError,
    OptionError,
    PictureError,
    SpecError,
    atomic_path,
    cache_folder,
    expect_error,
    optional,
    read_json,
    seed_everything,
    sha256_of,
    unknown,
    write_atomic,
    write_json,
)

names = st.lists(st.text(max_size=8), min_size=2, max_size=5, unique=True)


@given(st.integers(1, 9999), st.integers(1, 9999), st.sampled_from([1, 3]), names)
def test_a_spec_comes_back_from_json_as_it_was(height, width, channels, class_names):
    for mode in LABEL_MODES[0 if len(class_names) == 2 else 1 :]:
        spec = ImageSpec(height, width, channels, tuple(class_names), mode)
        assert ImageSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
        assert spec.shape == (*spec.image_size, channels) and spec.classes == len(class_names)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"height": 0}, "height"),
        ({"width": 2.5}, "width"),
        ({"channels": 4}, "channels"),
        ({"label_mode": "catgorical"}, "Did you mean 'categorical'"),
        ({"class_names": ("cat", "dog", "cat")}, "more than once: cat"),
        ({"label_mode": "binary", "class_names": ("cat", "dog", "fox")}, "two classes, received 3"),
    ],
)
def test_an_impossible_spec_is_refused_by_the_name_of_its_field(fields, named):
    with pytest.raises(SpecError, match=named):
        ImageSpec(**({"height": 8, "width": 8} | fields))


def test_errors_can_be_caught_by_the_usual_names():
    raised = [getattr(core, name) for name in core.__all__ if name.endswith("Error")]
    assert len(raised) > 8 and all(issubclass(error, ImgrecError) for error in raised)
    assert issubclass(MissingFileError, FileNotFoundError)
    assert issubclass(DataError, ValueError) and issubclass(PictureError, ValueError)


def test_an_unknown_name_is_answered_with_the_closest_and_all_others():
    message = str(unknown("model", "smal_cnn", ["two_conv", "small_cnn"]))
    assert "'smal_cnn'" in message and "Did you mean 'small_cnn'?" in message
    assert "two_conv, small_cnn" in message
    assert "mean 'b_lite'?" in str(unknown("model", "b", ["a", "b_lite", "b_large"]))
    assert "Did you mean" not in str(unknown("model", "zzz", ["two_conv"]))
    assert isinstance(unknown("part", 3, ["train"], DataError), DataError)


def test_expect_error_wants_an_error_of_its_kind(capsys):
    with expect_error(DataError):
        raise DataError("too bright")
    assert capsys.readouterr().out == "DataError: too bright\n"
    with pytest.raises(AssertionError, match="raised nothing"), expect_error(DataError):
        pass
    with pytest.raises(KeyError), expect_error(DataError):
        raise KeyError("of another kind")


def test_a_missing_extra_is_named_with_the_command_that_installs_it():
    with pytest.raises(ImportError, match=r'pip install "imgrec\[export\]"'):
        optional("no_such_module_anywhere", extra="export")
    assert optional("json", extra="export") is json


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = write_atomic(tmp_path / "state.json", "old")
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_a_killed_write_leaves_the_old_file(tmp_path):
    path = write_atomic(tmp_path / "state.json", "old")
    program = (
        "import os, signal, sys\n"
        "from imgrec.core import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half of the n')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)])
    assert ended.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = write_atomic(tmp_path / "state", "a" * 100_000)
    ended, seen = threading.Event(), set()

    def read():
        while not ended.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    started = time.monotonic()
    while time.monotonic() - started < 0.3:
        for letter in "abc":
            write_atomic(path, letter * 100_000)
    ended.set()
    reader.join()
    assert seen <= {letter * 100_000 for letter in "abc"}


def test_json_goes_out_and_comes_back_whatever_the_names_hold(tmp_path):
    value = {"größe": [1, 2.5, None], "\N{GRINNING FACE}": os.fsdecode(b"caf\xe9.jpg")}
    assert read_json(write_json(tmp_path / "deep" / "a.json", value)) == value


def test_json_that_nobody_could_read_is_not_written(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a": 1} tail'])
def test_damaged_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ImgrecError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")


def test_a_digest_is_that_of_the_content(tmp_path):
    path = write_atomic(tmp_path / "a", b"abc")
    assert sha256_of(path).startswith("ba7816bf")
    assert sha256_of(write_atomic(path, b"abd")) != sha256_of(write_atomic(path, b"abc"))


def test_the_cache_stands_where_it_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("IMGREC_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("IMGREC_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "imgrec"


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1))
def test_a_seed_repeats_every_kind_of_random_number(seed):
    import random

    import keras

    def draw():
        seed_everything(seed)
        return random.random(), np.random.rand(), float(keras.random.uniform(()))

    assert draw() == draw()


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, None, "1"])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(OptionError, match="seed"):
        seed_everything(seed)


def test_tensorflows_greetings_are_dropped_and_its_complaints_passed_on(capfd):
    with _quiet.greetings_dropped():
        os.write(2, b"I0000 00:00 cpu_feature_guard: This binary is optimized\n")
        os.write(2, b"E0000 00:00 something is really wrong\n")
    with pytest.raises(ImportError), _quiet.greetings_dropped():
        os.write(2, b"no such library\n")
        raise ImportError
    heard = capfd.readouterr().err
    assert "optimized" not in heard
    assert "really wrong" in heard and "no such library" in heard


def test_imgrec_can_be_imported_where_there_is_no_standard_error():
    program = (
        "import os; os.close(2)\n"
        "import imgrec._quiet as quiet\n"
        "with quiet.greetings_dropped(): pass\n"
        "import imgrec.core; print('fine')"
    )
    ended = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert ended.stdout == "fine\n"


def test_counts_have_their_noun_in_the_right_number():
    assert [core.many(n, "class") for n in (0, 1, 2)] == ["0 classes", "1 class", "2 classes"]
    assert core.many(1_000_000, "batch") == "1,000,000 batches" and core.many(1, "row") == "1 row"


def test_silence_ends_with_the_last_block_whichever_thread_it_is_in():
    before = list(warnings.filters)
    barrier = threading.Barrier(8)

    def decode(number):
        barrier.wait()
        for _ in range(200):
            with core.without_warnings():
                warnings.warn("noise", stacklevel=1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, range(8)))
    assert list(warnings.filters) == before
    with pytest.raises(ZeroDivisionError), core.without_warnings():
        1 / 0  # noqa: B018
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with core.without_warnings(), core.without_warnings():
            warnings.warn("noise", stacklevel=1)
        warnings.warn("news", stacklevel=1)
    assert [str(one.message) for one in heard] == ["news"]


def test_silence_leaves_the_filters_of_others_alone():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("ignore")  # the user's own, like that of the block
        own = list(warnings.filters)
        with core.without_warnings():
            pass
        assert sorted(map(str, warnings.filters)) == sorted(map(str, own))
        warnings.simplefilter("always")
        inside = core.without_warnings("noise")
        with inside:
            warnings.filterwarnings("always", "added while the block runs")
            warnings.warn("noise of a decoder", stacklevel=1)
            warnings.warn("news", stacklevel=1)
        assert warnings.filters[0][1].pattern == "added while the block runs"
        warnings.warn("noise of a decoder", stacklevel=1)
    assert [str(one.message) for one in heard] == ["news", "noise of a decoder"]
