"""The resolvers of the schema's fields, on the same core that serves every protocol.

A resolver is called with the operation's `Context` and the field's arguments by
their names in the schema, which are the core's own names for its fields.  Users
and messages are passed on as their public JSON objects, as events have them.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping

from attrs import define, frozen

from ...base.timestamps import format_timestamp
from ...core.connections.admission import Admission
from ...core.connections.hub import Hub
from ...core.connections.stream import SubscriptionStream
from ...core.domain.accounts import Accounts
from ...core.domain.credentials import CredentialStore
from ...core.domain.login_sessions import LoginSessions
from ...core.domain.messages import Messages
from ...core.errors import Forbidden, NotFound, Unauthorized, ValidationError
from ...core.events import MESSAGE_SENT, USER_CREATED, USER_UPDATED
from ...core.model import JsonObject, PageOf
from ...core.protocol import Delivery
from ...core.pubsub.policy import Policy
from ...core.pubsub.publisher import Publisher
from ...core.pubsub.topics import channel_topic, check_pattern
from ...core.validation import FieldValidator, check_id
from ..execution.context import Context
from ..execution.subscriptions import EventMapper, SubscriptionSource, estimate_size

Args = Mapping[str, Any]


@define(eq=False, repr=False)
class QueryResolvers:
    _accounts: Accounts
    _login_sessions: LoginSessions
    _credentials: CredentialStore
    _messages: Messages
    _policy: Policy
    _health: Callable[[], Awaitable[Mapping[str, Any]]]

    async def user(self, context: Context, args: Args) -> JsonObject:
        return (await self._accounts.read(context.caller.require_identity(), args["id"])).value.to_json()

    async def users(self, context: Context, args: Args) -> JsonObject:
        return to_relay_connection(await self._accounts.page(context.caller.require_identity(), args))

    async def me(self, context: Context, args: Args) -> JsonObject:
        identity = context.caller.require_identity()
        return (await self._accounts.read(identity, identity.user_id)).value.to_json()

    async def sessions(self, context: Context, args: Args) -> list[JsonObject]:
        return [
            session.to_json()
            for session in await self._login_sessions.list_active(context.caller.require_identity())
        ]

    async def message(self, context: Context, args: Args) -> JsonObject:
        return (await self._messages.read(context.caller.require_identity(), args["id"])).value.to_json()

    async def messages(self, context: Context, args: Args) -> JsonObject:
        return to_relay_connection(await self._messages.page(context.caller.require_identity(), args))

    async def user_messages(self, context: Context, args: Args) -> JsonObject:
        return to_relay_connection(await self._messages.page(context.caller.require_identity(), args))

    async def channel_messages(self, context: Context, args: Args) -> JsonObject:
        return to_relay_connection(await self._messages.page(context.caller.require_identity(), args))

    async def credentials(self, context: Context, args: Args) -> list[JsonObject]:
        return [
            credential.to_json()
            for credential in await self._credentials.list_active(context.caller.require_identity())
        ]

    async def explain(self, context: Context, args: Args) -> JsonObject:
        return self._policy.explain(context.caller.require_identity(), args["verb"], args["topic"])

    async def health(self, context: Context, args: Args) -> JsonObject:
        """As `GET /health` has it, but with the dependencies in a list: their names are data."""
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
    # With a client's address, and the id of its user or `None`: counts as a request over HTTP; raises `RateLimited`.
    _count_request: Callable[[str, str | None], Awaitable[None]]

    async def _count_write(self, context: Context) -> None:
        """Count a change of an account as a request: over HTTP, the first one of an operation was one.

        A document may have thirty, and a socket sends any number of documents.
        """
        context.account_writes += 1
        if context.account_writes > 1 or context.caller.connection_id is not None:
            identity = context.caller.identity
            await self._count_request(context.caller.host, None if identity is None else identity.user_id)

    async def register(self, context: Context, args: Args) -> JsonObject:
        fields = args["input"]
        context.cursor = (await self._accounts.register(fields, context.caller.client)).cursor
        return (await self._login_sessions.login(fields, context.caller.client)).to_json()

    async def login(self, context: Context, args: Args) -> JsonObject:
        return (await self._login_sessions.login(args, context.caller.client)).to_json()

    async def refresh(self, context: Context, args: Args) -> JsonObject:
        try:
            return (await self._login_sessions.refresh(args, context.caller.client)).to_json()
        except Unauthorized:
            await self._count_request(context.caller.host, None)
            raise

    async def logout(self, context: Context, args: Args) -> bool:
        await self._count_write(context)
        await self._login_sessions.logout(context.caller.require_identity(), context.caller.client)
        return True

    async def logout_all(self, context: Context, args: Args) -> bool:
        await self._count_write(context)
        await self._login_sessions.logout_all(context.caller.require_identity(), args, context.caller.client)
        return True

    async def revoke_session(self, context: Context, args: Args) -> bool:
        await self._count_write(context)
        await self._login_sessions.revoke(
            context.caller.require_identity(), args["id"], context.caller.client
        )
        return True

    async def update_user(self, context: Context, args: Args) -> JsonObject:
        await self._count_write(context)
        identity = context.caller.require_identity()
        result = await self._accounts.update(identity, identity.user_id, args["input"], context.caller.client)
        context.cursor = result.cursor
        return result.value.to_json()

    async def delete_user(self, context: Context, args: Args) -> bool:
        await self._count_write(context)
        identity = context.caller.require_identity()
        context.cursor = await self._accounts.close(identity, identity.user_id, args, context.caller.client)
        return True

    async def send_message(self, context: Context, args: Args) -> JsonObject:
        identity, key = context.caller.require_identity(), args.get("idempotencyKey")
        is_charged = await context.caller.charge_publication(self._messages.limits)
        result = await self._messages.send(identity, args["input"], key, is_charged=is_charged)
        context.cursor = result.cursor
        return result.value.to_json()

    async def delete_message(self, context: Context, args: Args) -> bool:
        context.cursor = await self._messages.delete(context.caller.require_identity(), args["id"])
        return True

    async def create_credential(self, context: Context, args: Args) -> JsonObject:
        await self._count_write(context)
        return (
            await self._credentials.create(
                context.caller.require_identity(), args["input"], context.caller.client
            )
        ).to_json()

    async def revoke_credential(self, context: Context, args: Args) -> bool:
        await self._count_write(context)
        await self._credentials.revoke(context.caller.require_identity(), args["id"], context.caller.client)
        return True

    async def publish(self, context: Context, args: Args) -> JsonObject:
        metadata = args.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            raise ValidationError.for_field("metadata", "Must be an object")
        is_charged = await context.caller.charge_publication(self._publisher.limits)
        published = await self._publisher.publish(
            context.caller.require_identity(),
            args["topic"],
            args.get("data"),
            metadata,
            context.caller.connection_id,
            args.get("idempotencyKey"),
            is_charged=is_charged,
        )
        context.cursor = published.cursor
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

    async def user_created(self, context: Context, args: Args) -> SubscriptionSource:
        return await self._subscribe(context, args, "users", map_event_of_type(USER_CREATED, "user"))

    async def user_updated(self, context: Context, args: Args) -> SubscriptionSource:
        user = args.get("userId")
        pattern = "users" if user is None else f"users.{check_id(user, 'userId')}"
        return await self._subscribe(context, args, pattern, map_event_of_type(USER_UPDATED, "user"))

    async def message_sent(self, context: Context, args: Args) -> SubscriptionSource:
        form = FieldValidator(args)
        channel = form.topical_channel_id() if form.has("channelId") else None
        form.check()
        pattern = "messages" if channel is None else channel_topic(channel)
        return await self._subscribe(context, args, pattern, map_event_of_type(MESSAGE_SENT, "message"))

    async def message_to_user(self, context: Context, args: Args) -> SubscriptionSource:
        """All on the user's topic: messages to the user, and those that the user sent."""
        user = check_id(args["userId"], "userId")
        if user != context.caller.require_identity().user_id:
            raise Forbidden("These messages are someone else's")
        pattern = f"messages.user.{user}"
        return await self._subscribe(context, args, pattern, map_event_of_type(MESSAGE_SENT, "message"))

    async def topic(self, context: Context, args: Args) -> SubscriptionSource:
        return await self._subscribe(context, args, check_pattern(args["pattern"], "pattern"), map_delivery)

    async def _subscribe(
        self, context: Context, args: Args, pattern: str, map_event: EventMapper
    ) -> SubscriptionSource:
        identity = context.caller.require_identity()
        budget = context.caller.budget
        stream = await SubscriptionStream.open(
            self._hub,
            self._admission,
            context.caller.host,
            identity,
            estimate_size,
            pattern,
            args.get("after"),
            budget,
            context.caller.limit_unsent,
        )
        return SubscriptionSource(stream, map_event, budget)


