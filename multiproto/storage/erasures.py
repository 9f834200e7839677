"""Hides from readers of the log what is still to be erased from it.

An account that is closed, or whose address was changed, may have any number of
events, which are erased batch by batch (`multiproto/log/eraser.py`).  Nobody is to
read what they have from the moment of the change on.
"""

from __future__ import annotations

from typing import Iterable, Mapping

from attrs import evolve, frozen

from ..core.events import MESSAGE_SENT
from ..core.pubsub.email_hiding_log import without_email
from ..core.transactions import Entry, Event, Row


@frozen
class PendingErasures:
    """What `erasures_pending` gave, in the same snapshot as the events."""

    _outdated_emails: Mapping[str, int]  # user id -> position of the last event that may have the old address
    _closed_accounts: frozenset[str]  # user ids

    @classmethod
    def from_rows(cls, rows: Iterable[Row]) -> PendingErasures:
        rows = tuple(rows)
        return cls(
            {row["user_id"]: row["position"] for row in rows if row["position"] is not None},
            frozenset(row["user_id"] for row in rows if row["position"] is None),
        )

    def apply(self, entry: Entry) -> Entry:
        """`entry` as it will be."""
        if self._closed_accounts and not self._closed_accounts.isdisjoint(_accounts_of(entry.event)):
            event = evolve(entry.event, content=None, metadata=None, encoded_content=None)
            return evolve(entry, event=event, redacted=True)
        if entry.position <= self._outdated_emails.get(entry.event.subject, 0):
            return without_email(entry)
        return entry


def _accounts_of(event: Event) -> tuple[str | None, ...]:
    """The ids of the accounts whose closing redacts `event`."""
    if event.type == MESSAGE_SENT and isinstance(event.content, dict):
        message: Mapping[str, str] = event.content["message"]
        return message["userId"], message.get("recipientId")
    return (event.subject,)
