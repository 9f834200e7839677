"""Who a peer has proven to be, and what it may do at most."""

from __future__ import annotations

from typing import Iterable

from attrs import field, frozen

from .errors import Forbidden


@frozen
class Identity:
    """Who a peer has proven to be, and until when."""

    user_id: str
    session_id: str  # or the id of a credential
    expires_at: float  # seconds since the epoch; infinite for a credential that does not expire
    device_name: str | None = None  # the name, one topic word, of the device credential it came with
    grants: tuple[Grant, ...] | None = None  # all that this credential may do; `None`: what its user may
    issued_at: float = 0.0  # when the token that proved it was made, likewise


def _to_frozenset(some: Iterable[str]) -> frozenset[str]:
    return frozenset(some)


@frozen
class Grant:
    """One thing that a credential was given; with any, it may do nothing else."""

    pattern: str
    verbs: frozenset[str] = field(converter=_to_frozenset)
    words: list[str] = field(init=False, eq=False, repr=False)  # of `pattern`, cut once

    @words.default
    def _split_pattern(self) -> list[str]:
        return self.pattern.split(".")


def check_full_access(who: Identity) -> None:
    """Raise `Forbidden` for who may not do all that their user may."""
    if who.grants is not None:
        raise Forbidden("This credential is for topics only")