@define(eq=False, repr=False)
class RelationResolvers:
    """Fields that refer from one object to others, batched over all objects of a list."""

    async def messages(self, context: Context, user: JsonObject, args: Args) -> JsonObject:
        author = str(user["id"])
        return to_relay_connection(
            await context.loaders.load_messages_of(context.caller.require_identity(), author, args)
        )

    async def user(self, context: Context, message: JsonObject, args: Args) -> JsonObject:
        return await self._load_user(context, message["userId"])

    async def recipient(self, context: Context, message: JsonObject, args: Args) -> JsonObject | None:
        recipient = message.get("recipientId")
        return None if recipient is None else await self._load_user(context, recipient)

    async def _load_user(self, context: Context, id: object) -> JsonObject:
        user = await context.loaders.load_user(context.caller.require_identity(), str(id))
        if user is None:
            raise NotFound.of("User", str(id))
        return user.to_json()


@frozen
class Resolvers:
    queries: QueryResolvers
    mutations: MutationResolvers
    subscriptions: SubscriptionResolvers
    relations: RelationResolvers


def to_relay_connection(page: PageOf[Any]) -> JsonObject:
    """Of users or messages."""
    return {
        "edges": [
            {"node": item.to_json(), "cursor": cursor}
            for item, cursor in zip(page.items, page.item_cursors())
        ],
        "pageInfo": page.pagination(),
        "cursor": page.cursor,
    }


def map_event_of_type(event_type: str, key: str) -> EventMapper:
    """Maps an event of this type to the object under `key` in its content, and all others to `None`."""

    def map_event(delivery: Delivery) -> JsonObject | None:
        if delivery.metadata.get("eventType") != event_type or not isinstance(delivery.content, dict):
            return None
        value: JsonObject = delivery.content[key]
        return value

    return map_event


def map_delivery(delivery: Delivery) -> JsonObject:
    return {
        "topic": delivery.topic,
        "data": delivery.content,
        "metadata": delivery.metadata,
        "timestamp": format_timestamp(delivery.accepted_at),
        "cursor": delivery.cursor,
    }
