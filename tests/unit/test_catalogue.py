"""The property catalogue as it is read: merged over partitions, and what deletions leave of it."""

from hypothesis import given
from hypothesis import strategies as st

from headwater.aggregates import table_key
from headwater.catalogue import Catalogues, PropertySeen
from processors.catalogue import Catalogue
from processors.shapes import BITS, EMPTY_OBJECT

PATHS = st.dictionaries(
    st.sampled_from(["a", "a.b", "ab", "c"]),
    st.tuples(st.integers(1, 127), st.integers(0, 50), st.integers(51, 99), st.integers(1, 9)).map(list),
)


def folded(*parts: dict[str, list[int]]) -> Catalogues:
    """Catalogues with one collection, `c` of project `p`, from so many partitions."""
    catalogues = Catalogues()
    for partition, paths in enumerate(parts):
        catalogues.apply(table_key(partition, "catalogue", "p", "c"), Catalogue(1, paths, beyond=1).encode())
    return catalogues


@given(st.lists(PATHS, min_size=1, max_size=4))
def test_partitions_are_added(parts: list[dict[str, list[int]]]) -> None:
    seen = folded(*parts).collection("p", "c")
    assert seen is not None
    assert list(seen.properties) == sorted({path for paths in parts for path in paths})
    assert seen.beyond == len(parts)
    for path, one in seen.properties.items():
        entries = [paths[path] for paths in parts if path in paths]
        assert one.events == sum(entry[3] for entry in entries)
        assert (one.first_seen, one.last_seen) == (min(e[1] for e in entries), max(e[2] for e in entries))
        assert all(one.types & entry[0] == entry[0] for entry in entries)


def test_a_newer_record_takes_the_place_of_the_older() -> None:
    catalogues = folded({"a": [1, 1, 1, 1]})
    assert set(catalogues.collection("p", "c").properties) == {"a"}  # type: ignore[union-attr]  # it is there
    catalogues.apply(table_key(0, "catalogue", "p", "c"), Catalogue(2, {"b": [1, 1, 1, 1]}).encode())
    catalogues.apply(table_key(0, "watermark"), b"something else")
    assert set(catalogues.collection("p", "c").properties) == {"b"}  # type: ignore[union-attr]  # as above
    catalogues.apply(table_key(0, "catalogue", "p", "c"), None)
    assert (catalogues.collection("p", "c"), catalogues.collections("p")) == (None, [])


def test_types_have_keens_names() -> None:
    def named(*kinds: type) -> list[str]:
        return PropertySeen(sum({BITS[kind] for kind in kinds}), 1, 1, 1).type_names

    assert named(str) == ["string"]
    assert named(int) == named(float) == named(int, float) == ["num"]
    assert named(bool) == ["bool"]
    assert named(list) == ["list"]
    assert named(type(None)) == PropertySeen(EMPTY_OBJECT, 1, 1, 1).type_names == ["null"]
    assert named(int, str, type(None)) == ["string", "num", "null"]


def test_what_deletions_leave() -> None:
    seen = folded({path: [1, 1, last, 1] for path, last in [("a", 5), ("a.b", 9), ("ab", 5)]}).collection("p", "c")
    assert seen is not None
    assert set(seen.without("a", 4).properties) == {"a", "a.b", "ab"}
    assert set(seen.without("a", 5).properties) == {"a.b", "ab"}
    assert set(seen.without("a", 9).properties) == {"ab"}
    assert set(seen.since(5).properties) == {"a.b"}
    assert (seen.last_seen, seen.since(9).last_seen) == (9, 0)
