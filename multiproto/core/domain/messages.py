"""Messages: sending, reading, listing and deleting them, for every wire.

A direct message is visible to its author and its recipient only, and one in a
channel to its author and to those whom the topic rules let read the channel: for all
others it does not exist, in every list, total and operation (docs/common.md#values).
"""

from __future__ import annotations

from typing import Callable, Iterable, Mapping

from attrs import Factory, define, evolve

from ...base.timestamps import format_timestamp
from ..errors import Forbidden, NotFound, Unauthorized
from ..events import EventBuilder
from ..idempotency import IdempotentSends
from ..identity import Identity
from ..model import Message, PageOf, WithCursor
from ..ports import Store
from ..pubsub.policy import Policy
from ..ratelimit.publish_limits import PublishLimits
from ..transactions import Query, Row, Step, Unit
from ..validation import FieldValidator, RequestFields, check_id
from .pagination import PageRequest

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
    _policy: Policy
    _now: Callable[[], float]  # seconds since the epoch
    _new_id: Callable[[], str]
    limits: PublishLimits = Factory(PublishLimits)  # shared with publications

    async def send(
        self,
        identity: Identity,
        fields: RequestFields,
        key: str | None = None,
        *,
        is_charged: bool = False,
    ) -> WithCursor[Message]:
        """Store a message and its event; `key` makes repeating it harmless.

        `is_charged`: `limits` have counted it, and it has waited.

        Raises `ValidationError`, `NotFound` for an unknown recipient, `Forbidden` for a
        channel that one may not write to, `RateLimited`, or `Conflict` where the key was
        used for another message.
        """
        if not is_charged:
            self.limits.check(identity)
        form = FieldValidator(fields)
        content, channel = form.content(), form.topical_channel_id()
        recipient = form.uuid("recipientId", required=False)
        form.require_any("recipientId", "channelId")
        form.expect_idempotency_header()
        form.check()
        if channel and not recipient:
            self._policy.authorize_send(identity, channel)
        self.limits.charge_bytes(identity, len(content.encode()))
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
        add = Step("message_add", params, expected_rows=1, miss=no_user, clash=no_user, event=0)
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
            if self._is_visible(message, identity):
                return WithCursor(message, snapshot.cursor)
        raise NotFound.of("Message", id)

    async def page(self, identity: Identity, fields: RequestFields) -> PageOf[Message]:
        """The messages that `identity` may see, newest first, filtered by `userId` and `channelId`, if given.

        Raises `ValidationError`, or `NotFound` where nobody has the id `userId`.
        """
        form = FieldValidator(fields)
        request = await PageRequest.parse(form, self._store.locate)
        filters = {}
        if form.has("userId"):
            filters["user_id"] = form.uuid("userId")
        if form.has("channelId"):
            filters["channel_id"] = form.channel_filter()
        form.check()
        statement, narrowing = self._list_statement(identity, filters)
        params = {"viewer": identity.user_id, **filters, **narrowing}
        return await request.read(
            self._store, "messages", statement, params, _message_from_row, filters.get("user_id")
        )

    def _is_visible(self, message: Message, identity: Identity) -> bool:
        if not message.is_visible_to(identity.user_id):
            return False
        if (
            message.channel_id is None
            or message.recipient_id is not None
            or message.user_id == identity.user_id
        ):
            return True
        return self._policy.may_read_channel(identity, message.channel_id)

    def _list_statement(
        self, identity: Identity, filters: Mapping[str, str]
    ) -> tuple[str, Mapping[str, object]]:
        """The suffix of the statements for a list with these `filters`, and what narrows it to readable channels.

        Nothing narrows it where no rule is about channels, nor where all of it is readable.
        """
        plain = _LIST_STATEMENTS[tuple(filters)]
        channels = self._policy.readable_channels(identity)
        if channels is None or filters.get("user_id") == identity.user_id:
            return plain, {}
        if "channel_id" in filters:
            if channels.admits(filters["channel_id"]):
                return plain, {}
            return "_by_closed_channel", {"user_id": filters.get("user_id", "")}
        named = {"channels": list(channels.named)}
        if "user_id" in filters:
            return "_by_user_narrowed", {**named, "only": int(channels.only_named)}
        return "_only_in" if channels.only_named else "_but_in", named

    async def pages_by_author(
        self, identity: Identity, user_ids: Iterable[str], fields: RequestFields
    ) -> dict[str, PageOf[Message]]:
        """The same page of the messages of each of several authors, in two statements."""
        form = FieldValidator(fields)
        request = await PageRequest.parse(form, self._store.locate)
        form.check()
        authors = list(user_ids)
        params: dict[str, object] = {"viewer": identity.user_id, "user_ids": authors}
        channels = self._policy.readable_channels(identity)
        if channels is not None and authors != [identity.user_id]:
            narrowed = "_narrowed"
            params |= {"channels": list(channels.named), "only": int(channels.only_named)}
        else:
            narrowed = ""
        snapshot = await self._store.read(*request.queries("messages_of_users", narrowed, params))
        rows, counts, *behind = snapshot.results
        totals = {row["user_id"]: row["total"] for row in counts}
        with_more_behind = {row["user_id"] for found in behind for row in found}
        by_author: dict[str, list[Row]] = {author: [] for author in authors}
        for row in rows:
            by_author[row["user_id"]].append(row)
        return {
            author: request.build_page(
                found,
                totals.get(author, 0),
                author in with_more_behind,
                _message_from_row,
                self._store.cursors_of,
                snapshot.cursor,
            )
            for author, found in by_author.items()
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
