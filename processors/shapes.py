"""Shapes: which paths JSON objects have, and of which types their values are."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

BITS = {str: 1, int: 2, float: 4, bool: 8, type(None): 16, list: 32}
"""What stands for a type in the property catalogue (schemas/catalogue.1.avsc): types are collected by or."""

EMPTY_OBJECT = 64

Shape = tuple[tuple[str, int], ...]
"""The paths of one object that hold values, each with the bit of the value's type."""


def shape_of(values: dict[str, Any]) -> Shape:
    """The shape of an object. Equal shapes are mostly the same object, so that comparing them costs nothing."""
    return _same(tuple(_paths(values, "")))


@lru_cache(5_000)
def _same(shape: Shape) -> Shape:
    return shape


def _paths(values: dict[str, Any], parent: str) -> Iterator[tuple[str, int]]:
    for name, value in values.items():
        if type(value) is dict and value:
            yield from _paths(value, f"{parent}{name}.")
        else:
            yield parent + name, EMPTY_OBJECT if type(value) is dict else BITS[type(value)]
