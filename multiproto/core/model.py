"""Users, messages and pages of lists, as immutable values, with their JSON."""

from __future__ import annotations

from typing import Any, Callable, Generic, Iterable, Mapping, TypeVar

from attrs import field, frozen

T = TypeVar("T")

JsonObject = dict[str, object]  # with the field names of docs/common.md#values


@frozen
class User:
    id: str
    email: str
    name: str
    created_at: str  # RFC 3339
    updated_at: str
    shows_email: bool = field(default=True, eq=False)  # to whoever reads it here

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> User:
        return cls(row["id"], row["email"], row["name"], row["created_at"], row["updated_at"])

    def to_json(self) -> JsonObject:
        shown: JsonObject = {
            "id": self.id,
            "email": self.email,
            "name": self.name,
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
        }
        if not self.shows_email:
            del shown["email"]
        return shown


@frozen
class UserRecord:
    """A user with the password hash, which only `domain` sees."""

    user: User
    email_key: str  # the address as it is compared
    password_hash: str = field(repr=False)
    version: int  # grows by one with each change of the row

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> UserRecord:
        return cls(User.from_row(row), row["email_key"], row["password_hash"], row["version"])


@frozen
class Message:
    """With a `recipient_id` it is a direct message, whatever its `channel_id`."""

    id: str
    user_id: str
    content: str = field(repr=False)
    channel_id: str | None
    recipient_id: str | None
    created_at: str  # RFC 3339
    updated_at: str

    def to_json(self) -> JsonObject:
        shown: JsonObject = {"id": self.id, "userId": self.user_id, "content": self.content}
        if self.channel_id is not None:
            shown["channelId"] = self.channel_id
        if self.recipient_id is not None:
            shown["recipientId"] = self.recipient_id
        return shown | {"createdAt": self.created_at, "updatedAt": self.updated_at}

    def is_visible_to(self, user_id: str) -> bool:
        return self.recipient_id is None or user_id in (self.user_id, self.recipient_id)


@frozen
class PageOf(Generic[T]):
    """One page of a list, newest first, and the size of the whole list."""

    items: tuple[T, ...]
    page: int  # from 1; of a page that was asked for by a cursor 1
    limit: int
    total: int
    has_older: bool  # whether the list goes on behind this page
    has_newer: bool  # whether there is something in front of it
    before: str | None  # the cursor before which the older ones are, if there are any
    after: str | None  # the cursor after which newer ones are, or will be
    cursor: str | None  # of the snapshot that all of this was read in
    item_cursors: Callable[[], Iterable[str]] = field(eq=False, repr=False)  # those of `items`

    def pagination(self) -> JsonObject:
        shown: JsonObject = {
            "page": self.page,
            "limit": self.limit,
            "total": self.total,
            "totalPages": -(-self.total // self.limit),
            "hasNextPage": self.has_older,
            "hasPreviousPage": self.has_newer,
        }
        if self.before is not None:
            shown["before"] = self.before
        if self.after is not None:
            shown["after"] = self.after
        return shown


@frozen
class WithCursor(Generic[T]):
    """A value as the store had it, with the cursor from which its changes can be followed."""

    value: T
    cursor: str
