"""Refusals: a stable code that callers rely on, and a sentence a person can act on.

The HTTP status of each code is chosen in one table at the edge (`management/problem.py`).
"""


class Refused(Exception):  # noqa: N818  a refusal is an answer, not a fault
    """A request that the rules do not allow. `members` are further fields of the answer."""

    def __init__(self, code: str, detail: str, **members: object) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.members = members


class Fault(Exception):  # noqa: N818  the operator's word for what stops a start
    """Something the operator wrote or installed is wrong; the text names the place and what to do."""
