"""Scans: whatever a file does to the process that judges it, the one that asks gets its table."""

import hashlib
import io
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import signatures
from oddities import NOT_PICTURES, SCENE, WHOLE_PNG, write_odd_folder
from PIL import Image

from imgrec import catalog, processes
from imgrec.core import ImgrecError, OptionError
from imgrec.images import REASONS, Limits, check_image, read_image
from imgrec.judging import SCAN_COLUMNS, decode_answer, judge_file
from imgrec.scanning import scan_files

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is kept on Linux")
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    "An empty current folder."
    (tmp_path / "pictures").mkdir()
    monkeypatch.chdir(tmp_path / "pictures")
    return tmp_path / "pictures"


@pytest.fixture
def started(monkeypatch):
    "The workers that a test starts, none of which is warm."
    many, start = [], processes._start
    monkeypatch.setattr(processes, "_IDLE", [])
    monkeypatch.setattr(processes, "_start", lambda: many.append(start()) or many[-1])
    yield many
    for worker in many:
        worker.process.kill()


def paint(folder, count=30, name="{}.png"):
    "Small pictures, each of a colour of its own."
    paths = [folder / name.format(number) for number in range(count)]
    for number, path in enumerate(paths):
        Image.new("RGB", (8, 6), (number % 200, number // 200, 7)).save(path)
    return paths


# ---- the table


def test_a_scan_says_all_about_each_file_in_one_pass(folder):
    many = write_odd_folder(folder)
    table = scan_files([folder / name for name in many], signature=signatures.colour)
    assert list(table) == [*SCAN_COLUMNS, "signature"]
    assert table.index.equals(pd.RangeIndex(len(many)))
    assert table["ok"].dtype == bool and table["brightness"].dtype == float
    for row, (name, odd) in zip(table.itertuples(), many.items(), strict=True):
        verdict = check_image(folder / name)
        assert row.ok == (not odd.reason), name
        assert row[1:7] == (verdict.ok, *list(vars(verdict).values())[1:]), name
        assert row.ok or row.reason.startswith(REASONS)
        assert (row.brightness == row.brightness) == row.ok == bool(row.signature)
        if row.reason.partition(":")[0] in ("missing", "unreadable", "too large"):
            assert row.sha256 == ""
        elif row.reason != "not a regular file":
            content = (folder / name).read_bytes()
            assert (row.bytes, row.sha256 or hashlib.sha256(b"").hexdigest()) == (
                len(content),
                hashlib.sha256(content).hexdigest(),
            )
            assert row.mtime_ns == (folder / name).stat().st_mtime_ns
    assert list(scan_files([])) == list(SCAN_COLUMNS)


def test_brightness_is_the_mean_luminance(folder):
    Image.fromarray(SCENE).resize((700, 500)).save("scene.jpg", quality=95)
    Image.fromarray(SCENE).resize((700, 500)).save("scene.png")
    expected = np.asarray(Image.open("scene.png").convert("L")).mean()
    found = scan_files(["scene.jpg", "scene.png"])["brightness"]
    np.testing.assert_allclose(found, expected, atol=1)


def test_rows_keep_the_order_of_the_files_and_files_may_come_twice(folder):
    paths = paint(folder, 250)
    order = np.random.default_rng(0).permutation(250)
    mixed = [paths[number] for number in order] + paths[:5]
    table = scan_files(mixed, signature=signatures.colour, workers=3)
    expected = [bytes([number % 200, number // 200, 7]) for number in [*order, *range(5)]]
    assert table["signature"].tolist() == expected


def test_paths_are_relative_to_where_this_process_is_now(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        Image.new("RGB", (len(name), 5)).save("x.png")
        Image.new("RGB", (9, 9)).save(f"{name}.png")
        assert scan_files(["x.png", Path(f"{name}.png")])["ok"].all()


def test_no_file_that_is_none_is_ever_opened(folder):
    os.mkfifo("pipe.jpg") if hasattr(os, "mkfifo") else Path("pipe.jpg").mkdir()
    Path("folder.jpg").mkdir()
    paths = ["pipe.jpg", "folder.jpg", *(["/dev/zero", "/dev/tty"] if os.name == "posix" else [])]
    reasons = set(scan_files(paths, timeout=2)["reason"])
    assert reasons <= {"not a regular file", "missing"} and "not a regular file" in reasons
    assert scan_files(["a\0b.jpg"])["reason"].item().startswith("unreadable")


# ---- files that a process does not survive


@POSIX
def test_only_the_file_that_ends_a_process_is_blamed(folder, started):
    paths = paint(folder, 40)
    Image.new("RGB", (5, 5), (255, 0, 0)).save(paths[11])
    Image.new("RGB", (5, 5), (0, 255, 0)).save(paths[23])
    table = scan_files(paths, signature=signatures.deadly_colour, workers=2, timeout=0.5)
    assert table.index[~table["ok"]].tolist() == [11, 23]
    assert table["reason"][11] == "decoder crashed: SIGSEGV"
    assert table["reason"][23] == "timed out: more than 0.5 s"
    assert table.loc[[11, 23], "bytes"].gt(0).all() and (table.loc[[11, 23], "sha256"] == "").all()
    assert len(started) == 4  # two crashes, for a second chance is given, and one timeout


def test_a_worker_that_is_ended_from_outside_costs_no_file_its_verdict(folder, started):
    paths = paint(folder, 400)

    def end_one(done, total):
        if done in (20, 90, 300):
            started[-1].process.kill()

    table = scan_files(paths, signature=signatures.colour, workers=1, progress=end_one)
    assert table["ok"].all() and len(started) > 1


def test_a_slow_picture_runs_out_of_time_and_its_neighbours_do_not(folder):
    Image.new("L", (12_000, 12_000)).save("slow.png", compress_level=1)
    wide = Limits(max_pixels=200_000_000)
    Path("whole.png").write_bytes(WHOLE_PNG)
    table = scan_files(["whole.png", "slow.png", "whole.png"], wide, timeout=0.05)
    assert table["reason"].tolist() == ["", "timed out: more than 0.05 s", ""]


@LINUX
def test_a_picture_that_takes_too_much_memory_is_out_of_memory(folder):
    Image.new("RGB", (5000, 5000)).save("large.png", compress_level=1)
    Image.new("RGB", (5000, 5000)).save("large.jpg")
    Image.new("RGB", (5000, 5000)).save("large.webp", lossless=True, method=0)
    Path("whole.png").write_bytes(WHOLE_PNG)
    paths = ["large.png", "large.webp", "whole.png", "large.png"]
    reasons = scan_files(paths, memory=30_000_000)["reason"].tolist()
    assert reasons == ["out of memory", "out of memory", "", "out of memory"]
    assert scan_files(["large.png", "large.jpg"])["ok"].all()


@LINUX
def test_the_largest_picture_that_limits_allow_fits_into_the_memory(folder):
    side = int(Limits().max_pixels ** 0.5)
    Image.new("RGBA", (side, side), (1, 2, 3, 4)).save("clear.png", compress_level=1)
    assert scan_files(["clear.png"], timeout=100)["reason"].item() == ""


@LINUX
def test_a_hundred_bombs_take_little_memory(folder):
    (folder / "bomb.png").write_bytes(NOT_PICTURES["bomb.png"][0])
    for number in range(100):
        (folder / f"{number}.png").hardlink_to(folder / "bomb.png")
    reasons = scan_files([f"{number}.png" for number in range(100)], memory=64_000_000)["reason"]
    assert reasons.str.startswith("too many pixels").all()


def test_an_error_of_the_signature_is_no_fault_of_the_file(folder):
    paths = paint(folder, 3)
    with pytest.raises(ImgrecError, match="ZeroDivisionError"):
        scan_files(paths, signature=signatures.broken)
    assert scan_files(paths)["ok"].all()


# ---- records


def log_of(path):
    "What `slow_colour` noted: (process, colour) for each picture that it saw."
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(line.partition(" ")[0]), line.partition(" ")[2]) for line in lines]


SCAN = """
import sys, signatures
from pathlib import Path
from imgrec.scanning import scan_files
paths = [Path(sys.argv[1]) / f"{number}.png" for number in range(150)]
scan_files(paths, signature=signatures.slow_colour, workers=2, record=sys.argv[2])
"""


def alive(pid):
    "Whether a process is there and not a zombie."
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@LINUX
def test_a_scan_that_is_killed_goes_on_from_its_record(tmp_path, folder, started, monkeypatch):
    paths, record, log = paint(folder, 150), tmp_path / "new" / "scan.jsonl", tmp_path / "log"
    monkeypatch.setenv("IMGREC_TEST_LOG", str(log))
    command = [sys.executable, "-c", SCAN, str(folder), str(record)]
    scan = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    while len(log_of(log)) < 40:
        assert scan.poll() is None
        time.sleep(0.02)
    scan.kill()
    scan.wait()
    workers = {pid for pid, _ in log_of(log)}
    end = time.monotonic() + 20
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < end, "a worker outlives the process that asked"
        time.sleep(0.02)
    torn = record.read_bytes()
    recorded = [decode_answer(line) for line in torn.splitlines()[1:]]
    assert 10 < len(recorded) < 150
    record.write_bytes(torn + b'["half of a li')
    log.unlink()
    table = scan_files(paths, signature=signatures.slow_colour, record=record)
    again = {seen for _, seen in log_of(log)}
    assert not again & {str(list(values[-1])) for _, values in recorded}
    assert len(again) == 150 - len(recorded)
    fresh = scan_files(paths, signature=signatures.colour)
    pd.testing.assert_frame_equal(table, fresh)
    log.unlink()
    pd.testing.assert_frame_equal(
        scan_files(paths, signature=signatures.slow_colour, record=record), fresh
    )
    assert log_of(log) == []


def judged(paths, **options):
    "How many files a scan judged, and its table."
    seen = []
    table = scan_files(paths, progress=lambda done, total: seen.append(done), **options)
    return len(seen), table


def test_a_record_holds_for_files_and_settings_that_are_the_same(folder):
    paths, record = paint(folder, 9), folder / "scan.jsonl"
    paths += [folder / "gone.png"]
    assert judged(paths, record=record)[0] == 10
    assert judged(paths, record=record)[0] == 0
    Image.new("RGB", (30, 20)).save(paths[4])
    paths[-1].write_bytes(WHOLE_PNG)
    count, table = judged(paths, record=record)
    assert count == 2 and table["ok"].all()
    pd.testing.assert_frame_equal(table, scan_files(paths))
    paths[2].unlink()
    count, table = judged(paths[::-1], record=record)
    assert count == 1 and table["reason"].tolist().count("missing") == 1
    assert judged(paths, record=record, limits=Limits(min_side=7))[0] == 10
    assert judged(paths, record=record, limits=Limits(min_side=7))[0] == 0
    assert judged(paths, record=record)[0] == 10


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read all files")
def test_a_file_that_may_be_read_now_is_judged_anew(folder):
    paths = paint(folder, 1)
    paths[0].chmod(0)
    assert judged(paths, record="r")[1]["reason"].item().startswith("unreadable")
    paths[0].chmod(0o600)
    count, table = judged(paths, record="r")
    assert (count, table["ok"].item()) == (1, True)


def test_a_damaged_record_costs_the_lines_that_are_damaged(folder):
    paths, record = paint(folder, 5), folder / "scan.jsonl"
    expected = judged(paths, record=record)[1]
    lines = record.read_bytes().splitlines(keepends=True)
    lines[2:4] = [b"\0" * 90 + b"\n", b"[1, 2]\n"]
    record.write_bytes(b"".join(lines)[:-9])
    count, table = judged(paths, record=record)
    assert count == 3
    pd.testing.assert_frame_equal(table, expected)
    record.write_bytes(b"no record at all\n")
    assert judged(paths, record=record)[0] == 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_and_loses_no_result(folder):
    paths = paint(folder, 5)
    with pytest.warns(UserWarning, match=r"/dev/full cannot be written: No space left") as said:
        table = scan_files(paths, record="/dev/full")
    assert len(said) == 1
    pd.testing.assert_frame_equal(table, scan_files(paths))
    (folder / "file").touch()
    with pytest.warns(UserWarning, match="cannot be written"):
        assert scan_files(paths, record=folder / "file" / "scan.jsonl")["ok"].all()


# ---- processes


def test_the_next_scan_finds_its_process_warm(folder, started):
    paths = paint(folder, 10)
    for _ in range(5):
        assert scan_files(paths)["ok"].all()
    assert len(started) == 1
    started[0].process.kill()
    started[0].process.wait()
    assert scan_files(paths)["ok"].all()


def test_an_interrupted_scan_leaves_no_process_at_work(folder, started):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_files(paint(folder, 300), workers=2, progress=stop)
    for worker in started:
        if worker not in processes._IDLE:
            worker.process.wait(10)
    assert scan_files(paint(folder, 3))["ok"].all()


def test_scans_in_several_threads_do_not_mix(folder):
    tables = {}

    def scan(name):
        paths = paint(folder, 120, name + "_{}.png")
        tables[name] = paths, scan_files(paths)

    threads = [threading.Thread(target=scan, args=[name]) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for paths, table in tables.values():
        assert table["sha256"].tolist() == [
            hashlib.sha256(p.read_bytes()).hexdigest() for p in paths
        ]


def test_a_module_in_the_current_folder_is_not_run(folder, started):
    for name in ("json", "select", "PIL", "imgrec"):
        Path(f"{name}.py").write_text("raise SystemExit('run by a scan')")
    assert scan_files(paint(folder, 3))["ok"].all()


def test_judging_loads_no_framework_and_no_pandas():
    heavy = {"pandas", "scipy", "tensorflow", "keras", "matplotlib"}
    signed = catalog.signature.__module__  # which each worker imports
    code = f"import sys, imgrec.judging, {signed}; print(sorted({heavy} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_script_without_a_guard_is_not_run_again(folder):
    paint(folder, 3)
    Path("script.py").write_text(
        "print('once')\nfrom imgrec.scanning import scan_files\n"
        "print(scan_files(['0.png', '1.png'])['ok'].sum())\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["once", "2"] and done.stderr == ""


# ---- progress and options


def test_progress_is_told_file_by_file_and_silent_in_a_log(folder, capfd):
    paths = paint(folder, 12)
    seen = []
    scan_files(paths, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 12) for number in range(1, 13)]
    scan_files(paths)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_sees_how_far_it_is(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    scan_files(paint(folder, 3))
    assert capsys.readouterr().err == ""  # over before anybody could read
    monkeypatch.setenv("IMGREC_TEST_LOG", os.devnull)
    monkeypatch.setenv("IMGREC_TEST_SLEEP", "0.2")
    monkeypatch.setattr(processes, "_IDLE", [])
    scan_files(paint(folder, 20), signature=signatures.slow_colour, workers=1)
    shown = capsys.readouterr().err
    assert "of 20 files" in shown and "left" in shown and shown.endswith("s\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": 0}, "workers"),
        ({"timeout": 0}, "timeout"),
        ({"memory": -1}, "memory"),
        ({"progress": "yes"}, "progress"),
        ({"signature": lambda small: b""}, "signature"),
    ],
)
def test_impossible_options_are_named(options, said, tmp_path):
    with pytest.raises(OptionError, match=said):
        scan_files([tmp_path / "x.png"], **options)


def test_judging_in_this_process_says_the_same(folder):
    paths = paint(folder, 4)
    rows = [judge_file(path, signature=signatures.colour) for path in paths]
    table = scan_files(paths, signature=signatures.colour)
    expected = pd.DataFrame(rows, columns=list(table))
    pd.testing.assert_frame_equal(
        table, expected.assign(brightness=expected["brightness"].round(2))
    )


def test_no_warning_of_a_decoder_reaches_the_user(folder):
    write_odd_folder(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in folder.iterdir():
            judge_file(path)


def mutated(content, draw):
    "The bytes of a file after a few accidents."
    data = bytearray(content)
    for _ in range(draw.integers(1, 9)):
        kind, at = draw.integers(5), int(draw.integers(len(data)))
        length = int(draw.geometric(0.05))
        if kind == 0:  # a bit
            data[at] ^= 1 << int(draw.integers(8))
        elif kind == 1:  # noise
            data[at : at + length] = draw.bytes(min(length, len(data) - at))
        elif kind == 2:  # bytes lost
            del data[at : at + length]
        elif kind == 3:  # a piece twice
            data[at:at] = data[at : at + length]
        else:  # extreme values, as lengths and sizes take them
            data[at : at + 4] = bytes([0, 255][int(draw.integers(2))] for _ in range(4))
        if len(data) < 8:
            return bytes(content)
    return bytes(data)


def test_hundreds_of_mutated_files_are_judged_in_time_and_none_ends_a_process(folder, started):
    draw, seeds = np.random.default_rng(0), []
    picture = Image.fromarray(draw.integers(0, 256, (6, 9, 3), np.uint8)).resize((120, 80))
    for fmt, more in (
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("GIF", {"save_all": True, "append_images": [picture.rotate(90)]}),
    ):
        file = io.BytesIO()
        picture.save(file, fmt, **more)
        seeds.append(file.getvalue())
    paths = [folder / str(number) for number in range(600)]
    for number, path in enumerate(paths):
        path.write_bytes(mutated(seeds[number % len(seeds)], draw))
    table = scan_files(paths, signature=signatures.colour, workers=2, timeout=5)
    assert len(started) == 2 and all(worker.process.poll() is None for worker in started)
    assert table["reason"][~table["ok"]].str.startswith(tuple(REASONS)).all()
    assert not table["reason"].str.contains("crashed|timed out").any()
    assert 50 < table["ok"].sum() < 550  # some are harmless, most are not
    for row in np.flatnonzero(table["ok"])[:100]:
        assert read_image(paths[row]).shape[:2] == (table["height"][row], table["width"][row])
