"""Two instances on one PostgreSQL and one Redis: nobody can tell which one they are on."""

from __future__ import annotations

from .running import Shared
from .test_matrix import MatrixTests, PrivacyTests


class AcrossMatrixTests(Shared, MatrixTests):
    """Each sender on one instance, the receivers on the other."""


class AcrossPrivacyTests(Shared, PrivacyTests):
    """The one who sends, the one it is for and the one who must not see it are on different ones."""
