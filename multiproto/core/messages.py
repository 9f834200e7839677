"""Messages: sent, read, listed and withdrawn.  Every wire calls these and no others.

A direct message is visible to its two people only: to all others it is not
found, in every list, total and operation (contract, section 1).
"""

from __future__ import annotations

from typing import Callable, Iterable, Mapping

from attrs import Factory, define, evolve

from .errors import Forbidden, NotFound, Unauthorized
from .events import Events
from .forms import Form, check_id, paging
from .model import Kept, Message, PageOf, timestamp
from .ports import Identity, Query, Row, Step, Store, Unit
from .quotas import Quotas
from .sends import Sends

Fields = Mapping[str, object]  # a request's, unchecked

# which statements serve a list, by the filters it has
_LISTS = {
    (): "",
    ("user_id",): "_by_user",
    ("channel_id",): "_by_channel",
    ("user_id", "channel_id"): "_by_user_and_channel",
}


@define(eq=False, repr=False)
class Messages:
    _store: Store
    _sends: Sends
    _events: Events
    _now: Callable[[], float]  # seconds since the epoch
    _new_id: Callable[[], str]
    _quotas: Quotas = Factory(Quotas)  # the same as of publications

    async def send(self, who: Identity, fields: Fields, key: str | None = None) -> Kept[Message]:
        """Keep a message and its event; `key` makes repeating it harmless.

        Raises `Invalid`, `NotFound` for an unknown recipient, `RateLimited`, or
        `Conflict` where the key was used for something else.
        """
        self._quotas.charge(who)
        form = Form(fields)
        content, channel = form.content(), form.channel()
        recipient = form.uuid("recipientId", required=False)
        if not form.has("recipientId") and not form.has("channelId"):
            form.fault(None, "At least one of recipientId, channelId is required")
        form.check()
        at = timestamp(self._now())
        message = Message(self._new_id(), who.user_id, content, channel or None, recipient or None, at, at)
        params = {
            "id": message.id,
            "user_id": who.user_id,
            "content": content,
            "channel_id": message.channel_id,
            "recipient_id": message.recipient_id,
            "at": at,
        }
        stranger = NotFound.of("User", recipient) if recipient else Unauthorized("This account is closed")
        add = Step("message_add", params, rows=1, miss=stranger, clash=stranger)
        body = ("message", content, channel, recipient)
        event = self._events.message_sent(message)
        sent = await self._sends.commit(who.user_id, key, body, (add,), event, message.id)
        if sent.answer != message.id:  # it was sent before
            message = evolve(message, id=sent.answer, created_at=sent.at, updated_at=sent.at)
        return Kept(message, sent.cursor)

    async def read(self, who: Identity, id: str) -> Kept[Message]:
        id = check_id(id)
        snapshot = await self._store.read(Query("message_by_id", {"id": id}))
        for row in snapshot.results[0]:
            message = _message(row)
            if message.visible_to(who.user_id):
                return Kept(message, snapshot.cursor)
        raise NotFound.of("Message", id)

    async def page(self, who: Identity, fields: Fields) -> PageOf[Message]:
        """What `who` may see, newest first, filtered by `userId` and `channelId` where they are given."""
        form = Form(fields)
        page, limit = paging(form)
        filters = {}
        if form.has("userId"):
            filters["user_id"] = form.uuid("userId")
        if form.has("channelId"):
            filters["channel_id"] = form.channel()
        form.check()
        which = _LISTS[tuple(filters)]
        seen = {"viewer": who.user_id, **filters}
        snapshot = await self._store.read(
            Query("messages_page" + which, seen | {"limit": limit, "offset": (page - 1) * limit}),
            Query("messages_count" + which, seen),
        )
        rows, count = snapshot.results
        return PageOf(tuple(map(_message, rows)), page, limit, count[0]["total"], snapshot.cursor)

    async def pages_of(
        self, who: Identity, user_ids: Iterable[str], fields: Fields
    ) -> dict[str, PageOf[Message]]:
        """The same page of the messages of each of several authors, in two statements."""
        form = Form(fields)
        page, limit = paging(form)
        form.check()
        authors = list(user_ids)
        seen = {"viewer": who.user_id, "user_ids": authors}
        snapshot = await self._store.read(
            Query("messages_of_users_page", seen | {"limit": limit, "offset": (page - 1) * limit}),
            Query("messages_of_users_count", seen),
        )
        rows, counts = snapshot.results
        totals = {row["user_id"]: row["total"] for row in counts}
        by_author: dict[str, list[Message]] = {author: [] for author in authors}
        for row in rows:
            by_author[row["user_id"]].append(_message(row))
        return {
            author: PageOf(tuple(messages), page, limit, totals.get(author, 0), snapshot.cursor)
            for author, messages in by_author.items()
        }

    async def withdraw(self, who: Identity, id: str) -> str:
        """Delete one's own message, and blank what the log tells of it; gives the cursor."""
        message = (await self.read(who, id)).value
        if message.user_id != who.user_id:
            raise Forbidden("Only its author may delete a message")
        steps = (
            Step("message_drop", {"id": message.id}, rows=1, miss=NotFound.of("Message", message.id)),
            Step("log_blank", {"subject": message.id}),
        )
        event = self._events.message_withdrawn(message, timestamp(self._now()))
        return await self._store.commit(Unit(steps, (event,)))


def _message(row: Row) -> Message:
    return Message(
        row["id"],
        row["user_id"],
        row["content"],
        row["channel_id"],
        row["recipient_id"],
        row["created_at"],
        row["updated_at"],
    )
