"""The log as it is read where a mailbox address is shown to its owner only (`PROFILE_EMAIL=self`)."""

from __future__ import annotations

from typing import Awaitable, Mapping

from attrs import define, evolve

from ..events import USER_CREATED, USER_UPDATED
from ..ports import LogReader
from ..transactions import Entry, Page


@define(eq=False, repr=False)
class EmailHidingLog:
    """A `LogReader` whose events of accounts have no address, also those from before the setting.

    The owner does not get it in an event either: an event is encoded once for all who receive it.
    """

    _log: LogReader

    async def read_after(self, position: int, limit: int) -> tuple[Entry, ...]:
        return tuple(map(without_email, await self._log.read_after(position, limit)))

    async def read_page(self, lead: str, low: int, high: int) -> Page:
        page = await self._log.read_page(lead, low, high)
        return evolve(page, entries=tuple(map(without_email, page.entries)))

    def head(self) -> Awaitable[tuple[int, str]]:
        return self._log.head()

    def locate(self, cursor: str) -> Awaitable[int | None]:
        return self._log.locate(cursor)

    def retention_floors(self) -> Awaitable[Mapping[str, int]]:
        return self._log.retention_floors()


def without_email(entry: Entry) -> Entry:
    """`entry` without a mailbox address, if it is about an account."""
    event = entry.event
    if event.type not in (USER_CREATED, USER_UPDATED) or not isinstance(event.content, dict):
        return entry
    user = {name: value for name, value in event.content["user"].items() if name != "email"}
    return evolve(entry, event=evolve(event, content=event.content | {"user": user}, encoded_content=None))
