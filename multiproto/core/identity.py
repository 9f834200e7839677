"""An authenticated identity, and the grants of a credential."""

from __future__ import annotations

import math
from typing import Iterable

from attrs import field, frozen

from .errors import Forbidden


@frozen
class Identity:
    """The user and session, or credential, that a token has proven, until it expires."""

    user_id: str
    session_id: str  # or the id of a credential
    expires_at: float  # seconds since the epoch; infinite for a credential that does not expire
    device_name: str | None = None  # the name, one topic word, of the credential, if it is one
    grants: tuple[Grant, ...] | None = None  # all that this credential may do; `None`: all that its user may
    issued_at: float = 0.0  # of the token, in seconds since the epoch
    # When `expires_at` comes, by the clock of the intervals: set by what has verified the token, since the time of
    # day may leap afterwards.  Without it, an identity that expires has ended.
    deadline: float = field(eq=False, kw_only=True)

    @deadline.default
    def _default_deadline(self) -> float:
        return math.inf if self.expires_at == math.inf else -math.inf


def _to_frozenset(some: Iterable[str]) -> frozenset[str]:
    return frozenset(some)


@frozen
class Grant:
    """Verbs that a credential may do on the topics of a pattern; with any grant, it may do nothing else."""

    pattern: str
    verbs: frozenset[str] = field(converter=_to_frozenset)
    words: list[str] = field(init=False, eq=False, repr=False)  # of `pattern`, split once

    @words.default
    def _split_pattern(self) -> list[str]:
        return self.pattern.split(".")


def check_full_access(identity: Identity) -> None:
    """Raise `Forbidden` for a credential, which may not do all that its user may."""
    if identity.grants is not None:
        raise Forbidden("This credential is for topics only")
