"""The same picture twice is found; pictures that only resemble each other are left alone."""

import hashlib
import io
import time

import numpy as np
import pandas as pd
import pytest
import skimage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from imgrec.core import CatalogError
from imgrec.duplicates import duplicate_groups, duplicate_table, similarity
from imgrec.signatures import signature

NAMES = "astronaut camera cat coffee coins rocket immunohistochemistry retina page text colorwheel"


def opened(data):
    "Pixels of a file."
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def jpeg(picture, quality=90):
    "A picture, saved and opened again."
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return opened(file.getvalue())


def brighter(picture, times):
    return Image.fromarray((np.asarray(picture) * times).clip(0, 255).astype(np.uint8))


def cropped(picture, share):
    width, height = picture.size
    x, y = max(1, round(share * width)), max(1, round(share * height))
    return picture.crop((x, y, width - x, height - y))


CHANGES = {
    "quality 50": lambda picture: jpeg(picture, 50),
    "half": lambda picture: jpeg(picture.resize((picture.width // 2, picture.height // 2))),
    "double": lambda picture: jpeg(picture.resize((picture.width * 2, picture.height * 2))),
    "brighter": lambda picture: jpeg(brighter(picture, 1.15)),
    "darker": lambda picture: jpeg(brighter(picture, 0.85)),
    "cropped": lambda picture: jpeg(cropped(picture, 0.03)),
    "squeezed": lambda picture: jpeg(picture.resize((224, 224))),
}


@pytest.fixture(scope="module")
def pictures():
    "Tiles of the pictures of scikit-image, 160 pixels a side or less, each of its own content."
    found = []
    for name in NAMES.split():
        picture = Image.fromarray(getattr(skimage.data, name)()).convert("RGB")
        picture = picture.resize((320, 320))
        corners = [(0, 0), (160, 0), (0, 160), (160, 160)]
        found += [picture.crop((x, y, x + 160, y + 160)) for x, y in corners]
    return found


@pytest.fixture(scope="module")
def plain(pictures):
    return [signature(np.asarray(picture)) for picture in pictures]


@pytest.fixture(scope="module")
def changed(pictures):
    return {
        name: [signature(change(picture)) for picture in pictures]
        for name, change in CHANGES.items()
    }


def groups_of(signatures):
    "Groups by looks alone."
    return duplicate_groups([""] * len(signatures), signatures)


def random_signatures(count, seed=0):
    "Signatures of pictures that never were."
    random = np.random.default_rng(seed)
    rows = np.full((count, 128), 128, np.uint8)
    numbers = np.rint(random.normal(0, 30, (count, 120))).clip(-127, 127)
    rows[:, :120] = numbers.astype(np.int8).view(np.uint8)
    return [row.tobytes() for row in rows]


# ---- what is found


@pytest.mark.parametrize("change", CHANGES)
def test_changed_pictures_are_found_and_others_are_not(plain, changed, change):
    groups = groups_of(plain + changed[change])
    one, two = np.split(groups, 2)
    found = (one == two) & (one >= 0)
    assert found.mean() >= (0.9 if change == "cropped" else 0.97)
    sizes = np.bincount(groups[groups >= 0])
    assert sizes.max() == 2, "no picture is taken for another"


def test_all_variants_of_a_picture_are_one_group(plain, changed):
    count = len(plain)
    groups = groups_of(plain + [one for some in changed.values() for one in some])
    groups = groups.reshape(-1, count)
    together = [(column == column[0]).all() and column[0] >= 0 for column in groups.T]
    assert np.mean(together) > 0.85
    for group in set(groups[groups >= 0]):
        assert len(set(np.nonzero(groups == group)[1])) == 1


def test_pictures_alone_have_no_group(plain):
    assert (groups_of(plain) == -1).all()


def test_grey_pictures_may_have_one_channel():
    grey = skimage.data.camera()
    one, three = signature(grey[..., None]), signature(np.stack([grey] * 3, axis=-1))
    assert len(one) == len(three) == 128 and similarity(one, three) > 0.999


def test_colour_matters():
    picture = skimage.data.coffee()
    assert similarity(signature(picture), signature(picture[..., ::-1].copy())) == 0
    assert similarity(signature(picture), b"") == 0


def test_similarity_falls_with_the_crop():
    picture = Image.fromarray(skimage.data.cat())
    shares = (0, 0.01, 0.03, 0.06, 0.12)
    whole = signature(np.asarray(picture))
    alike = [similarity(whole, signature(np.asarray(cropped(picture, s)))) for s in shares]
    assert alike == sorted(alike, reverse=True) and alike[2] > 0.86 > alike[3]
    other = signature(np.asarray(cropped(picture, 0.03)))
    assert similarity(whole, other) == pytest.approx(similarity(other, whole), abs=1e-5)


# ---- what is not


@pytest.mark.parametrize("side", [8, 16, 32, 64])
def test_digits_are_not_taken_for_each_other(side):
    digits = (255 / 16 * load_digits().images).astype(np.uint8)
    scaled = [np.asarray(Image.fromarray(digit).resize((side, side), 3)) for digit in digits]
    assert (groups_of([signature(one[..., None]) for one in scaled]) == -1).all()


def test_flat_small_and_drawn_pictures_are_compared_by_bytes_only():
    random = np.random.default_rng(0)
    flat = random.integers(120, 124, (64, 64, 3), np.uint8)
    stroke = np.full((64, 64, 3), 255, np.uint8)
    stroke[30:34, 10:50] = 0
    for picture in (flat, stroke, np.zeros((32, 32, 1), np.uint8), flat[:15]):
        assert signature(picture) == b""
    assert duplicate_groups(["a", "b", "a", "b", "c"], [b""] * 5).tolist() == [0, 1, 0, 1, -1]


def test_textures_are_alone():
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (300, 16, 16, 3), np.uint8)
    coarse = random.integers(0, 256, (300, 4, 4, 3), np.uint8)
    textures = [np.asarray(Image.fromarray(one).resize((64, 64), 3)) for one in (*noise, *coarse)]
    signatures = [signature(texture) for texture in textures]
    assert all(signatures) and (groups_of(signatures) == -1).all()


def test_chains_are_cut():
    coffee = Image.fromarray(skimage.data.coffee())
    frames = [coffee.crop((at, 50, at + 300, 350)) for at in range(300)]
    film = [signature(np.asarray(frame)) for frame in frames]
    groups = groups_of(film + random_signatures(200))
    sizes = np.bincount(groups[groups >= 0])
    assert 2 < sizes.max() < 60
    assert (groups[300:] == -1).all()
    for group in set(groups[:300]) - {-1}:
        members = np.flatnonzero(groups == group)
        assert similarity(film[members[0]], film[members[-1]]) > 0.2


# ---- groups


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["", "a", "b", "c", "d"]), max_size=12), st.data())
def test_equal_checksums_and_only_they_belong_together(sums, data):
    order = data.draw(st.permutations(range(len(sums))))
    groups = duplicate_groups(sums, [b""] * len(sums))
    for at, one in enumerate(sums):
        for other, two in enumerate(sums):
            same = at != other and one == two != ""
            assert (groups[at] == groups[other] >= 0) == same or at == other
    mixed = duplicate_groups([sums[at] for at in order], [b""] * len(sums))
    assert [groups[at] < 0 for at in order] == [number < 0 for number in mixed]
    first = [number for at, number in enumerate(groups) if number not in groups[:at]]
    assert [number for number in first if number >= 0] == list(range(groups.max(initial=-1) + 1))


