"""What each field of the schema gives, from the same core that serves every wire.

A resolver takes the operation's `Context` and the field's arguments by their
names in the schema, which are the core's own names for its fields.  Users and
messages travel as what the public sees of them, as events carry them too.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping

from attrs import define, frozen

from ...core.connections.admission import Admission
from ...core.connections.hub import Hub
from ...core.connections.stream import SubscriptionStream
from ...core.domain.accounts import Accounts
from ...core.domain.credentials import CredentialStore
from ...core.domain.login_sessions import LoginResult, LoginSessions
from ...core.domain.messages import Messages
from ...core.errors import Forbidden, NotFound, ValidationError
from ...core.events import MESSAGE_SENT, USER_CREATED, USER_UPDATED
from ...core.model import JsonObject, Message, PageOf, User, format_timestamp
from ...core.protocol import Delivery
from ...core.pubsub.policy import Policy
from ...core.pubsub.publisher import Publisher
from ...core.pubsub.topics import escape_word
from ...core.validation import check_id
from ..execution.context import Context
from ..execution.subscription_source import EventMapper, SourceStream, estimate_size

Args = Mapping[str, Any]


@define(eq=False, repr=False)
class QueryResolvers:
    _accounts: Accounts
    _login_sessions: LoginSessions
    _credentials: CredentialStore
    _messages: Messages
    _policy: Policy
    _health: Callable[[], Awaitable[Mapping[str, Any]]]

    async def user(self, at: Context, args: Args) -> JsonObject:
        return (await self._accounts.read(args["id"])).value.to_json()

    async def users(self, at: Context, args: Args) -> JsonObject:
        return to_relay_connection(await self._accounts.page(args))

    async def me(self, at: Context, args: Args) -> JsonObject:
        return (await self._accounts.read(at.caller.require_identity().user_id)).value.to_json()

    async def sessions(self, at: Context, args: Args) -> list[JsonObject]:
        return [
            session.to_json()
            for session in await self._login_sessions.list_active(at.caller.require_identity())
        ]

    async def message(self, at: Context, args: Args) -> JsonObject:
        return (await self._messages.read(at.caller.require_identity(), args["id"])).value.to_json()

    async def messages(self, at: Context, args: Args) -> JsonObject:
        return to_relay_connection(await self._messages.page(at.caller.require_identity(), args))

    async def user_messages(self, at: Context, args: Args) -> JsonObject:
        return to_relay_connection(await self._messages.page(at.caller.require_identity(), args))

    async def channel_messages(self, at: Context, args: Args) -> JsonObject:
        return to_relay_connection(await self._messages.page(at.caller.require_identity(), args))

    async def credentials(self, at: Context, args: Args) -> list[JsonObject]:
        return [each.to_json() for each in await self._credentials.list_active(at.caller.require_identity())]

    async def explain(self, at: Context, args: Args) -> JsonObject:
        return self._policy.explain(at.caller.require_identity(), args["verb"], args["topic"])

    async def health(self, at: Context, args: Args) -> JsonObject:
        """As REST says it, but with the dependencies in a list: their names are data."""
        health = await self._health()
        dependencies = [{"name": name, **state} for name, state in health["dependencies"].items()]
        return {**health, "dependencies": dependencies}


@define(eq=False, repr=False)
class MutationResolvers:
    _accounts: Accounts
    _login_sessions: LoginSessions
    _credentials: CredentialStore
    _messages: Messages
    _publisher: Publisher
    _throttle: Callable[[str], Awaitable[None]]  # a client's address; raises `RateLimited`

    async def register(self, at: Context, args: Args) -> JsonObject:
        await self._throttle(at.caller.host)
        fields = args["input"]
        at.cursor = (await self._accounts.register(fields, at.caller.client)).cursor
        return to_auth_response(await self._login_sessions.login(fields, at.caller.client))

    async def login(self, at: Context, args: Args) -> JsonObject:
        await self._throttle(at.caller.host)
        return to_auth_response(await self._login_sessions.login(args, at.caller.client))

    async def refresh(self, at: Context, args: Args) -> JsonObject:
        return to_auth_response(await self._login_sessions.refresh(args, at.caller.client))

    async def logout(self, at: Context, args: Args) -> bool:
        await self._login_sessions.logout(at.caller.require_identity(), at.caller.client)
        return True

    async def logout_all(self, at: Context, args: Args) -> bool:
        await self._login_sessions.logout_all(at.caller.require_identity(), at.caller.client)
        return True

    async def revoke_session(self, at: Context, args: Args) -> bool:
        await self._login_sessions.revoke(at.caller.require_identity(), args["id"], at.caller.client)
        return True

    async def update_user(self, at: Context, args: Args) -> JsonObject:
        who = at.caller.require_identity()
        kept = await self._accounts.update(who, who.user_id, args["input"], at.caller.client)
        at.cursor = kept.cursor
        return kept.value.to_json()

    async def delete_user(self, at: Context, args: Args) -> bool:
        who = at.caller.require_identity()
        at.cursor = await self._accounts.close(who, who.user_id, at.caller.client)
        return True

    async def send_message(self, at: Context, args: Args) -> JsonObject:
        key = args.get("idempotencyKey")
        kept = await self._messages.send(at.caller.require_identity(), args["input"], key)
        at.cursor = kept.cursor
        return kept.value.to_json()

    async def delete_message(self, at: Context, args: Args) -> bool:
        at.cursor = await self._messages.delete(at.caller.require_identity(), args["id"])
        return True

    async def create_credential(self, at: Context, args: Args) -> JsonObject:
        return (
            await self._credentials.create(at.caller.require_identity(), args["input"], at.caller.client)
        ).to_json()

    async def revoke_credential(self, at: Context, args: Args) -> bool:
        await self._credentials.revoke(at.caller.require_identity(), args["id"], at.caller.client)
        return True

    async def publish(self, at: Context, args: Args) -> JsonObject:
        metadata = args.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            raise ValidationError.for_field("metadata", "Must be an object")
        published = await self._publisher.publish(
            at.caller.require_identity(),
            args["topic"],
            args.get("data"),
            metadata,
            at.caller.connection_id,
            args.get("idempotencyKey"),
        )
        at.cursor = published.cursor
        accepted = published.publication
        return {
            "topic": accepted.topic,
            "data": accepted.content,
            "metadata": accepted.metadata,
            "timestamp": format_timestamp(accepted.accepted_at),
            "cursor": published.cursor,
        }


@define(eq=False, repr=False)
class SubscriptionResolvers:
    _hub: Hub
    _admission: Admission

    async def user_created(self, at: Context, args: Args) -> SourceStream:
        return await self._subscribe(at, args, "users", map_event_of_type(USER_CREATED, "user"))

    async def user_updated(self, at: Context, args: Args) -> SourceStream:
        return await self._subscribe(
            at, args, f"users.{check_id(args['userId'], 'userId')}", map_event_of_type(USER_UPDATED, "user")
        )

    async def message_sent(self, at: Context, args: Args) -> SourceStream:
        channel = args.get("channelId")
        pattern = "messages" if channel is None else f"messages.channel.{escape_word(channel)}"
        return await self._subscribe(at, args, pattern, map_event_of_type(MESSAGE_SENT, "message"))

    async def message_to_user(self, at: Context, args: Args) -> SourceStream:
        """The topic also tells what the user sent, which is not meant here."""
        user = check_id(args["userId"], "userId")
        if user != at.caller.require_identity().user_id:
            raise Forbidden("These messages are someone else's")
        sent = map_event_of_type(MESSAGE_SENT, "message")

        def received(delivery: Delivery) -> JsonObject | None:
            message = sent(delivery)
            return message if message and message.get("recipientId") == user else None

        return await self._subscribe(at, args, f"messages.user.{escape_word(user)}", received)

    async def topic(self, at: Context, args: Args) -> SourceStream:
        return await self._subscribe(at, args, args["pattern"], map_delivery)

    async def _subscribe(self, at: Context, args: Args, pattern: str, shape: EventMapper) -> SourceStream:
        who = at.caller.require_identity()
        allowance = at.caller.allowance
        feed = await SubscriptionStream.open(
            self._hub,
            self._admission,
            at.caller.host,
            who,
            estimate_size,
            pattern,
            args.get("after"),
            allowance,
        )
        return SourceStream(feed, shape, allowance)


@define(eq=False, repr=False)
class RelationResolvers:
    """Fields that lead from one thing to another, batched over all the things of a list."""

    async def messages(self, at: Context, user: JsonObject, args: Args) -> JsonObject:
        author = str(user["id"])
        return to_relay_connection(
            await at.loaders.load_messages_of(at.caller.require_identity(), author, args)
        )

    async def user(self, at: Context, message: JsonObject, args: Args) -> JsonObject:
        return await self._load_user(at, message["userId"])

    async def recipient(self, at: Context, message: JsonObject, args: Args) -> JsonObject | None:
        recipient = message.get("recipientId")
        return None if recipient is None else await self._load_user(at, recipient)

    async def _load_user(self, at: Context, id: object) -> JsonObject:
        user = await at.loaders.load_user(str(id))
        if user is None:
            raise NotFound.of("User", str(id))
        return user.to_json()


@frozen
class Resolvers:
    queries: QueryResolvers
    mutations: MutationResolvers
    subscriptions: SubscriptionResolvers
    relations: RelationResolvers


def to_relay_connection(page: PageOf[User] | PageOf[Message]) -> JsonObject:
    return {
        "edges": [{"node": item.to_json(), "cursor": item.id} for item in page.items],
        "pageInfo": page.pagination(),
        "cursor": page.cursor,
    }


def to_auth_response(login: LoginResult) -> JsonObject:
    return {
        "user": login.user.to_json(),
        "token": login.token,
        "expiresIn": login.expires_in,
        "refreshToken": login.refresh_token,
    }


def map_event_of_type(event_type: str, what: str) -> EventMapper:
    """What an event of this type tells of; `None` of all others."""

    def shape(delivery: Delivery) -> JsonObject | None:
        if delivery.metadata.get("eventType") != event_type or not isinstance(delivery.content, dict):
            return None
        thing: JsonObject = delivery.content[what]
        return thing

    return shape


def map_delivery(delivery: Delivery) -> JsonObject:
    return {
        "topic": delivery.topic,
        "data": delivery.content,
        "metadata": delivery.metadata,
        "timestamp": format_timestamp(delivery.accepted_at),
        "cursor": delivery.cursor,
    }
