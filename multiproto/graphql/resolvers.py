"""What each field of the schema gives, from the same core that serves every wire.

A resolver takes the operation's `Context` and the field's arguments by their
names in the schema, which are the core's own names for its fields.  Users and
messages travel as what the public sees of them, as events carry them too.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping

from attrs import define, frozen

from ..core.accounts import Accounts
from ..core.errors import Forbidden, Invalid, NotFound
from ..core.events import CREATED, SENT, UPDATED
from ..core.feed import Feed
from ..core.forms import check_id
from ..core.hub import Hub, Line
from ..core.keyring import Keyring
from ..core.messages import Messages
from ..core.model import Message, PageOf, Public, User, timestamp
from ..core.policy import Policy
from ..core.publishing import Publisher
from ..core.sessions import Login, Sessions
from ..core.topics import word
from ..core.wire import Delivery
from .context import Context
from .source import Shape, Source, weigh

Args = Mapping[str, Any]


@define(eq=False, repr=False)
class Queries:
    _accounts: Accounts
    _sessions: Sessions
    _keyring: Keyring
    _messages: Messages
    _policy: Policy
    _health: Callable[[], Awaitable[Mapping[str, Any]]]

    async def user(self, at: Context, args: Args) -> Public:
        return (await self._accounts.read(args["id"])).value.public()

    async def users(self, at: Context, args: Args) -> Public:
        return connection(await self._accounts.page(args))

    async def me(self, at: Context, args: Args) -> Public:
        return (await self._accounts.read(at.caller.who().user_id)).value.public()

    async def sessions(self, at: Context, args: Args) -> list[Public]:
        return [session.public() for session in await self._sessions.opened(at.caller.who())]

    async def message(self, at: Context, args: Args) -> Public:
        return (await self._messages.read(at.caller.who(), args["id"])).value.public()

    async def messages(self, at: Context, args: Args) -> Public:
        return connection(await self._messages.page(at.caller.who(), args))

    async def user_messages(self, at: Context, args: Args) -> Public:
        return connection(await self._messages.page(at.caller.who(), args))

    async def channel_messages(self, at: Context, args: Args) -> Public:
        return connection(await self._messages.page(at.caller.who(), args))

    async def credentials(self, at: Context, args: Args) -> list[Public]:
        return [each.public() for each in await self._keyring.all(at.caller.who())]

    async def explain(self, at: Context, args: Args) -> Public:
        return self._policy.explain(at.caller.who(), args["verb"], args["topic"])

    async def health(self, at: Context, args: Args) -> Public:
        """As REST says it, but with the dependencies in a list: their names are data."""
        health = await self._health()
        dependencies = [{"name": name, **state} for name, state in health["dependencies"].items()]
        return {**health, "dependencies": dependencies}


@define(eq=False, repr=False)
class Mutations:
    _accounts: Accounts
    _sessions: Sessions
    _keyring: Keyring
    _messages: Messages
    _publisher: Publisher
    _throttle: Callable[[str], Awaitable[None]]  # a client's address; raises `RateLimited`

    async def register(self, at: Context, args: Args) -> Public:
        await self._throttle(at.caller.host)
        fields = args["input"]
        at.cursor = (await self._accounts.register(fields, at.caller.client)).cursor
        return logged_in(await self._sessions.login(fields, at.caller.client))

    async def login(self, at: Context, args: Args) -> Public:
        await self._throttle(at.caller.host)
        return logged_in(await self._sessions.login(args, at.caller.client))

    async def refresh(self, at: Context, args: Args) -> Public:
        return logged_in(await self._sessions.refresh(args, at.caller.client))

    async def logout(self, at: Context, args: Args) -> bool:
        await self._sessions.logout(at.caller.who(), at.caller.client)
        return True

    async def logout_all(self, at: Context, args: Args) -> bool:
        await self._sessions.logout_all(at.caller.who(), at.caller.client)
        return True

    async def revoke_session(self, at: Context, args: Args) -> bool:
        await self._sessions.revoke(at.caller.who(), args["id"], at.caller.client)
        return True

    async def update_user(self, at: Context, args: Args) -> Public:
        who = at.caller.who()
        kept = await self._accounts.amend(who, who.user_id, args["input"], at.caller.client)
        at.cursor = kept.cursor
        return kept.value.public()

    async def delete_user(self, at: Context, args: Args) -> bool:
        who = at.caller.who()
        at.cursor = await self._accounts.close(who, who.user_id, at.caller.client)
        return True

    async def send_message(self, at: Context, args: Args) -> Public:
        key = args.get("idempotencyKey")
        kept = await self._messages.send(at.caller.who(), args["input"], key)
        at.cursor = kept.cursor
        return kept.value.public()

    async def delete_message(self, at: Context, args: Args) -> bool:
        at.cursor = await self._messages.withdraw(at.caller.who(), args["id"])
        return True

    async def create_credential(self, at: Context, args: Args) -> Public:
        return (await self._keyring.make(at.caller.who(), args["input"], at.caller.client)).public()

    async def revoke_credential(self, at: Context, args: Args) -> bool:
        await self._keyring.revoke(at.caller.who(), args["id"], at.caller.client)
        return True

    async def publish(self, at: Context, args: Args) -> Public:
        metadata = args.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            raise Invalid.at("metadata", "Must be an object")
        published = await self._publisher.publish(
            at.caller.who(),
            args["topic"],
            args.get("data"),
            metadata,
            at.caller.connection,
            args.get("idempotencyKey"),
        )
        at.cursor = published.cursor
        accepted = published.publication
        return {
            "topic": accepted.topic,
            "data": accepted.content,
            "metadata": accepted.metadata,
            "timestamp": timestamp(accepted.at),
            "cursor": published.cursor,
        }


@define(eq=False, repr=False)
class Subscriptions:
    _hub: Hub
    _line: Line

    async def user_created(self, at: Context, args: Args) -> Source:
        return await self._open(at, args, "users", told(CREATED, "user"))

    async def user_updated(self, at: Context, args: Args) -> Source:
        return await self._open(
            at, args, f"users.{check_id(args['userId'], 'userId')}", told(UPDATED, "user")
        )

    async def message_sent(self, at: Context, args: Args) -> Source:
        channel = args.get("channelId")
        pattern = "messages" if channel is None else f"messages.channel.{word(channel)}"
        return await self._open(at, args, pattern, told(SENT, "message"))

    async def message_to_user(self, at: Context, args: Args) -> Source:
        """The topic also tells what the user sent, which is not meant here."""
        user = check_id(args["userId"], "userId")
        if user != at.caller.who().user_id:
            raise Forbidden("These messages are someone else's")
        sent = told(SENT, "message")

        def received(delivery: Delivery) -> Public | None:
            message = sent(delivery)
            return message if message and message.get("recipientId") == user else None

        return await self._open(at, args, f"messages.user.{word(user)}", received)

    async def topic(self, at: Context, args: Args) -> Source:
        return await self._open(at, args, args["pattern"], delivered)

    async def _open(self, at: Context, args: Args, pattern: str, shape: Shape) -> Source:
        who = at.caller.who()
        allowance = at.caller.allowance
        feed = await Feed.open(
            self._hub, self._line, at.caller.host, who, weigh, pattern, args.get("after"), allowance
        )
        return Source(feed, shape, allowance)


@define(eq=False, repr=False)
class Relations:
    """Fields that lead from one thing to another, batched over all the things of a list."""

    async def messages(self, at: Context, user: Public, args: Args) -> Public:
        author = str(user["id"])
        return connection(await at.loaders.messages_of(at.caller.who(), author, args))

    async def user(self, at: Context, message: Public, args: Args) -> Public:
        return await self._user(at, message["userId"])

    async def recipient(self, at: Context, message: Public, args: Args) -> Public | None:
        recipient = message.get("recipientId")
        return None if recipient is None else await self._user(at, recipient)

    async def _user(self, at: Context, id: object) -> Public:
        user = await at.loaders.user(str(id))
        if user is None:
            raise NotFound.of("User", str(id))
        return user.public()


@frozen
class Resolvers:
    queries: Queries
    mutations: Mutations
    subscriptions: Subscriptions
    relations: Relations


def connection(page: PageOf[User] | PageOf[Message]) -> Public:
    return {
        "edges": [{"node": item.public(), "cursor": item.id} for item in page.items],
        "pageInfo": page.pagination(),
        "cursor": page.cursor,
    }


def logged_in(login: Login) -> Public:
    return {
        "user": login.user.public(),
        "token": login.token,
        "expiresIn": login.expires_in,
        "refreshToken": login.refresh_token,
    }


def told(event_type: str, what: str) -> Shape:
    """What an event of this type tells of; `None` of all others."""

    def shape(delivery: Delivery) -> Public | None:
        if delivery.metadata.get("eventType") != event_type or not isinstance(delivery.content, dict):
            return None
        thing: Public = delivery.content[what]
        return thing

    return shape


def delivered(delivery: Delivery) -> Public:
    return {
        "topic": delivery.topic,
        "data": delivery.content,
        "metadata": delivery.metadata,
        "timestamp": timestamp(delivery.at),
        "cursor": delivery.cursor,
    }
