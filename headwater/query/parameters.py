"""The values of a statement, which reach the engine beside the SQL and never in it."""

from collections.abc import Sequence


class Parameters:
    """Collects values; each gets a placeholder such as {p0:String} that the server fills in."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}

    def add(self, value: object, sql_type: str) -> str:
        """The placeholder of a value."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"{{{name}:{sql_type}}}"

    def text(self, value: str) -> str:
        """A string."""
        return self.add(value, "String")

    def integer(self, value: int) -> str:
        """A signed 64-bit integer."""
        return self.add(value, "Int64")

    def real(self, value: float) -> str:
        """A floating-point number."""
        return self.add(value, "Float64")

    def boolean(self, value: bool) -> str:
        """True or false."""
        return self.add("true" if value else "false", "Bool")

    def number(self, value: float) -> str:
        """An integer or a floating-point number, whichever it is."""
        return self.integer(value) if isinstance(value, int) else self.real(value)

    def instant(self, value: int) -> str:
        """Milliseconds since 1970 as a DateTime64(3)."""
        return f"fromUnixTimestamp64Milli({self.integer(value)}, 'UTC')"

    def array(self, values: Sequence[object], element_type: str) -> str:
        """A list whose elements have the given SQL type."""
        return self.add(list(values), f"Array({element_type})")
