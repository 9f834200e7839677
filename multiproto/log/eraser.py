"""Erases what accounts that were closed, or whose address was changed, have left behind, however much it is.

In batches, so that other writes have their turn in between.  What there is to do
is a row, written in the transaction of the change; nobody is given what is still
to be erased (`multiproto/storage/erasures.py`, `sql`).  So it does not matter when it is done, nor by
which instance: one that is killed leaves the rest to the others, or to its next start.
"""

from __future__ import annotations

from attrs import define
from twisted.internet.interfaces import IReactorTime

from ..core.ports import Store
from ..core.transactions import Query, Row, Step, Unit
from .periodic import PeriodicService

INTERVAL = 5.0  # seconds
BATCH_SIZE = 500  # rows that one transaction changes
MAX_ACCOUNTS = 100  # that are found in one read


@define(eq=False, repr=False)
class Eraser(PeriodicService):
    interval, failure_text = INTERVAL, "could not erase what accounts left"

    _store: Store
    _clock: IReactorTime

    async def run_round(self) -> None:
        await self.erase()

    async def erase(self) -> None:
        """Erase all that there is to erase now."""
        while self.running and (due := await self._read("outdated_emails_due", most=MAX_ACCOUNTS)):
            for row in due:
                await self._erase_email(row["user_id"], row["position"], row["erased_upto"])
        while self.running and (due := await self._read("closed_accounts_due", most=MAX_ACCOUNTS)):
            for row in due:
                await self._erase_account(row["user_id"], row["erased_upto"])

    async def _erase_email(self, user_id: str, last: int, erased: int) -> None:
        """Remove the address of `user_id` from the events about them after `erased`, up to `last`."""
        while self.running and (upto := await self._batch_end(user_id, erased) or last) < last:
            advance = Step("outdated_email_advance", {"id": user_id, "upto": upto})
            await self._store.commit(Unit((_forget_email(user_id, erased, upto), advance)))
            erased = upto
        if self.running:
            drop = Step("outdated_email_drop", {"id": user_id, "position": last})
            await self._store.commit(Unit((_forget_email(user_id, erased, last), drop)))

    async def _erase_account(self, user_id: str, erased: int) -> None:
        """Delete all rows of the closed account `user_id`, and redact its events: those after `erased`."""
        await self._erase_messages(user_id)
        while self.running and (upto := await self._batch_end(user_id, erased)) is not None:
            blank = Step("log_blank_about", {"id": user_id, "after": erased, "upto": upto})
            await self._store.commit(
                Unit((blank, Step("closed_account_advance", {"id": user_id, "upto": upto})))
            )
            erased = upto
        for table in ("keys", "refresh_tokens", "sessions"):
            while self.running and await self._read(f"account_{table}_due", id=user_id):
                await self._store.commit(
                    Unit((Step(f"account_{table}_drop", {"id": user_id, "most": BATCH_SIZE}),))
                )
        if self.running:
            await self._store.commit(Unit((Step("user_drop", {"id": user_id}),)))

    async def _erase_messages(self, user_id: str) -> None:
        """Delete all messages from and to `user_id`, and redact the events about them."""
        while self.running and (rows := await self._read("messages_of_account", id=user_id, most=BATCH_SIZE)):
            ids = [row["id"] for row in rows]
            await self._store.commit(
                Unit((Step("log_blank_messages", {"ids": ids}), Step("messages_drop", {"ids": ids})))
            )

    async def _batch_end(self, subject: str, after: int) -> int | None:
        """The position of the last event of the next batch about `subject`; `None` where there is none."""
        rows = await self._read("subject_batch_end", subject=subject, after=after, most=BATCH_SIZE)
        position: int | None = rows[0]["position"]
        return position

    async def _read(self, query: str, **params: object) -> tuple[Row, ...]:
        return (await self._store.read(Query(query, params))).results[0]


def _forget_email(user_id: str, after: int, upto: int) -> Step:
    return Step("log_forget_email", {"id": user_id, "after": after, "upto": upto})
