"""What can be wrong with a question, in the words of the one who asked it."""


class QueryError(Exception):
    """A query that cannot be answered: a name that programs test, a message for people, an HTTP status.

    `name` is Keen's `error_code`; `message` names the parameter, the value and the way out.
    """

    def __init__(self, name: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.status = status


def shown(value: object) -> str:
    """A value as messages quote it: its repr, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
