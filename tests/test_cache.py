"""Tables on the disk: blocks, digests, what is there, what goes when there is too much of it."""

import hashlib
import json
import os
import time

import numpy as np
import pytest
from filelock import FileLock

from imgrec import cache
from imgrec.cache import (
    cache_budget,
    cache_table,
    fill_table,
    make_room,
    remove_tables,
    verify_table,
)
from imgrec.core import DataError


@pytest.fixture(autouse=True)
def small_blocks(tmp_path, monkeypatch):
    "Blocks of five rows, and a cache that is a folder of the test."
    monkeypatch.setattr(cache, "BLOCK_BYTES", 15)
    monkeypatch.setenv("IMGREC_CACHE", str(tmp_path / "cache"))


def numbers(rows, table):
    "Each row's number in each byte."
    table[:] = np.array(rows, np.uint8)[:, None]
    return [""] * len(rows)


def filled(folder, name="table", make=numbers, rows=12):
    "A table of three bytes a row."
    return fill_table(folder / name, (rows, 3), make, name)


def in_the_middle(at):
    "A maker that is interrupted at a block."

    def make(rows, table):
        if rows.start == at:
            raise KeyboardInterrupt
        return numbers(rows, table)

    return make


def test_only_blocks_whose_bytes_are_as_recorded_are_kept_from_an_interrupted_work(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        filled(tmp_path, make=in_the_middle(10))
    place = tmp_path / "table"
    lines = (place / "blocks.jsonl").read_text().splitlines(keepends=True)
    assert [json.loads(line)["block"] for line in lines] == [0, 1]
    (place / "blocks.jsonl").write_text(lines[0] + lines[1][:30])  # a kill while writing
    made = []
    table, _ = filled(tmp_path, make=lambda rows, t: made.append(rows.start) or numbers(rows, t))
    assert made == [5, 10]
    assert table[:, 0].tolist() == list(range(12))
    with pytest.raises(KeyboardInterrupt):
        filled(tmp_path, "other", in_the_middle(10))
    with (tmp_path / "other" / "pixels.u8").open("r+b") as file:
        file.write(b"!")
    made.clear()
    filled(tmp_path, "other", lambda rows, t: made.append(rows.start) or numbers(rows, t))
    assert made == [0, 10]


def test_a_record_of_nonsense_is_no_record(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        filled(tmp_path, make=in_the_middle(5))
    lines = ["3", "null", '{"block": 99}', '{"block": "a"}', "[]", "\x00\xff"]
    with (tmp_path / "table" / "blocks.jsonl").open("a") as file:
        file.write("\n".join(lines))
    table, _ = filled(tmp_path)
    assert table[:, 2].tolist() == list(range(12))


def test_a_block_with_a_row_that_could_not_be_read_is_made_again(tmp_path):
    def hung(rows, table):
        return [("unreadable: I/O" if row == 7 else "") for row in rows]

    _, reasons = filled(tmp_path, make=hung)
    assert reasons[7] == "unreadable: I/O" and not (tmp_path / "table" / "manifest.json").exists()
    made = []
    _, reasons = filled(tmp_path, make=lambda rows, t: made.append(rows.start) or numbers(rows, t))
    assert made == [5] and not any(reasons)


def test_the_manifest_holds_the_digest_of_every_block(tmp_path):
    filled(tmp_path)
    manifest = json.loads((tmp_path / "table" / "manifest.json").read_text())
    content = (tmp_path / "table" / "pixels.u8").read_bytes()
    cut = [content[start : start + 15] for start in (0, 15, 30)]
    assert manifest["blocks"] == [hashlib.sha256(block).hexdigest() for block in cut]
    assert verify_table(tmp_path / "table") == []
    with (tmp_path / "table" / "pixels.u8").open("r+b") as file:
        file.seek(20)
        file.write(b"!")
    assert verify_table(tmp_path / "table") == [1]
    os.truncate(tmp_path / "table" / "pixels.u8", 3)
    with pytest.raises(DataError, match="holds no whole table"):
        verify_table(tmp_path / "table")


def test_an_empty_table_is_a_table(tmp_path):
    assert filled(tmp_path, rows=0)[0].shape == (0, 3)
    assert filled(tmp_path, rows=0)[1] == ()


def test_what_was_not_used_for_long_goes_first_and_never_what_is_being_filled(
    tmp_path, monkeypatch
):
    folder = tmp_path / "cache" / "packed"
    for age, name in enumerate(["new", "old", "older", "oldest"]):
        filled(folder, name, rows=100)
        when = time.time() - 1000 * age
        os.utime(folder / name / "manifest.json", (when, when))
    assert cache_table()["what"].tolist() == ["oldest", "older", "old", "new"]
    filled(folder, "older", rows=100)  # used now
    monkeypatch.setenv("IMGREC_CACHE_GB", "1250e-9")
    with FileLock(folder / "old.lock"):
        assert make_room(300) == ""
        assert set(cache_table()["what"]) == {"old", "older", "new"}
        assert make_room(1000) != ""
        assert set(cache_table()["what"]) == {"old"}
    assert make_room(1250) == "" and not len(cache_table())
    assert "may take" in make_room(1251)


def test_tables_are_removed_by_the_beginning_of_their_name(tmp_path):
    folder = tmp_path / "cache" / "packed"
    for name in ("aab", "aac", "b"):
        filled(folder, name)
    with pytest.raises(DataError, match=r"'aa'.*2 tables begin so"):
        remove_tables(["aa"])
    with pytest.raises(DataError, match=r"'x'.*no table begins so"):
        remove_tables(["x"])
    with FileLock(folder / "b.lock"):
        assert remove_tables(["b"]) == 0
    assert remove_tables(["aab", "b"]) == 72
    assert cache_table()["table"].tolist() == ["aac"]
    assert {path.name for path in folder.iterdir()} == {"aac", "aac.lock"}


def test_a_table_that_is_not_finished_is_listed_as_such(tmp_path):
    folder = tmp_path / "cache" / "packed"
    with pytest.raises(KeyboardInterrupt):
        filled(folder, make=in_the_middle(5))
    (row,) = cache_table().to_dict("records")
    assert (row["what"], row["whole"], row["bytes"]) == ("not finished", False, 36)


def test_the_budget_is_half_of_what_is_free_or_what_was_said(tmp_path, monkeypatch):
    assert cache_budget(tmp_path / "nowhere" / "yet") > 0
    monkeypatch.setenv("IMGREC_CACHE_GB", "2.5")
    assert cache_budget() == 2_500_000_000
    monkeypatch.setenv("IMGREC_CACHE_GB", "lots")
    with pytest.raises(DataError, match="IMGREC_CACHE_GB must be a number, received 'lots'"):
        cache_budget()
