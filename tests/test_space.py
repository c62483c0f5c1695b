"""A space is data: what one writes comes back equal, what cannot be is refused by its name."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgrec.core import SpaceError
from imgrec.entries import GRID_POINTS, grid_values, holds, problem_of
from imgrec.space import (
    Bool,
    Choice,
    Fixed,
    Float,
    Int,
    Space,
    arguments_of,
    misfit,
    space_changes,
)

whole = st.integers(-1000, 1000)
number = st.floats(-1e6, 1e6)
plain = st.none() | st.booleans() | whole | number | st.text(max_size=5)
value = (
    plain | st.lists(plain, max_size=3) | st.dictionaries(st.text(max_size=3), plain, max_size=2)
)


@st.composite
def ints(draw):
    log = draw(st.booleans())
    low = draw(st.integers(1, 50) if log else whole)
    return Int(low, low + draw(st.integers(0, 200)), draw(st.integers(1, 5)), log)


@st.composite
def floats(draw):
    log = draw(st.booleans())
    low = draw(st.floats(1e-6, 10) if log else number)
    return Float(low, low + draw(st.floats(0, 1e3)), log)


different = st.lists(
    value, min_size=2, max_size=4, unique_by=lambda v: json.dumps(v, sort_keys=True)
)
choices = different.map(lambda values: Choice(*values))
entries = st.one_of(ints(), floats(), choices, st.booleans().map(Bool), value.map(Fixed))
names = st.sampled_from(["width", "depth", "dropout", "augment", "learning_rate", "größe"])
spaces = st.dictionaries(names, entries, min_size=1).map(lambda found: Space(**found))


@settings(deadline=None)
@given(spaces)
def test_a_space_survives_json(space):
    again = Space.from_json(space.to_json())
    assert again == space
    assert space_changes(space, again) == []
    assert Space(**dict(reversed(space.entries.items()))) == space


@settings(deadline=None)
@given(entries)
def test_an_entry_holds_all_that_its_grid_tries(entry):
    assert problem_of(entry) == ""
    values = grid_values(entry)
    assert all(holds(entry, each) for each in values)
    assert len({json.dumps(each, sort_keys=True) for each in values}) == len(values)
    if isinstance(entry, Float):
        assert 1 <= len(values) <= GRID_POINTS


@settings(deadline=None)
@given(spaces)
def test_the_defaults_are_a_point(space):
    assert misfit(space, space.defaults()) == ""
    assert misfit(space, space.defaults() | {"surplus": 1})


@settings(deadline=None)
@given(spaces)
def test_each_value_goes_to_one_place(space):
    point = space.defaults()
    sorted_out = arguments_of(point)
    places = [*sorted_out.build, *sorted_out.data, *sorted_out.fit]
    assert sorted(places) == sorted(point)


@pytest.mark.parametrize(
    "entry",
    [
        Int(5, 2),
        Int(1.5, 3),
        Int(True, 3),
        Int(1, 3, step=0),
        Int(1, 3, step=True),
        Int(0, 8, log=True),
        Int(1, 9, step=2, default=4),
        Int(1, 9, default=10),
        Float(0.5, 0.1),
        Float(0.0, 0.1, log=True),
        Float(-1.0, 0.1, log=True),
        Float(0.0, float("inf")),
        Float(float("nan"), 1.0),
        Float("0", 1.0),
        Choice(),
        Choice([16, 32]),
        Choice(range(3)),
        Choice(16, 16),
        Choice([1], [1]),
        Choice(1, 2, default=3),
        Choice(1, 2, default=True),
        Choice(np.int64(1), 2),
        Choice(1, float("nan")),
        Choice(1, print),
        Choice(1, {2}),
        Bool("yes"),
        Fixed(print),
        Fixed(float("nan")),
        Fixed(np.zeros(2)),
    ],
    ids=repr,
)
def test_an_impossible_entry_is_refused_by_its_name(entry):
    with pytest.raises(SpaceError, match="'depth'"):
        Space(width=3, depth=entry)


def test_values_of_one_look_are_told_apart():
    space = Space(a=Choice(1, True, 1.0, "1", None, [1]))
    assert space.size == 6
    assert not holds(Choice(0, 2), False)
    assert holds(Choice((28, 28), 56), [28, 28])


@pytest.mark.parametrize("name", ["", "two words", "1st", "class", "tuner/epochs", "a-b"])
def test_a_name_must_be_that_of_an_argument(name):
    with pytest.raises(SpaceError, match="name of an argument"):
        Space(**{name: 3})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "{}",
        '{"a": 3}',
        '{"a": {}}',
        '{"a": {"kind": "float"}}',
        '{"a": {"kind": ["int"]}}',
        '{"a": {"kind": "Int", "low": 1, "high": 2}}',
        '{"a": {"kind": "int", "low": 1, "high": 2, "colour": 3}}',
        '{"a": {"kind": "int", "low": "1", "high": 2}}',
        '{"a": {"kind": "choice", "values": "abc"}}',
        '{"a": {"kind": "choice", "values": {"b": 1}}}',
        '{"a": {"kind": "choice", "values": []}}',
        '{"a": {"kind": "float", "low": NaN, "high": 1}}',
        '{"": {"kind": "fixed", "value": 1}}',
    ],
)
def test_hostile_json_is_refused(text):
    with pytest.raises(SpaceError):
        Space.from_json(text)


def test_a_space_never_changes():
    space = Space(width=Choice(16, 32), depth=Int(2, 5))
    before = space.to_json()
    space.edit(width=64).add(dropout=0.1).without("depth")
    assert space.to_json() == before
    with pytest.raises(SpaceError, match="Did you mean 'width'"):
        space.edit(witdh=64)
    with pytest.raises(SpaceError, match="no_such"):
        space.without("no_such")
    with pytest.raises(SpaceError, match="use edit"):
        space.add(width=64)
    with pytest.raises(SpaceError):
        space.without("width", "depth")


def test_each_change_is_a_line():
    old = Space(width=Choice(16, 32), depth=Int(2, 5), dropout=0.1)
    new = Space(width=Choice(16, 32, 64), depth=Int(2, 5), rate=Float(0.0, 1.0))
    lines = space_changes(old, new)
    assert [line.split()[0].rstrip(":") for line in lines] == ["width", "dropout", "rate"]
    assert "Choice(16, 32) became Choice(16, 32, 64)" in lines[0]


def test_the_table_escapes_what_came_from_outside():
    space = Space(a=Choice("<script>alert(1)</script>", "b"), b="<img src=x>")
    assert "<script>" not in space._repr_html_()
    assert "<img" not in space._repr_html_()
