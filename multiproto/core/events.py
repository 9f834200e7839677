"""Builds the events of accounts, messages and sessions: their types, topics and content.

This is the only way from a stored change to subscribers on any wire
(docs/common.md#events).  No event ever has a password or its hash.
"""

from __future__ import annotations

from typing import Callable, Mapping, Sequence

from attrs import define

from .model import JsonObject, Message, User
from .pubsub.namespaces import MESSAGES, REVOCATIONS, USERS
from .pubsub.permissions import SERVER_TOPICS
from .pubsub.topics import channel_topic, is_escaped, overlaps
from .transactions import Event
from .validation import is_uuid

USER_CREATED, USER_UPDATED, USER_DELETED = "user.created", "user.updated", "user.deleted"
MESSAGE_SENT, MESSAGE_DELETED = "message.sent", "message.deleted"
SESSION_REVOKED = "session.revoked"
# With them, the content of earlier events is redacted: of an update, the address that was changed.
WITHDRAWALS = frozenset((USER_DELETED, USER_UPDATED, MESSAGE_DELETED))
EVENT_TYPES = (USER_CREATED, USER_UPDATED, USER_DELETED, MESSAGE_SENT, MESSAGE_DELETED, SESSION_REVOKED)


@define(eq=False, repr=False)
class EventBuilder:
    """Builds each kind of event; `new_id` gives each its id."""

    _new_id: Callable[[], str]

    def user_created(self, user: User) -> Event:
        return self._event(USER_CREATED, ("users",), {"user": user.to_json()}, user.id, user.created_at)

    def user_updated(self, user: User) -> Event:
        topics = ("users", f"users.{user.id}")
        return self._event(USER_UPDATED, topics, {"user": user.to_json()}, user.id, user.updated_at)

    def user_deleted(self, user_id: str, at: str) -> Event:
        # Without subject: redacting the user's events must not redact this one.
        return self._event(USER_DELETED, ("users", f"users.{user_id}"), {"userId": user_id}, "", at)

    def message_sent(self, message: Message) -> Event:
        content = {"message": message.to_json()}
        return self._event(MESSAGE_SENT, _message_topics(message), content, message.id, message.created_at)

    def message_deleted(self, message: Message, at: str) -> Event:
        content: JsonObject = {"messageId": message.id, "userId": message.user_id}
        if message.channel_id is not None:
            content["channelId"] = message.channel_id
        if message.recipient_id is not None:
            content["recipientId"] = message.recipient_id
        return self._event(MESSAGE_DELETED, _message_topics(message), content, "", at)

    def sessions_revoked(self, user_id: str, session_ids: Sequence[str], at: str) -> Event:
        """One event for all sessions that end together: each hub goes through its connections once."""
        content: JsonObject = {"userId": user_id, "sessionIds": list(session_ids)}
        return self._event(SESSION_REVOKED, (REVOCATIONS,), content, "", at)

    def _event(
        self, type: str, topics: tuple[str, ...], content: Mapping[str, object], subject: str, at: str
    ) -> Event:
        namespace = {"user": USERS, "message": MESSAGES}.get(type.partition(".")[0], REVOCATIONS)
        return Event(self._new_id(), type, topics, content, subject, at, namespace)


def has_events(pattern: str) -> bool:
    """Whether anything can ever be published on a topic that `pattern` covers."""
    *words, last = pattern.split(".")
    if (words or [last])[0] not in SERVER_TOPICS:
        return True
    is_wildcard = last in ("*", "**")
    return (
        any(overlaps(pattern, topic) for topic in ("users", "messages", "messages.user.*"))
        or (overlaps(pattern, "users.*") and (is_wildcard or is_uuid(last)))
        or (overlaps(pattern, "messages.channel.*") and (is_wildcard or is_escaped(last)))
    )


def revoked_ids(type: str, content: Mapping[str, object]) -> Sequence[str]:
    """The ids of the users and sessions whose rights end with such an event."""
    if type == USER_DELETED:
        return [str(content["userId"])]
    if type == SESSION_REVOKED:
        ids = content["sessionIds"]
        assert isinstance(ids, Sequence)
        return ids
    return ()


def required_topic(topics: Sequence[str], topic: str) -> str | None:
    """Of the `topics` of an event, the one that a peer must be able to read too to get it on `topic`.

    On `messages` one hears of all channels, but for those that one may not read.
    """
    return topics[-1] if topic == "messages" and len(topics) > 1 else None


def _message_topics(message: Message) -> tuple[str, ...]:
    """The topics of events about `message`: of a direct one only those of its author and recipient."""
    author = f"messages.user.{message.user_id}"
    if message.recipient_id is not None:
        return tuple(dict.fromkeys((author, f"messages.user.{message.recipient_id}")))
    assert message.channel_id is not None
    return ("messages", author, channel_topic(message.channel_id))
