"""Sets of TensorFlow Datasets: found without a network, in memory or as files, refused in time."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from imgrec.core import DataError, MissingFileError, OptionError
from imgrec.tfds import tfds


class Feature(SimpleNamespace):
    "Any feature."


class Picture(Feature):
    "Stands for `features.Image`."


class ClassLabel(Feature):
    "Stands for `features.ClassLabel`."


class Sequence(Feature):
    "Stands for `features.Sequence`."


class FeaturesDict(dict):
    "Stands for `features.FeaturesDict`."


class Splits(dict):
    "Counts pictures, also of a slice, and knows no other names."

    def __missing__(self, name):
        base, _, rest = name.partition("[:")
        if base not in self:
            raise ValueError(f"Unknown split {name!r}.")
        return SimpleNamespace(num_examples=int(rest.rstrip("]")))


class Builder:
    "Stands for a builder: features, and rows by the name of their split."

    def __init__(self, features, rows, keys=("image", "label"), name="pets/1.0.0", size=10_000):
        splits = {split: SimpleNamespace(num_examples=len(found)) for split, found in rows.items()}
        self.info = SimpleNamespace(
            features=features,
            splits=Splits(splits),
            supervised_keys=keys,
            full_name=name,
            dataset_size=size,
        )
        self.rows, self.asked, self.prepared = rows, [], False

    def as_dataset(self, split, decoders):
        "The rows with what was asked for, and a note of it."
        wanted, raw = decoders
        self.asked.append((split, sorted(wanted), sorted(raw)))
        base, _, end = split.partition("[:")
        rows = self.rows[base][: int(end.rstrip("]")) if end else None]
        for row in rows:
            yield {key: row[key] for key in wanted}

    def download_and_prepare(self):
        "What would use the network."
        self.prepared = True


@pytest.fixture
def library(monkeypatch, tmp_path):
    "A stand-in for the library, an empty folder for sets, and another for the cache."
    calls = []

    def builder(name, data_dir):
        calls.append((name, data_dir))
        return fake.sets[name]

    fake = SimpleNamespace(
        features=SimpleNamespace(
            Image=Picture, ClassLabel=ClassLabel, Sequence=Sequence, FeaturesDict=FeaturesDict
        ),
        decode=SimpleNamespace(
            PartialDecoding=lambda wanted, decoders: (wanted, decoders),
            SkipDecoding=lambda: "raw",
        ),
        as_numpy=lambda rows: rows,
        builder=builder,
        builder_from_directory=lambda folder: fake.folders[folder],
        sets={},
        folders={},
        calls=calls,
        root=tmp_path / "sets",
    )
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    monkeypatch.setenv("TFDS_DATA_DIR", str(fake.root))
    monkeypatch.setenv("IMGREC_CACHE", str(tmp_path / "cache"))
    return fake


def prepare(library, builder, folder="pets/1.0.0"):
    "Put a set where the library keeps those that are prepared."
    place = library.root / folder
    place.mkdir(parents=True)
    (place / "features.json").touch()
    library.folders[str(place)] = builder
    return builder


def array(value, shape=(8, 6, 3)):
    "A picture of one shade."
    return np.full(shape, value, np.uint8)


def file(width, kind="PNG"):
    "The content of a picture file."
    buffer = io.BytesIO()
    Image.new("RGB", (width, 20), (width, 0, 0)).save(buffer, kind)
    return buffer.getvalue()


CAT_OR_DOG = ClassLabel(names=["dog/wolf", "cat"])


def fixed(**changes):
    "A set with pictures of one size."
    rows = {
        "train": [{"image": array(i), "label": i % 2} for i in range(6)],
        "test": [{"image": array(100 + i), "label": i % 2} for i in range(4)],
    }
    features = {"image": Picture(shape=(8, 6, 3), np_dtype=np.uint8), "label": CAT_OR_DOG}
    return Builder(**{"features": features, "rows": rows} | changes)


def varied(**changes):
    "A set with pictures of different sizes."
    kinds = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
    rows = {
        "train": [{"image": file(20 + i, kinds[i % 5]), "label": i % 2} for i in range(10)],
        "validation": [{"image": file(60 + i), "label": 1} for i in range(3)],
    }
    features = {"image": Picture(shape=(None, None, 3), np_dtype=np.uint8), "label": CAT_OR_DOG}
    return Builder(**{"features": features, "rows": rows} | changes)


# ---- pictures


def test_pictures_of_one_size_are_an_array_and_the_published_test_part_stays_it(library):
    prepare(library, fixed())
    catalog = tfds("pets", horizontal_flip=False)
    assert catalog.class_names == ("dog/wolf", "cat") and not catalog.horizontal_flip
    assert catalog.arrays[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 100, 101, 102, 103]
    assert catalog.table["split"].tolist() == ["train"] * 6 + ["test"] * 4
    assert catalog.table["label"].tolist() == ["dog/wolf", "cat"] * 5
    divided = catalog.split(valid=0.4).table["split"]
    assert divided[6:].eq("test").all() and set(divided[:6]) == {"train", "valid"}


def test_pictures_of_different_sizes_are_the_sets_own_files(library):
    builder = prepare(library, varied())
    catalog = tfds("pets")
    assert catalog.arrays is None and catalog.summary().loc["all"].to_dict() == {
        "train": 10,
        "valid": 3,
    }
    contents = [row["image"] for part in ("train", "validation") for row in builder.rows[part]]
    assert [(catalog.root / name).read_bytes() for name in catalog.table["file"]] == contents
    scanned = catalog.scan().table
    assert scanned["width"].tolist() == [*range(20, 30), 60, 61, 62]
    assert [name.rpartition(".")[2] for name in catalog.table["file"][:5]] == [
        *("png", "jpg", "gif", "bmp", "webp")
    ]
    assert builder.asked[0] == ("train", ["image", "label"], ["image"]), "nothing else is decoded"


def test_files_are_written_once(library):
    builder = prepare(library, varied())
    first = tfds("pets")
    second = tfds("pets")
    assert first.root == second.root and first.table.equals(second.table)
    assert len(builder.asked) == 2  # the two splits, when the files were written
    other = tfds("pets", split="train[:4]")
    assert other.root != first.root and len(other) == 4 and "split" not in other.table


def test_what_breaks_off_leaves_nothing_and_is_done_anew(library, tmp_path):
    builder = prepare(library, varied())
    whole = builder.rows["validation"]
    builder.rows["validation"] = [*whole[:2], {"image": None, "label": 0}]
    with pytest.raises(TypeError):
        tfds("pets")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    builder.rows["validation"] = whole
    assert len(tfds("pets")) == 13


def test_two_that_write_at_the_same_time_end_with_one_folder(library):
    builder = prepare(library, varied())
    plain, roots = builder.as_dataset, []

    def overtaken(split, decoders):
        builder.as_dataset = plain
        roots.append(tfds("pets").root)  # another one writes the same, and is faster
        return plain(split, decoders)

    builder.as_dataset = overtaken
    catalog = tfds("pets")
    assert roots == [catalog.root] and len(catalog.scan().problems) == 0
    assert [path.name for path in catalog.root.parent.iterdir()] == [catalog.root.name]


@pytest.mark.parametrize(
    ("shape", "dtype"), [((8, 6, 4), np.uint8), ((8, 6, 1), np.uint16), ((None, 6, 3), np.uint8)]
)
def test_what_is_no_array_of_bytes_is_left_to_the_reader_of_files(library, shape, dtype):
    builder = prepare(library, varied())
    builder.info.features["image"] = Picture(shape=shape, np_dtype=dtype)
    assert tfds("pets").arrays is None


def test_measurements_are_no_pictures(library):
    builder = prepare(library, fixed())
    builder.info.features["image"] = Picture(shape=(8, 6, 1), np_dtype=np.float32)
    with pytest.raises(DataError, match=r"measurements .*Catalog\.from_arrays"):
        tfds("pets")


def test_a_set_that_is_too_large_is_refused_before_it_is_read(library):
    builder = prepare(library, fixed())
    with pytest.raises(DataError, match=r"1,440 bytes in memory for 10 pictures.*max_bytes=1440"):
        tfds("pets", max_bytes=1439)
    assert len(tfds("pets", max_bytes=1440)) == 10
    assert len(tfds("pets", split="train[:2]", max_bytes=288)) == 2
    files = prepare(library, varied(size=1300), "birds/1.0.0")
    with pytest.raises(DataError, match=r"1,300 bytes in .*cache for 13 pictures"):
        tfds("birds", max_bytes=1299)
    assert len(tfds("birds", split="train[:4]", max_bytes=400)) == 4
    assert len(builder.asked) == 3 and len(files.asked) == 1


# ---- labels


MANY = {
    "image": Picture(shape=(8, 6, 3), np_dtype=np.uint8),
    "thumbnail": Picture(shape=(2, 2, 3), np_dtype=np.uint8),
    "tags": Sequence(feature=ClassLabel(names=["sun", "sea", "ant"])),
    "worn": FeaturesDict(hat=Feature(np_dtype=np.bool_), beard=Feature(np_dtype=np.bool_)),
    "boxes": Sequence(feature=FeaturesDict(label=CAT_OR_DOG)),
    "mixed": FeaturesDict(hat=Feature(np_dtype=np.bool_), age=Feature(np_dtype=np.int64)),
    "name": Feature(np_dtype=object),
}


def many():
    "A set in which more than one feature can be a label, and a picture."
    tags = ([1, 0], [], [2, 2], [0, 1, 2])
    rows = [
        {"image": array(i), "tags": np.array(found, int), "worn": {"hat": i > 1, "beard": i == 3}}
        for i, found in enumerate(tags)
    ]
    return Builder(MANY, {"train": rows}, keys=None)


def test_several_labels_and_groups_of_yes_and_no_are_sets_of_words(library):
    prepare(library, many())
    tags = tfds("pets", image="image", label="tags")
    assert tags.multi_label and tags.class_names == ("sun", "sea", "ant")
    assert tags.table["label"].tolist() == [("sea", "sun"), (), ("ant",), ("ant", "sea", "sun")]
    worn = tfds("pets", image="image", label="worn")
    assert worn.class_names == ("hat", "beard")
    assert worn.table["label"].tolist() == [(), (), ("hat",), ("beard", "hat")]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"label": "tags"}, "image must be one of: image, thumbnail; received None"),
        ({"image": "image"}, "label must be one of: tags, worn; received None"),
        ({"image": "image", "label": "boxes"}, "one of: tags, worn; received 'boxes'"),
        ({"image": "name", "label": "tags"}, "received 'name'"),
    ],
)
def test_an_open_choice_is_the_users(library, keys, words):
    prepare(library, many())
    with pytest.raises(OptionError, match=words):
        tfds("pets", **keys)


def test_a_set_without_classes_says_so(library):
    features = {"image": MANY["image"], "name": MANY["name"]}
    prepare(library, Builder(features, {"train": [{}]}, keys=None))
    with pytest.raises(OptionError, match=r"label must be \(the set has none\)"):
        tfds("pets")


def test_secret_labels_are_no_class(library):
    builder = fixed()
    builder.rows["test"][2]["label"] = -1
    prepare(library, builder)
    with pytest.raises(DataError, match="Split 'test' has pictures without a label"):
        tfds("pets")
    assert len(tfds("pets", split="train")) == 6


# ---- parts


@pytest.mark.parametrize(
    ("names", "split", "counts"),
    [
        (["train", "extra"], None, {"pictures": 6}),
        (["train", "test"], "test", {"pictures": 4}),
        (["train", "test"], "train[:3]", {"pictures": 3}),
        (["train", "validation", "test"], None, {"train": 6, "valid": 4, "test": 4}),
        (["train", "val"], {"train": "train", "test": "val"}, {"train": 6, "test": 4}),
        (["train", "test"], {"train": "train[:2]", "valid": "test"}, {"train": 2, "valid": 4}),
        (["validation"], None, {"valid": 4}),
    ],
)
def test_splits_become_parts(library, names, split, counts):
    rows = fixed().rows
    prepare(library, fixed(rows={n: rows["train" if n == "train" else "test"] for n in names}))
    assert tfds("pets", split=split).summary().loc["all"].to_dict() == counts


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("tset", "received tset: Unknown split 'tset'"),
        ({"test": "tset"}, "received tset: Unknown split 'tset'"),
        ({"learn": "train"}, r"train, valid or test, received \['learn'\]"),
        ({}, "must name parts"),
    ],
)
def test_a_split_that_is_not_there_is_named(library, split, words):
    prepare(library, fixed())
    with pytest.raises(OptionError, match=words):
        tfds("pets", split=split)


def test_unusual_splits_are_listed(library):
    prepare(library, fixed(rows={"north": fixed().rows["train"], "south": []}))
    with pytest.raises(OptionError, match="there are: north, south"):
        tfds("pets")


# ---- where sets are


def test_nothing_is_asked_of_the_network_unless_allowed_and_needed(library):
    builder = library.sets["pets"] = fixed()
    with pytest.raises(MissingFileError, match=r"download=True.*tfds build pets.*copy its folder"):
        tfds("pets")
    assert library.calls == []
    assert len(tfds("pets", download=True)) == 10
    assert library.calls == [("pets", str(library.root))] and builder.prepared
    prepare(library, fixed())
    assert len(tfds("pets", download=True)) == 10 and len(library.calls) == 1


def test_the_newest_whole_version_is_taken_or_the_one_that_is_named(library, tmp_path):
    for version, count in (("1.9.0", 2), ("1.10.0", 3), ("1.2.0", 4)):
        prepare(library, fixed(rows={"train": fixed().rows["train"][:count]}), f"pets/{version}")
    for unfinished in ("incomplete.AB12_2.0.0", "2.0.0.bak"):
        prepare(library, None, f"pets/{unfinished}")
    (library.root / "pets" / "3.0.0").mkdir()  # nothing is in it yet
    assert len(tfds("pets")) == 3
    assert len(tfds("pets:1.2.0")) == 4
    with pytest.raises(MissingFileError, match=r"pets:1\.0\.0 was not found"):
        tfds("pets:1.0.0")
    with pytest.raises(MissingFileError, match="elsewhere"):
        tfds("pets", data_dir=tmp_path / "elsewhere")
    library.root.rename(tmp_path / "elsewhere")
    places = library.folders.items()
    library.folders = {place.replace("sets", "elsewhere"): found for place, found in places}
    assert len(tfds("pets", data_dir=tmp_path / "elsewhere")) == 3


def test_one_configuration_is_taken_and_of_several_the_one_that_is_named(library):
    prepare(library, fixed(), "pets/large/1.0.0")
    assert len(tfds("pets")) == 10
    prepare(library, fixed(rows={"train": fixed().rows["train"]}), "pets/small/1.0.0")
    with pytest.raises(OptionError, match=r"2 configurations\. Say which: pets/large, pets/small"):
        tfds("pets")
    assert len(tfds("pets/small")) == 6 and len(tfds("pets/large:1.0.0")) == 10


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r'pip install "imgrec\[tfds\]"'):
        tfds("pets")


def test_the_library_itself_agrees_with_its_stand_in(tmp_path, monkeypatch):
    library = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setenv("IMGREC_CACHE", str(tmp_path / "cache"))
    kinds = library.features

    class ImgrecPets(library.core.GeneratorBasedBuilder):
        "A set that is made here."

        VERSION = library.core.Version("1.2.0")

        def _info(self):
            features = {
                "image": kinds.Image(),
                "label": kinds.ClassLabel(names=["dog/wolf", "cat"]),
                "tags": kinds.Sequence(kinds.ClassLabel(names=["sun", "sea"])),
                "worn": {"hat": np.bool_, "beard": np.bool_},
                "small": kinds.Image(shape=(8, 6, 3)),
            }
            return library.core.DatasetInfo(
                builder=self,
                features=kinds.FeaturesDict(features),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, download):
            return {"train": self._generate_examples(9), "test": self._generate_examples(4)}

        def _generate_examples(self, count):
            for i in range(count):
                tags, worn = [[], ["sea", "sun"]][i % 2], {"hat": i % 2 == 0, "beard": False}
                content = io.BytesIO(file(20 + i, "JPEG"))
                row = {"image": content, "label": i % 2, "tags": tags, "worn": worn}
                yield i, row | {"small": array(i)}

    ImgrecPets(data_dir=str(tmp_path)).download_and_prepare(
        download_config=library.download.DownloadConfig(try_download_gcs=False)
    )
    files = tfds("imgrec_pets", data_dir=tmp_path)
    assert files.summary().loc["all"].to_dict() == {"train": 9, "test": 4}
    for row in range(13):
        width = files.read(row).shape[1]
        assert (files.root / files.table["file"][row]).read_bytes() == file(width, "JPEG")
        assert files.table["label"][row] == ["dog/wolf", "cat"][width % 2]
    arrays = tfds("imgrec_pets", image="small", label="tags", split="train", data_dir=tmp_path)
    for picture, label in zip(arrays.arrays, arrays.table["label"], strict=True):
        assert label == (("sea", "sun") if picture[0, 0, 0] % 2 else ())
    worn = tfds("imgrec_pets", image="small", label="worn", split="train[:5]", data_dir=tmp_path)
    assert len(worn) == 5 and set(worn.table["label"]) == {("hat",), ()}
    with pytest.raises(OptionError, match="Unknown split 'tset'"):
        tfds("imgrec_pets", split="tset", data_dir=tmp_path)
