"""Two instances on one PostgreSQL and one Redis: nobody can tell which one they are on."""

from __future__ import annotations

from multiproto.config import Config

from . import test_matrix, test_resume
from .clients import Roaming
from .running import Shared


class MatrixTests(Shared, test_matrix.MatrixTests):
    """Each sender on one instance, the receivers on the other."""


class PrivacyTests(Shared, test_matrix.PrivacyTests):
    """The one who sends, the one it is for and the one who must not see it are on different ones."""


class RoamingCase(Shared):
    """Each request and each connection is on another instance than the one before."""

    async def start_one(self, config: Config) -> None:
        await super().start_one(config)
        self.roaming = Roaming(self.addresses)

    def place(self) -> Roaming:
        return self.roaming


class ResumeTests(RoamingCase, test_resume.ResumeTests):
    """With the cursor that the other one gave."""


class IdempotenceTests(RoamingCase, test_resume.IdempotenceTests):
    """A key that was used on the other one."""
