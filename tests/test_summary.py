"""A set at a glance: every picture counted in the right row and column, however odd the table."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgrec.catalog import Catalog
from imgrec.datasets import digits
from imgrec.summary import PARTS, balance_text, count_parts, summary_table, usable

NAMES = ["cat", "dog", "all", "Ärger 😀", "caf\udce9"]
LABELS = st.one_of(
    st.sampled_from([*NAMES, "stranger"]),
    st.sets(st.sampled_from(NAMES)).map(lambda names: tuple(sorted(names))),
)
ROWS = st.lists(
    st.tuples(
        LABELS,
        st.sampled_from(["train", "valid", "test", ""]),
        st.booleans(),
        st.sampled_from(["JPEG", "PNG", "GIF"]),
        st.tuples(st.integers(1, 5), st.integers(1, 5)),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=30,
)


def as_table(rows):
    "Rows as a catalog has them after a scan and a split."
    labels, split, ok, formats, sizes, light = zip(*rows, strict=True)
    table = pd.DataFrame({"label": pd.Series(labels, dtype=object), "split": split, "ok": ok})
    table = table.assign(format=formats, brightness=np.where(ok, light, np.nan))
    width, height = zip(*sizes, strict=True)
    return table.assign(width=width, height=height)


def of_class(rows, name):
    "The rows that count for a class, or all."
    if name is None:
        return rows
    return [row for row in rows if name in (row[0] if isinstance(row[0], tuple) else [row[0]])]


@given(ROWS)
def test_every_number_is_what_counting_by_hand_gives(rows):
    found = summary_table(as_table(rows), NAMES)
    assert list(found.index) == [*NAMES, "all"]
    good = [row for row in rows if row[1] and row[2]]
    for place, name in enumerate([*NAMES, None]):
        mine, line = of_class(rows, name), found.iloc[place]
        counts = Counter(row[1] if row[1] and row[2] else "set aside" for row in mine)
        assert {p: int(line[p]) for p in PARTS if p in found and line[p]} == dict(counts)
        assert line["problems"] == sum(not row[2] for row in mine)
        kept = [row for row in mine if row in good]
        sizes = sorted((w * h, w, f"{w} x {h}") for *_, (w, h), _ in kept)
        formats = Counter(row[3] for row in kept)
        if not kept:
            assert line["size"] == line["formats"] == "" and pd.isna(line["brightness"])
            continue
        assert line["share"] == pytest.approx(len(kept) / len(good))
        ends = f" ({sizes[0][2]} to {sizes[-1][2]})" if sizes[0] != sizes[-1] else ""
        assert line["size"] == sizes[(len(sizes) - 1) // 2][2] + ends
        said = [part.rsplit(" ", 2)[0] for part in line["formats"].split(", ")]
        assert said == sorted(formats, key=lambda kind: (-formats[kind], kind))
        assert abs(line["brightness"] - np.mean([row[5] for row in kept])) <= 0.5


@given(ROWS, st.randoms())
def test_the_order_of_the_rows_does_not_matter(rows, random):
    first = summary_table(as_table(rows), NAMES)
    random.shuffle(rows)
    pd.testing.assert_frame_equal(first, summary_table(as_table(rows), NAMES))


@given(ROWS)
def test_imbalance_is_the_largest_class_over_each(rows):
    found = summary_table(as_table(rows), NAMES)
    sizes, times = usable(found).to_numpy()[:-1], found["imbalance"].to_numpy()
    for size, ratio in zip(sizes, times[:-1], strict=True):
        if size:
            assert ratio == pytest.approx(sizes.max() / size, abs=0.006)
        else:
            assert not np.isfinite(ratio)
    assert times[-1] == max(times[:-1]) or np.isnan(times[:-1]).all()


def test_before_a_scan_there_are_only_counts():
    split = Catalog.from_table(pd.DataFrame({"file": list("abcdef"), "label": list("xyxyxy")}))
    assert summary_table(split.table, split.class_names).to_dict() == {
        "pictures": {"x": 3, "y": 3, "all": 6}
    }
    parts = summary_table(split.split(0.3, 0.3).table, ("y", "x"))
    assert list(parts) == ["train", "valid", "test"] and list(parts.index) == ["y", "x", "all"]
    assert all(dtype.kind == "i" for dtype in parts.dtypes)
    given_parts = split.table.assign(split=["train", "test"] * 3)
    assert list(summary_table(given_parts, ("x", "y"))) == ["train", "test"], "no empty column"


def test_what_is_not_ok_is_set_aside_whatever_its_part():
    table = pd.DataFrame({"label": ["a", "b", "a"], "split": "train", "ok": [True, True, False]})
    assert count_parts(table, "ab").loc["a"].to_dict() == {"train": 1, "set aside": 1}
    unsplit = count_parts(table.drop(columns="split"), "ab")
    assert unsplit.loc["all"].to_dict() == {"pictures": 2, "set aside": 1}
    assert unsplit.loc["all"].sum() == len(table)


def test_scanned_pictures_in_memory_have_a_summary():
    catalog = digits().scan().split()
    found = summary_table(catalog.table, catalog.class_names)
    assert found["size"].unique().tolist() == ["8 x 8"]
    assert found["problems"].sum() == 0 and found["share"].iloc[:-1].sum() == pytest.approx(1)
    assert "set aside" not in found


@pytest.mark.parametrize(
    "sizes, words",
    [
        ({"a": 5, "b": 5}, "classes of equal size"),
        ({"a": 100, "b": 104}, "classes of equal size"),
        ({"a": 1, "b": 3}, "largest class 3 times the smallest"),
        ({"a": 2, "b": 5}, "largest class 2.5 times the smallest"),
        ({"a": 3, "b": 6000}, "largest class 2,000 times the smallest"),
        ({"a": 3, "b": 0, "c": 0}, "2 classes without a picture that can be used"),
        ({"a": 3, "b": 0}, "1 class without a picture that can be used"),
        ({"a": 3}, ""),
    ],
)
def test_balance_is_said_in_words(sizes, words):
    labels = [name for name, count in sizes.items() for _ in range(count)]
    assert balance_text(count_parts(pd.DataFrame({"label": labels}), list(sizes))) == words


@pytest.mark.parametrize("labels", [[(), ()], [("a",), ()]])
def test_pictures_without_a_label_count_only_in_the_total(labels):
    table = pd.DataFrame({"label": labels, "ok": True, "width": 3, "height": 2})
    found = summary_table(table, ["a"])
    assert found.loc["all", "pictures"] == 2 and found.loc["all", "size"] == "3 x 2"
    assert found.loc["a", "pictures"] == sum(map(len, labels))


def test_two_hundred_classes_are_all_there_and_the_total_is_seen():
    names = [f"species {number:03}" for number in range(200)]
    table = pd.DataFrame({"label": names * 2, "ok": True, "format": "PNG", "width": 9, "height": 9})
    found = summary_table(table, names)
    assert len(found) == 201 and set(found["pictures"][:-1]) == {2}
    assert repr(found).splitlines()[-3].startswith("all"), "pandas shows both ends"
