"""What happened, told once: which topics hear of it and what they may see.

This is the only road from a stored change to subscribers on any wire
(contract, section 3).  Nothing in here ever holds a password or its hash.
"""

from __future__ import annotations

from typing import Callable, Mapping, Sequence

from attrs import define

from .model import Message, Public, User
from .namespaces import MESSAGES, REVOCATIONS, USERS
from .ports import Event
from .topics import word

CREATED, UPDATED, DELETED = "user.created", "user.updated", "user.deleted"
SENT, WITHDRAWN = "message.sent", "message.deleted"
REVOKED = "session.revoked"
WITHDRAWALS = frozenset((DELETED, WITHDRAWN))  # of what was told before
TYPES = (CREATED, UPDATED, DELETED, SENT, WITHDRAWN, REVOKED)


@define(eq=False, repr=False)
class Events:
    """Makes the events; `new_id` gives each its id."""

    _new_id: Callable[[], str]

    def user_created(self, user: User) -> Event:
        return self._event(CREATED, ("users",), {"user": user.public()}, user.id, user.created_at)

    def user_updated(self, user: User) -> Event:
        topics = ("users", f"users.{user.id}")
        return self._event(UPDATED, topics, {"user": user.public()}, user.id, user.updated_at)

    def user_deleted(self, user_id: str, at: str) -> Event:
        # Its own subject: blanking what was told of the user must not blank that they left.
        return self._event(DELETED, ("users", f"users.{user_id}"), {"userId": user_id}, "", at)

    def message_sent(self, message: Message) -> Event:
        content = {"message": message.public()}
        return self._event(SENT, _audience(message), content, message.id, message.created_at)

    def message_withdrawn(self, message: Message, at: str) -> Event:
        content: Public = {"messageId": message.id, "userId": message.user_id}
        if message.channel_id is not None:
            content["channelId"] = message.channel_id
        if message.recipient_id is not None:
            content["recipientId"] = message.recipient_id
        return self._event(WITHDRAWN, _audience(message), content, "", at)

    def sessions_revoked(self, user_id: str, session_ids: Sequence[str], at: str) -> Event:
        """One for all that end together: each hub looks through its connections once."""
        content: Public = {"userId": user_id, "sessionIds": list(session_ids)}
        return self._event(REVOKED, (REVOCATIONS,), content, "", at)

    def _event(
        self, type: str, topics: tuple[str, ...], content: Mapping[str, object], subject: str, at: str
    ) -> Event:
        namespace = {"user": USERS, "message": MESSAGES}.get(type.partition(".")[0], REVOCATIONS)
        return Event(self._new_id(), type, topics, content, subject, at, namespace)


def ended(type: str, content: Mapping[str, object]) -> Sequence[str]:
    """The ids of the users and sessions whose rights end with such an event."""
    if type == DELETED:
        return [str(content["userId"])]
    if type == REVOKED:
        ids = content["sessionIds"]
        assert isinstance(ids, Sequence)
        return ids
    return ()


def _audience(message: Message) -> tuple[str, ...]:
    """The topics that hear of `message`: a direct one only those of its two people."""
    author = f"messages.user.{message.user_id}"
    if message.recipient_id is not None:
        return tuple(dict.fromkeys((author, f"messages.user.{message.recipient_id}")))
    assert message.channel_id is not None
    return ("messages", author, f"messages.channel.{word(message.channel_id)}")