def test_groups_do_not_depend_on_the_order(plain, changed):
    signatures = plain + changed["cropped"] + changed["half"]
    sums = [hashlib.sha256(one).hexdigest() if one else "" for one in signatures]
    groups = duplicate_groups(sums, signatures)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(signatures))
        mixed = duplicate_groups([sums[at] for at in order], [signatures[at] for at in order])
        pairs = set(zip(groups[order].tolist(), mixed.tolist(), strict=True))
        assert len(pairs) == len({old for old, _ in pairs}) == len({new for _, new in pairs})
        assert ((groups[order] < 0) == (mixed < 0)).all()


def test_bytes_and_looks_are_joined():
    one, two, three = random_signatures(3)
    groups = duplicate_groups(["a", "b", "b", "c", "c", ""], [one, one, two, two, b"", three])
    assert groups.tolist() == [0, 0, 0, 0, 0, -1]


def test_nothing_one_picture_and_what_cannot_be():
    assert duplicate_groups([], []).tolist() == []
    assert duplicate_groups(["a"], random_signatures(1)).tolist() == [-1]
    assert duplicate_groups(["", ""], [b"", b""]).tolist() == [-1, -1]
    with pytest.raises(CatalogError, match="2 checksums and 1"):
        duplicate_groups(["a", "b"], [b""])
    with pytest.raises(CatalogError, match="128 bytes"):
        duplicate_groups(["a", "b"], [b"older", b""])


def test_pandas_columns_with_any_index_are_taken():
    table = pd.DataFrame({"sha256": ["a", "b", "a"], "signature": [b""] * 3}, index=[7, 3, 5])
    assert duplicate_groups(table["sha256"], table["signature"]).tolist() == [0, -1, 0]


def test_a_thousand_copies_are_one_group_and_time_grows_evenly():
    def seconds(signatures):
        start = time.process_time()
        groups = groups_of(signatures)
        return time.process_time() - start, groups

    many = random_signatures(20_000)
    copies = np.frombuffer(many[0], np.uint8).repeat(1000).reshape(128, 1000).T.copy()
    copies[np.arange(1000), np.arange(1000) % 120] += 1
    many[1:1001] = [copy.tobytes() for copy in copies]
    some, _ = seconds(many[1000:6000])
    all_, groups = seconds(many)
    assert (groups[:1001] == 0).all() and (groups[1001:] == -1).all()
    assert all_ < 16 * some + 2, "four times as many, and a thousand copies of one"


# ---- the table


def test_table_of_groups():
    table = pd.DataFrame({"file": list("edcba"), "label": ["dog", "cat", "cat", "cat", "dog"]})
    table["sha256"] = ["1", "2", "3", "3", "4"]
    table["duplicate_group"] = [0, 0, 1, 1, -1]
    found = duplicate_table(table)
    assert found.to_dict("list") == {
        "group": [0, 1],
        "kind": ["near", "same bytes"],
        "pictures": [2, 2],
        "files": [("d", "e"), ("b", "c")],
        "labels": [("cat", "dog"), ("cat",)],
        "conflict": [True, False],
    }
    table["duplicate_group"] = [0, 1, 1, 1, 0]
    assert duplicate_table(table)["pictures"].tolist() == [3, 2]


def test_table_of_groups_with_several_labels_and_none():
    table = pd.DataFrame({"file": ["a", "b", "c"], "label": [("cat", "dog"), ("cat",), ("cat",)]})
    table = table.assign(sha256=["1", "1", "2"], duplicate_group=[0, 0, -1])
    found = duplicate_table(table)
    assert found["labels"].tolist() == [(("cat",), ("cat", "dog"))] and found["conflict"].all()
    empty = duplicate_table(table.assign(duplicate_group=-1))
    assert len(empty) == 0 and list(empty) == list(found)
    with pytest.raises(CatalogError, match="duplicate_group"):
        duplicate_table(table.drop(columns="duplicate_group"))
