"""The query module: a definition, one parameterised SQL statement, an answer in Keen's shape."""

from headwater.query.errors import QueryError
from headwater.query.result import Result

__all__ = ["QueryError", "Result"]
