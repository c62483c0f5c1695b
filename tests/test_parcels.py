"""Files of a trial that travel: what arrives is what is there, whatever happened in between."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgrec.link import TrialFiles, running_folder, weights_file
from imgrec.parcels import Luggage, moved, parcel_of, put_down
from imgrec.votes import predictions_file

NAMES = ("best", "predictions", "running/run.json", "running/a", "running/deep/b", "running/.lock")
STEPS = st.tuples(st.sampled_from(NAMES), st.none() | st.binary(max_size=3))


def files_in(root):
    "All that trial 3 can leave."
    return TrialFiles(
        best=weights_file(root, 3, "best"),
        running=running_folder(root, 3),
        predictions=predictions_file(root, 3),
    )


def change(files, name, data):
    "Write or remove one of them."
    first, _, rest = name.partition("/")
    path = getattr(files, first) / rest if rest else getattr(files, first)
    if data is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def content(root):
    "What is there, but for locks."
    there = (path for path in root.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in there}


@given(st.lists(st.tuples(STEPS, st.booleans()), max_size=20), st.booleans())
def test_at_the_end_both_places_hold_the_same(steps, goes_on):
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        home, root = Path(one), Path(other)
        files = files_in(root)
        if goes_on:
            change(files_in(home), "running/a", b"from before")
            change(files_in(home), "best", b"the best so far")
            put_down(parcel_of(files_in(home), home), root)
        luggage = Luggage(files, root).note()
        for (name, data), asked in steps:
            change(files, name, data)
            if asked:
                parcel = luggage.changes()
                assert not parcel or any(each.startswith("running/") for each in parcel)
                put_down(parcel, home)
        put_down(luggage.changes(ended=True), home)
        assert content(home) == content(root)
        assert luggage.changes(ended=True) == {}


def test_a_state_never_travels_without_the_weights_that_it_knows_of(tmp_path):
    home, root = tmp_path / "home", tmp_path / "root"
    files = files_in(root)
    luggage = Luggage(files, root)
    change(files, "best", b"epoch 3")
    assert luggage.changes() == {}
    change(files, "running/a", b"the best was epoch 3")
    put_down(luggage.changes(), home)
    assert content(home) == content(root)
    assert moved(files, root, home).best.read_bytes() == b"epoch 3"


def test_a_parcel_that_is_cut_off_leaves_a_state_to_go_on_from(tmp_path, monkeypatch):
    home = tmp_path / "home"
    put_down({"running/3/step-5": b"five"}, home)
    parcel = {"running/3/step-9": b"nine", "running/3/step-5": None, "running/3/run.json": b"{}"}
    written = []

    def cut_off(path, data):
        if written:
            raise OSError("the power has gone")
        written.append(path.name)

    monkeypatch.setattr("imgrec.parcels.write_atomic", cut_off)
    with pytest.raises(OSError, match="power"):
        put_down(parcel, home)
    assert written == ["run.json"] and (home / "running/3/step-5").exists()
