"""The stack that these tests share."""

from tests.stack import stack

__all__ = ["stack"]
