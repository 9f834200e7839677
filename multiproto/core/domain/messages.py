"""Messages: sent, read, listed and withdrawn.  Every wire calls these and no others.

A direct message is visible to its two people only: to all others it is not
found, in every list, total and operation (contract, section 1).
"""

from __future__ import annotations

from typing import Callable, Iterable, Mapping

from attrs import Factory, define, evolve

from ..errors import Forbidden, NotFound, Unauthorized
from ..events import EventBuilder
from ..idempotency import IdempotentSends
from ..identity import Identity
from ..model import Message, PageOf, WithCursor, format_timestamp
from ..ports import Store
from ..ratelimit.publish_limits import PublishLimits
from ..transactions import Query, Row, Step, Unit
from ..validation import FieldValidator, check_id, paging

RequestFields = Mapping[str, object]  # a request's, unchecked

# which statements serve a list, by the filters it has
_LIST_STATEMENTS = {
    (): "",
    ("user_id",): "_by_user",
    ("channel_id",): "_by_channel",
    ("user_id", "channel_id"): "_by_user_and_channel",
}


@define(eq=False, repr=False)
class Messages:
    _store: Store
    _idempotent_sends: IdempotentSends
    _events: EventBuilder
    _now: Callable[[], float]  # seconds since the epoch
    _new_id: Callable[[], str]
    _limits: PublishLimits = Factory(PublishLimits)  # the same as of publications

    async def send(self, who: Identity, fields: RequestFields, key: str | None = None) -> WithCursor[Message]:
        """Keep a message and its event; `key` makes repeating it harmless.

        Raises `Invalid`, `NotFound` for an unknown recipient, `RateLimited`, or
        `Conflict` where the key was used for something else.
        """
        self._limits.charge(who)
        form = FieldValidator(fields)
        content, channel = form.content(), form.channel_id()
        recipient = form.uuid("recipientId", required=False)
        if not form.has("recipientId") and not form.has("channelId"):
            form.add_error(None, "At least one of recipientId, channelId is required")
        form.check()
        at = format_timestamp(self._now())
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
        add = Step("message_add", params, expected_rows=1, miss=stranger, clash=stranger)
        body = ("message", content, channel, recipient)
        event = self._events.message_sent(message)
        sent = await self._idempotent_sends.commit(who.user_id, key, body, (add,), event, message.id)
        if sent.result_id != message.id:  # it was sent before
            message = evolve(message, id=sent.result_id, created_at=sent.at, updated_at=sent.at)
        return WithCursor(message, sent.cursor)

    async def read(self, who: Identity, id: str) -> WithCursor[Message]:
        id = check_id(id)
        snapshot = await self._store.read(Query("message_by_id", {"id": id}))
        for row in snapshot.results[0]:
            message = _message_from_row(row)
            if message.is_visible_to(who.user_id):
                return WithCursor(message, snapshot.cursor)
        raise NotFound.of("Message", id)

    async def page(self, who: Identity, fields: RequestFields) -> PageOf[Message]:
        """What `who` may see, newest first, filtered by `userId` and `channelId` where they are given."""
        form = FieldValidator(fields)
        page, limit = paging(form)
        filters = {}
        if form.has("userId"):
            filters["user_id"] = form.uuid("userId")
        if form.has("channelId"):
            filters["channel_id"] = form.channel_id()
        form.check()
        which = _LIST_STATEMENTS[tuple(filters)]
        seen = {"viewer": who.user_id, **filters}
        snapshot = await self._store.read(
            Query("messages_page" + which, seen | {"limit": limit, "offset": (page - 1) * limit}),
            Query("messages_count" + which, seen),
        )
        rows, count = snapshot.results
        return PageOf(tuple(map(_message_from_row, rows)), page, limit, count[0]["total"], snapshot.cursor)

    async def pages_by_author(
        self, who: Identity, user_ids: Iterable[str], fields: RequestFields
    ) -> dict[str, PageOf[Message]]:
        """The same page of the messages of each of several authors, in two statements."""
        form = FieldValidator(fields)
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
            by_author[row["user_id"]].append(_message_from_row(row))
        return {
            author: PageOf(tuple(messages), page, limit, totals.get(author, 0), snapshot.cursor)
            for author, messages in by_author.items()
        }

    async def delete(self, who: Identity, id: str) -> str:
        """Delete one's own message, and blank what the log tells of it; gives the cursor."""
        message = (await self.read(who, id)).value
        if message.user_id != who.user_id:
            raise Forbidden("Only its author may delete a message")
        steps = (
            Step(
                "message_drop", {"id": message.id}, expected_rows=1, miss=NotFound.of("Message", message.id)
            ),
            Step("log_blank", {"subject": message.id}),
        )
        event = self._events.message_deleted(message, format_timestamp(self._now()))
        return await self._store.commit(Unit(steps, (event,)))


def _message_from_row(row: Row) -> Message:
    return Message(
        row["id"],
        row["user_id"],
        row["content"],
        row["channel_id"],
        row["recipient_id"],
        row["created_at"],
        row["updated_at"],
    )
