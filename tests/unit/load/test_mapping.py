"""Columns under other names."""

import pytest

from headwater.load.mapping import Columns, nested, path_of
from headwater.load.source import FormatError


def test_columns_get_other_names_become_objects_or_are_left_out() -> None:
    columns = Columns(["a=b", "who=user.name", "mail=user.mail", "junk=", "absent=x"])
    row = {"a": 1, "who": "ann", "mail": "a@b", "junk": 2, "kept": 3}
    assert columns.mapped(row) == {"kept": 3, "b": 1, "user": {"name": "ann", "mail": "a@b"}}
    assert row["a"] == 1
    assert Columns(["a=b", "b=a"]).mapped({"a": 1, "b": 2}) == {"b": 1, "a": 2}


def test_columns_that_no_row_has_are_known() -> None:
    columns = Columns(["a=b", "who=", "absent=x"])
    assert columns.unseen == []
    columns.mapped({"a": 1})
    assert columns.unseen == ["absent", "who"]
    columns.mapped({"who": 1})
    assert columns.unseen == ["absent"]


def test_a_column_without_a_name_can_be_left_out_or_named() -> None:
    assert Columns(["="]).mapped({"": 1, "a": 2}) == {"a": 2}
    assert Columns(["=number"]).mapped({"": 1, "a": 2}) == {"a": 2, "number": 1}


@pytest.mark.parametrize("row", [{"a": 1, "b": 2}, {"a": 1, "b": {"c": 1}}])
def test_two_columns_are_never_one_property(row: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"two columns would be the property 'b'|cannot hold 'b.c'|property 'b.c'"):
        (Columns(["a=b"]) if row["b"] == 2 else Columns(["a=b.c"])).mapped(row)


def test_a_value_holds_no_property() -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        Columns(["a=b.c"]).mapped({"a": 1, "b": 2})


@pytest.mark.parametrize("text", ["a", "a=$b", "a=b..c", "a=.b"])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="--map"):
        Columns([text])


def test_a_column_is_mapped_once() -> None:
    with pytest.raises(FormatError, match="once for each column"):
        Columns(["a=b", "a=c"])


def test_names_are_put_right_at_every_level_but_for_those_that_are_mapped() -> None:
    columns = Columns(["$id=id"], fix_names=True)
    row = {"$id": 1, "$city": "Oslo", "properties": {"$os": "x", "a.b": [{"$c": 2}]}, "n": 3}
    assert columns.mapped(row) == {
        "_city": "Oslo",
        "properties": {"_os": "x", "a_b": [{"_c": 2}]},
        "n": 3,
        "id": 1,
    }
    assert columns.changed
    assert not Columns([]).changed
    assert {Columns(maps, fix_names=fix).described for maps in ([], ["a=b"]) for fix in (False, True)} == {
        (),
        ("--fix-names",),
        ("a=b",),
        ("a=b", "--fix-names"),
    }


@pytest.mark.parametrize(
    ("column", "path"),
    [
        ("user.id", ("user", "id")),
        ("keen.location.coordinates", ("keen", "location", "coordinates")),
        ("größe.in cm", ("größe", "in cm")),
        ("user", ("user",)),
        ("mapped.one", ("mapped.one",)),
        ("0.5", ("0.5",)),
        ("No.", ("No.",)),
        ("avg. price", ("avg. price",)),
        ("a..b", ("a..b",)),
        (".a", (".a",)),
    ],
)
def test_dots_that_join_names_make_objects(column: str, path: tuple[str, ...]) -> None:
    assert path_of(column, Columns(["mapped.one=x"])) == path


def test_no_value_of_a_row_takes_anothers_place() -> None:
    assert nested([(("a", "b"), 1), (("c",), 2), (("a", "d", "e"), 3)]) == {"a": {"b": 1, "d": {"e": 3}}, "c": 2}
    for values in ([(("a",), 1), (("a", "b"), 2)], [(("a", "b"), 1), (("a",), 2)], [(("a",), 1), (("a",), 2)]):
        with pytest.raises(ValueError, match=r"cannot hold|two columns"):
            nested(values)
