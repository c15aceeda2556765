"""Names of properties as others write them, made ones that the rules take."""

from typing import Any

NESTED_MAX = 200  # levels of objects whose names are put right; events may have fewer


def with_good_names(value: Any, levels: int = NESTED_MAX) -> Any:
    """A JSON value whose objects' names are ones that properties may have: dots, and a dollar sign in front, become _.

    Where the name with _ is there too, that stays, and the other is left out.
    """
    if not levels:
        return value
    if type(value) is list:
        return [with_good_names(member, levels - 1) for member in value]
    if type(value) is not dict:
        return value
    renamed: dict[str, Any] = {}
    bad: list[str] = []
    for name, member in value.items():
        if "." in name or name[:1] == "$":
            bad.append(name)
        kind = type(member)
        renamed[name] = with_good_names(member, levels - 1) if kind is dict or kind is list else member
    for name in bad:
        member = renamed.pop(name)
        renamed.setdefault(good_name(name), member)
    return renamed


def good_name(name: str) -> str:
    """A name with _ in the place of dots and of a dollar sign in front."""
    name = name.replace(".", "_")
    return "_" + name[1:] if name.startswith("$") else name
