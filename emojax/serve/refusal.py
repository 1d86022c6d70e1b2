"""What is refused, and how a request is told."""

from __future__ import annotations

from emojax.errors import UserError


class RefusedError(UserError):
    """A request that is not answered: its message is for the sender."""

    def __init__(self, status: int, message: str) -> None:
        """Say why.

        Args:
            status: of the HTTP answer, 400..499.
            message: names what was found and what was wanted.
        """
        super().__init__(message)
        self.status = status
