"""A space is data: what one writes comes back equal, what cannot be is refused by its name."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
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
    used_names,
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


@st.composite
def conditional(draw):
    "A space whose entries may wait for values of others that were drawn before."
    found = {}
    for name in ("kind", "depth", "width", "dropout", "flip"):
        above = draw(st.none() | st.sampled_from([*found])) if found else None
        entry = draw(choices | st.booleans().map(Bool) | st.just(Int(1, 3)) | st.just(Fixed(2)))
        if above is not None:
            values = draw(st.lists(st.sampled_from(list(grid_values(found[above]))), min_size=1))
            texts = {json.dumps(each, sort_keys=True): each for each in values}
            rest = {"when": above, "equals": tuple(texts.values())}
            if isinstance(entry, Choice):
                entry = Choice(*entry.values, default=entry.default, **rest)
            else:
                entry = replace(entry, **rest)
        found[name] = entry
    return Space(**dict(draw(st.permutations(list(found.items())))))


def all_points(space):
    "Every point of a small grid, by trying all combinations of all values."
    lists = [[*grid_values(entry)] for entry in space.entries.values()]
    points = {}
    for values in itertools.product(*lists):
        whole = dict(zip(space.entries, values, strict=True))
        point = {name: whole[name] for name in used_names(space, whole)}
        points[json.dumps(point, sort_keys=True)] = point
    return list(points.values())


@given(conditional())
def test_a_space_with_conditions_is_a_tree_of_points(space):
    assert Space.from_json(space.to_json()) == space
    points = all_points(space)
    assert len(points) == space.size
    assert [misfit(space, point) for point in points] == [""] * len(points)
    assert space.defaults() in points
    for name, entry in space.entries.items():
        if entry.when is not None:
            assert space.ordered.index(entry.when) < space.ordered.index(name)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"when": "kind"}, "expected a name and a value"),
        ({"equals": "plain"}, "expected a name and a value"),
        ({"when": 3, "equals": "plain"}, "expected a name and a value"),
        ({"when": "kind", "equals": ("plain", "plain")}, "values that differ"),
        ({"when": "knd", "equals": "plain"}, "Did you mean 'kind'"),
        ({"when": "kind", "equals": "round"}, "'round' is not in kind="),
        ({"when": "kind", "equals": ("plain", "round")}, "'round' is not in kind="),
        ({"when": "rate", "equals": 0.5}, "no value of a range is met exactly"),
        ({"when": "depth", "equals": 3}, "would depend on itself"),
        ({"when": "below", "equals": True}, "would depend on itself"),
    ],
    ids=str,
)
def test_a_condition_that_cannot_be_is_refused_by_its_name(condition, said):
    others = {"kind": Choice("plain", "residual"), "rate": Float(0.0, 1.0)}
    others["below"] = Bool(when="depth", equals=3)
    with pytest.raises(SpaceError, match="'depth'") as caught:
        Space(**others, depth=Int(2, 5, **condition))
    assert said in str(caught.value)


def test_what_a_point_does_not_use_it_may_not_have():
    space = Space(kind=Choice("plain", None), depth=Int(2, 5, when="kind", equals=None))
    assert misfit(space, {"kind": "plain"}) == "" == misfit(space, {"kind": None, "depth": 3})
    assert misfit(space, {"kind": None}) == "no value for depth"
    assert misfit(space, {"kind": "plain", "depth": 3}) == "depth is not used with kind='plain'"
    with pytest.raises(SpaceError, match="'depth'"):
        space.without("kind")
    lines = space_changes(space, space.edit(depth=Int(2, 5, when="kind", equals="plain")))
    assert lines == [
        "depth: Int(2, 5, when='kind', equals=None) became Int(2, 5, when='kind', equals='plain')"
    ]


def test_what_nothing_meets_any_more_stays_and_comes_back():
    space = Space(
        kind=Choice("plain", "residual"),
        depth=Int(2, 5, when="kind", equals="residual"),
        wide=Bool(when="depth", equals=5),
    )
    for narrow in (Choice("plain"), Fixed("plain"), "plain"):
        less = space.edit(kind=narrow)
        assert less.size == 1 and less.defaults() == {"kind": "plain"}
        assert set(less.entries) == set(space.entries)
        assert Space.from_json(less.to_json()) == less
        assert less.edit(kind=Choice("plain", "residual")) == space
        assert less.add(dropout=0.1).without("dropout") == less
        with pytest.raises(SpaceError, match="'residual' is not in kind"):
            Space(**less.entries)
    with pytest.raises(SpaceError, match="'six' is not in"):
        space.edit(wide=Bool(when="kind", equals="six"))


def test_an_older_file_without_conditions_is_read():
    text = '{"depth": {"kind": "int", "low": 2, "high": 5}, "flip": {"kind": "bool"}}'
    assert Space.from_json(text) == Space(depth=Int(2, 5), flip=Bool())
    assert "when" not in Space(depth=Int(2, 5)).to_json()


@given(spaces)
def test_a_space_survives_json(space):
    again = Space.from_json(space.to_json())
    assert again == space
    assert space_changes(space, again) == []
    assert Space(**dict(reversed(space.entries.items()))) == space


@given(entries)
def test_an_entry_holds_all_that_its_grid_tries(entry):
    assert problem_of(entry) == ""
    values = grid_values(entry)
    assert all(holds(entry, each) for each in values)
    assert len({json.dumps(each, sort_keys=True) for each in values}) == len(values)
    if isinstance(entry, Float):
        assert 1 <= len(values) <= GRID_POINTS


@given(spaces)
def test_the_defaults_are_a_point(space):
    assert misfit(space, space.defaults()) == ""
    assert misfit(space, space.defaults() | {"surplus": 1})


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


@pytest.mark.parametrize("name", ["", " ", "tuner/epochs", "a\nb", "a\x00"])
def test_a_name_that_cannot_be_is_refused(name):
    with pytest.raises(SpaceError, match="cannot be the name of an entry"):
        Space(**{name: 3})
    assert Space(**{"conv/units 1": 3}).defaults() == {"conv/units 1": 3}


def test_a_builder_keeps_what_is_its_own():
    point = {"epochs": 3, "augment": "light", "model": "a", "frozen_layers": 2, "width": 8}
    sorted_out = arguments_of(point)
    assert (sorted_out.model, sorted_out.frozen_layers) == ("a", 2)
    assert (sorted_out.fit, sorted_out.data) == ({"epochs": 3}, {"augment": "light"})
    assert arguments_of(point, own=point).build == point


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


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"kind": "int"}, "The int 'width' of the space has no low and no high"),
        ({"kind": "float", "low": 1}, "The float 'width' of the space has no high"),
        ({"kind": "choice"}, "has no values"),
        ({"kind": "choice", "values": 3}, "has no list of values: 3"),
        ({"kind": "int", "low": 1, "high": 3, "steps": 2}, "'width'.*'steps'.*mean 'step'"),
        ({"kind": "bool", "when": "kind"}, "'width'.*received when='kind'[.]$"),
    ],
)
def test_json_is_told_what_is_missing_and_where(entry, words):
    with pytest.raises(SpaceError, match=words):
        Space.from_json(json.dumps({"width": entry, "kind": {"kind": "bool"}}))


def test_numbers_of_numpy_are_plain_and_log_is_yes_or_no():
    space = Space(
        width=Int(np.int64(2), np.int32(8), step=np.int8(2)), rate=Float(np.float32(0.5), 1)
    )
    assert Space.from_json(space.to_json()) == space
    assert [type(space.entries["width"].low), type(space.entries["rate"].low)] == [int, float]
    with pytest.raises(SpaceError, match="log=True or log=False, received log='yes'"):
        Space(rate=Float(1e-3, 1e-1, log="yes"))


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
