"""One table of decoded pictures: made once, shared, continued after a kill; or no table at all."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from disks import small_disk
from oddities import write_folder
from PIL import Image

from imgrec import cache, packed
from imgrec.catalog import Catalog
from imgrec.core import DataError
from imgrec.data import from_datasets, load
from imgrec.evaluate import predict_table
from imgrec.models import build_model
from imgrec.packed import pack
from imgrec.train import fit


@pytest.fixture
def folder(tmp_path, monkeypatch):
    "Three classes of eight pictures; the cache is a folder beside them."
    monkeypatch.setenv("IMGREC_CACHE", str(tmp_path / "cache"))
    return write_folder(tmp_path / "pets")


def inode(packed_splits):
    "Which file a table is mapped from."
    return Path(packed_splits.packed.pixels.filename).stat().st_ino


def test_decoded_pictures_are_used_again_until_something_changes(folder, monkeypatch):
    catalog = Catalog.from_folder(folder).split()
    first = load(catalog, image_size=8)
    decoded = []
    monkeypatch.setattr(packed.Decoder, "read", lambda *args: decoded.append(args) or (1 / 0))
    for same in ({"batch_size": 3}, {"augment": "none"}, {"seed": 4}, {"label_mode": "int"}):
        assert inode(load(catalog, image_size=8, **same)) == inode(first)
    assert inode(load(Catalog.from_folder(folder).split(seed=8), image_size=8)) == inode(first)
    assert not decoded
    for other in ({"image_size": 9}, {"channels": 1}, {"resize": "pad"}):
        with pytest.raises(ZeroDivisionError):
            load(catalog, **({"image_size": 8} | other))
    Image.new("RGB", (9, 7), "white").save(folder / "cat" / "0.png")
    with pytest.raises(ZeroDivisionError):
        load(catalog, image_size=8)


def test_a_changed_picture_is_seen(folder):
    catalog = Catalog.from_folder(folder)
    assert pack(catalog, (4, 4, 3)).pixels[0].max() < 255
    Image.new("RGB", (9, 7), "white").save(folder / "cat" / "0.png")
    assert pack(catalog, (4, 4, 3)).pixels[0].min() == 255


def test_what_is_written_into_the_table_stays_in_this_process(folder):
    catalog = Catalog.from_folder(folder)
    for _ in range(2):  # the first is made, the second found
        pack(catalog, (4, 4, 3)).pixels[...] = 0
        assert pack(catalog, (4, 4, 3)).pixels.max() > 0


def test_a_damaged_cache_is_made_anew(folder, tmp_path):
    catalog = Catalog.from_folder(folder)
    whole = pack(catalog, (4, 4, 3)).pixels.copy()
    (manifest,) = tmp_path.glob("cache/packed/*/manifest.json")
    pixels = manifest.with_name("pixels.u8")
    for damage in (
        pixels.unlink,
        lambda: os.truncate(pixels, 100),
        lambda: manifest.write_text('{"shape": [24'),
        lambda: manifest.write_text("{}"),
        lambda: manifest.write_text("[]"),
        manifest.unlink,
    ):
        damage()
        assert (pack(catalog, (4, 4, 3)).pixels == whole).all()
        assert pixels.stat().st_size == whole.size


def test_a_file_that_could_not_be_read_today_is_tried_again_tomorrow(folder, monkeypatch):
    catalog = Catalog.from_folder(folder)
    real = Path.read_bytes

    def hung(path):
        if path.name == "3.png":
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", hung)
    assert pack(catalog, (4, 4, 3)).reasons[3] == "unreadable: Input/output error"
    monkeypatch.undo()
    monkeypatch.setenv("IMGREC_CACHE", str(folder.parent / "cache"))
    assert pack(catalog, (4, 4, 3)).ok.all()


def test_an_error_while_packing_leaves_nothing_behind(folder, tmp_path, monkeypatch):
    catalog = Catalog.from_folder(folder)
    monkeypatch.setattr(packed.Decoder, "read", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pack(catalog, (4, 4, 3))
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert {path.suffix for path in left} <= {".lock"}


@pytest.mark.parametrize("place", ["a file", "/proc/nobody/may/write/here"])
def test_a_cache_that_cannot_be_written_is_named(folder, tmp_path, monkeypatch, place):
    (tmp_path / "a file").touch()
    monkeypatch.setenv("IMGREC_CACHE", str(tmp_path / place))
    with pytest.raises(DataError, match=f"{place}.*set IMGREC_CACHE to a folder"):
        pack(Catalog.from_folder(folder), (4, 4, 3), cache="disk")


@pytest.fixture
def megabyte(tmp_path):
    "A file system of one megabyte."
    with small_disk(tmp_path / "disk", "1m") as place:
        yield place


def test_a_full_disk_is_a_clear_error_and_leaves_no_partial_file(folder, megabyte, monkeypatch):
    monkeypatch.setenv("IMGREC_CACHE", str(megabyte))
    monkeypatch.setenv("IMGREC_CACHE_GB", "1")
    catalog = Catalog.from_folder(folder)
    (megabyte / "ballast").write_bytes(bytes(900_000))
    before = {path for path in megabyte.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=r"need 4\.7 MB in .*disk.*disk are free.*cache=.off"):
        pack(catalog, (256, 256, 3), cache="disk")
    left = {path for path in megabyte.rglob("*") if path.is_file()} - before
    assert {path.suffix for path in left} <= {".lock"}


def test_a_disk_that_fills_up_while_the_table_is_made_ends_with_an_error_that_says_so(
    folder, megabyte, monkeypatch
):
    monkeypatch.setenv("IMGREC_CACHE", str(megabyte))
    monkeypatch.setenv("IMGREC_CACHE_GB", "1")
    catalog, shape = Catalog.from_folder(folder), (64, 64, 3)
    real = packed.Decoder.read

    def and_fill_the_disk(decoder, row):
        if row == 0:
            free = shutil.disk_usage(megabyte).free
            (megabyte / "ballast").write_bytes(bytes(free // 4096 * 4096))
        return real(decoder, row)

    monkeypatch.setattr(packed.Decoder, "read", and_fill_the_disk)
    with pytest.raises(DataError, match=r"need 0\.3 MB in .*disk.*No space left"):
        pack(catalog, shape, cache="disk")
    monkeypatch.undo()
    monkeypatch.setenv("IMGREC_CACHE", str(megabyte))
    (megabyte / "ballast").unlink()
    assert pack(catalog, shape, cache="disk").ok.all()


def test_without_room_the_files_are_read_in_every_pass_with_the_same_pictures(
    folder, monkeypatch, capsys
):
    catalog = Catalog.from_folder(folder).split(seed=1)
    whole = load(catalog, image_size=8, augment="medium")
    monkeypatch.setenv("IMGREC_CACHE_GB", "0.000001")
    streamed = load(catalog, image_size=9, augment="medium")
    assert "Every pass reads the files anew" in capsys.readouterr().out
    streamed = load(catalog, image_size=8, augment="medium", cache="off")
    for name in ("valid", "test"):
        for (x, y), (x2, y2) in zip(getattr(whole, name), getattr(streamed, name), strict=True):
            np.testing.assert_array_equal(x, x2)
            np.testing.assert_array_equal(y, y2)
    for (x, y), (x2, y2) in zip(
        whole.training_steps(0, 5), streamed.training_steps(0, 5), strict=True
    ):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)


def test_a_file_that_goes_bad_during_an_epoch_is_set_aside_and_the_epoch_goes_on(folder):
    catalog = Catalog.from_folder(folder).split(seed=1)
    splits = load(catalog, image_size=8, augment="none", batch_size=4, cache="off")
    steps, size = splits.steps_per_epoch, len(splits.ordered("train").file_paths)
    bad = {part: splits.ordered(part).file_paths[1] for part in ("train", "valid")}
    seen = []
    for number, (x, _) in enumerate(splits.train):
        if number == 0:
            os.truncate(folder / bad["train"], 45)
            (folder / bad["valid"]).unlink()
        seen.append(len(x))
    assert len(seen) == steps and sum(seen) == size  # another picture stands in
    list(splits.train)
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])
    valid = splits.valid
    table = predict_table(model, valid)
    assert bad["valid"] not in table["file"].tolist()
    assert len(table) == len(valid.file_paths) - 1
    reasons = dict(splits.problems[["file", "reason"]].to_numpy().tolist())
    assert reasons == {bad["train"]: "truncated", bad["valid"]: "missing"}


def test_a_disk_that_is_gone_ends_the_epoch_with_an_error(folder):
    splits = load(Catalog.from_folder(folder).split(), image_size=8, cache="off")
    shutil.rmtree(folder)
    with pytest.raises(tf.errors.OpError, match="Is the disk still there"):
        list(splits.train)


def test_splits_travel_to_another_process_and_are_the_same_there(folder):
    splits = load(Catalog.from_folder(folder).split(), 8, 4, {"zoom": 0.2}, seed=3, balance=True)
    program = """
        import pickle, sys
        import imgrec
        splits = pickle.loads(bytes.fromhex(sys.stdin.readline()))
        print(sum(float(x.numpy().sum()) for x, _ in splits.training_steps(2, 9)))
    """
    source = textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-c", source],
        input=pickle.dumps(splits).hex(),
        capture_output=True,
        text=True,
        check=True,
    )
    here = sum(float(x.numpy().sum()) for x, _ in splits.training_steps(2, 9))
    assert float(done.stdout.split()[-1]) == pytest.approx(here, rel=1e-6)
    with pytest.raises(DataError, match="cannot be sent to another process"):
        pickle.dumps(from_datasets((np.full((4, 6, 6, 3), 99, np.uint8), [0, 1, 0, 1])))


def test_balance_shows_each_class_equally_often_and_each_picture_in_turn():
    y = np.array([0] * 12 + [1] * 3 + [2] * 5)
    x = np.arange(20, dtype=np.uint8)[:, None, None] * np.ones((4, 4), np.uint8) + 3
    catalog = Catalog.from_arrays(x, y).split(valid=0, test=0)
    splits = load(catalog, batch_size=7, augment="none", balance=True)
    steps = splits.steps_per_epoch
    assert steps == 6  # 36 pictures
    shown = []
    for epoch in range(5):
        batches = splits.training_steps(epoch * steps, (epoch + 1) * steps)
        pictures = np.concatenate([x[:, 0, 0, 0] for x, _ in batches]).astype(int) - 3
        kinds = y[pictures]
        assert np.bincount(kinds).tolist() == [12, 12, 12]
        shown.append(np.bincount(pictures, minlength=20))
    assert (shown[0][:12] == 1).all() and set(shown[0][12:15]) == {4}
    assert set(np.sum(shown, axis=0)[15:]) == {12}  # 60 times five pictures


def child(program, *arguments):
    "Start a Python process that runs a program."
    source = textwrap.dedent(program)
    command = [sys.executable, "-c", source, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_a_killed_packing_is_continued_and_not_done_again(folder, monkeypatch, capsys):
    program = """
        import sys, time
        import imgrec
        from imgrec import cache, packed
        from imgrec.catalog import Catalog

        read = packed.Decoder.read
        cache.BLOCK_BYTES = 48 * 5  # five pictures

        def slowly(decoder, row):
            if row == 17:
                time.sleep(1)  # so that the other pictures of the block are done
                print("in the middle", flush=True)
                time.sleep(60)
            return read(decoder, row)

        packed.Decoder.read = slowly
        packed.pack(Catalog.from_folder(sys.argv[1]), (4, 4, 3))
    """
    process = child(program, folder)
    assert process.stdout.readline() == "in the middle\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    monkeypatch.setattr(cache, "BLOCK_BYTES", 48 * 5)
    real, decoded = packed.Decoder.read, []
    monkeypatch.setattr(
        packed.Decoder, "read", lambda *args: decoded.append(args[1]) or real(*args)
    )
    table = pack(Catalog.from_folder(folder), (4, 4, 3))
    assert sorted(decoded) == list(range(15, 24))
    monkeypatch.setattr(packed.Decoder, "read", real)
    assert (
        table.pixels == pack(Catalog.from_folder(folder), (4, 4, 3), cache="memory").pixels
    ).all()


def test_two_processes_fill_one_table_and_the_work_is_done_once(folder):
    program = """
        import sys, time
        import imgrec
        from imgrec import cache, packed
        from imgrec.catalog import Catalog

        read = packed.Decoder.read
        count = 0

        def counted(decoder, row):
            global count
            count += 1
            time.sleep(0.05)
            return read(decoder, row)

        packed.Decoder.read = counted
        print("ready", flush=True)
        sys.stdin.readline()
        table = packed.pack(Catalog.from_folder(sys.argv[1]), (4, 4, 3))
        print(count, int(table.pixels.sum()))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    both = [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    counts, sums = zip(
        *(map(int, process.communicate()[0].split()) for process in both), strict=True
    )
    assert sorted(counts) == [0, 24] and sums[0] == sums[1] > 0


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux tells")
def test_the_table_is_shared_and_not_copied_into_private_memory(folder):
    program = """
        import re
        from pathlib import Path
        import imgrec
        import numpy as np, pandas as pd
        from imgrec import cache, packed
        from imgrec.catalog import Catalog
        from imgrec.data import load

        def private():
            rollup = Path("/proc/self/smaps_rollup").read_text()
            return int(re.search(r"Anonymous: +(\\d+)", rollup)[1]) / 1024

        def passes(splits):
            for part in (splits.train, splits.valid, splits.ordered("train")):
                for _ in range(2):
                    list(part.take(3))

        picture = np.full((96, 96, 3), 7, np.uint8)
        packed.Decoder.read = lambda decoder, row: picture
        rows = {"file": map(str, range(5_000)), "label": ["a", "b"] * 2_500}
        catalog = Catalog.from_table(pd.DataFrame(rows)).split()
        passes(load(catalog.sample(50), image_size=96, batch_size=8))
        before = private()
        splits = load(catalog, image_size=96, batch_size=8)
        passes(splits)
        passes(splits.with_options(batch_size=4))
        print(splits.packed.pixels.nbytes / 2**20, private() - before)
    """
    output, _ = child(program).communicate()
    table, grown = map(float, output.split()[-2:])
    assert table > 130
    assert grown < table / 2, "a copy would be all of it"


def test_several_may_pack_the_same_pictures_at_once(folder, tmp_path):
    catalog = Catalog.from_folder(folder)
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: pack(catalog, (4, 4, 3)).pixels.copy(), range(4)))
    assert all((table == tables[0]).all() and table.max() > 0 for table in tables)
    left = sorted(path.name for path in (tmp_path / "cache" / "packed").glob("*/*"))
    assert left == ["manifest.json", "pixels.u8"]


def test_packing_leaves_the_warnings_of_the_program_as_they_were(folder):
    before = list(warnings.filters)
    for size in range(4, 12):
        pack(Catalog.from_folder(folder), (size, size, 3), cache="memory")
    assert list(warnings.filters) == before


def test_a_training_tells_of_pictures_that_were_lost_and_of_nothing_else(folder, capsys):
    splits = load(Catalog.from_folder(folder).split(), 16, batch_size=4, cache="off")
    rows = splits.catalog.table.query("split == 'train'")
    (folder / rows["file"].iloc[0]).write_bytes(b"")
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        run = fit(build_model("two_conv", splits.spec, dense=2), splits, epochs=2, progress="none")
    assert not [str(one.message) for one in heard if "ran out of data" in str(one.message)]
    assert list(warnings.filters) == before
    said = capsys.readouterr().out
    assert f"Set aside while reading: {rows['file'].iloc[0]} (empty)" in said
    assert "1 picture could not be read any more, see splits.problems." in said
    assert run.settings["set_aside"] == {rows["file"].iloc[0]: "empty"}
