"""Messages: sending, reading, listing and deleting them, for every wire.

A direct message is visible to its author and its recipient only: for all others
it does not exist, in every list, total and operation (docs/common.md#values).
"""

from __future__ import annotations

from typing import Callable, Iterable

from attrs import Factory, define, evolve

from ...base.timestamps import format_timestamp
from ..errors import Forbidden, NotFound, Unauthorized
from ..events import EventBuilder
from ..idempotency import IdempotentSends
from ..identity import Identity
from ..model import Message, PageOf, WithCursor
from ..ports import Store
from ..ratelimit.publish_limits import PublishLimits
from ..transactions import Query, Row, Step, Unit
from ..validation import FieldValidator, RequestFields, check_id, paging

# The suffix of the statements for a list, by its filters.
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
    _limits: PublishLimits = Factory(PublishLimits)  # shared with publications

    async def send(
        self, identity: Identity, fields: RequestFields, key: str | None = None
    ) -> WithCursor[Message]:
        """Store a message and its event; `key` makes repeating it harmless.

        Raises `ValidationError`, `NotFound` for an unknown recipient, `RateLimited`,
        or `Conflict` where the key was used for another message.
        """
        self._limits.charge(identity)
        form = FieldValidator(fields)
        content, channel = form.content(), form.channel_id()
        recipient = form.uuid("recipientId", required=False)
        if not form.has("recipientId") and not form.has("channelId"):
            form.add_error(None, "At least one of recipientId, channelId is required")
        form.check()
        at = format_timestamp(self._now())
        author = identity.user_id
        message = Message(self._new_id(), author, content, channel or None, recipient or None, at, at)
        params = {
            "id": message.id,
            "user_id": author,
            "content": content,
            "channel_id": message.channel_id,
            "recipient_id": message.recipient_id,
            "at": at,
        }
        no_user = NotFound.of("User", recipient) if recipient else Unauthorized("This account is closed")
        add = Step("message_add", params, expected_rows=1, miss=no_user, clash=no_user)
        body = ("message", content, channel, recipient)
        event = self._events.message_sent(message)
        sent = await self._idempotent_sends.commit(author, key, body, (add,), event, message.id)
        if sent.result_id != message.id:  # an earlier request had the same key
            message = evolve(message, id=sent.result_id, created_at=sent.at, updated_at=sent.at)
        return WithCursor(message, sent.cursor)

    async def read(self, identity: Identity, id: str) -> WithCursor[Message]:
        id = check_id(id)
        snapshot = await self._store.read(Query("message_by_id", {"id": id}))
        for row in snapshot.results[0]:
            message = _message_from_row(row)
            if message.is_visible_to(identity.user_id):
                return WithCursor(message, snapshot.cursor)
        raise NotFound.of("Message", id)

    async def page(self, identity: Identity, fields: RequestFields) -> PageOf[Message]:
        """The messages that `identity` may see, newest first, filtered by `userId` and `channelId`, if given."""
        form = FieldValidator(fields)
        page, limit = paging(form)
        filters = {}
        if form.has("userId"):
            filters["user_id"] = form.uuid("userId")
        if form.has("channelId"):
            filters["channel_id"] = form.channel_id()
        form.check()
        suffix = _LIST_STATEMENTS[tuple(filters)]
        params = {"viewer": identity.user_id, **filters}
        snapshot = await self._store.read(
            Query("messages_page" + suffix, params | {"limit": limit, "offset": (page - 1) * limit}),
            Query("messages_count" + suffix, params),
        )
        rows, count = snapshot.results
        return PageOf(tuple(map(_message_from_row, rows)), page, limit, count[0]["total"], snapshot.cursor)

    async def pages_by_author(
        self, identity: Identity, user_ids: Iterable[str], fields: RequestFields
    ) -> dict[str, PageOf[Message]]:
        """The same page of the messages of each of several authors, in two statements."""
        form = FieldValidator(fields)
        page, limit = paging(form)
        form.check()
        authors = list(user_ids)
        params = {"viewer": identity.user_id, "user_ids": authors}
        snapshot = await self._store.read(
            Query("messages_of_users_page", params | {"limit": limit, "offset": (page - 1) * limit}),
            Query("messages_of_users_count", params),
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

    async def delete(self, identity: Identity, id: str) -> str:
        """Delete one's own message, and redact the log's event about it; gives the cursor."""
        message = (await self.read(identity, id)).value
        if message.user_id != identity.user_id:
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
