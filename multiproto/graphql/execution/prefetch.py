"""Prefetches the users that relation fields of a list refer to: the authors of 50 messages in one statement.

graphql-core resolves each relation by itself, in an asyncio task of its own.
Prefetched users are put into the dicts of the objects that refer to them, where a
compiled selection finds them; those that are missing there (no such user, or
the caller is not authorized) are left to graphql-core, and so are all errors.

50 messages with their authors' names cost 700 instead of 3,900 µs of CPU
(docs/decisions/022-graphql-plans.md).
"""

from __future__ import annotations

from typing import Any, Callable

from attrs import frozen

from .context import Context

RELATION_EXTENSION = "multiproto.relation"  # the extension of a field that holds its `RelationField`
PREFETCHED_KEY_PREFIX = "multiproto.found."  # with the name of a field: the key of its prefetched value


@frozen(eq=False)
class RelationField:
    """A field that refers from an object to a user."""

    name: str  # of the field
    id_key: str  # the key of the user's id in the object's dict
    authorize: Callable[[Context], None] | None  # raises if the caller may not read it
    nullable: bool = False


async def prefetch_relations(context: Context, pending: list[tuple[dict[str, Any], RelationField]]) -> None:
    """Read the users that the objects in `pending` refer to, as far as possible."""
    try:
        for relation in {relation for _, relation in pending}:
            if relation.authorize is not None:
                relation.authorize(context)
        ids = {id for owner, relation in pending if isinstance(id := owner.get(relation.id_key), str)}
        found = await context.loaders.load_users(context.caller.require_identity(), ids)
        users = {id: user.to_json() for id, user in found.items()}
    except Exception:
        return  # graphql-core gets the same error, and reports it at the right path
    for owner, relation in pending:
        id = owner.get(relation.id_key)
        if id is None and relation.nullable:
            owner[PREFETCHED_KEY_PREFIX + relation.name] = (None,)
        elif isinstance(id, str) and id in users:
            owner[PREFETCHED_KEY_PREFIX + relation.name] = (users[id],)
