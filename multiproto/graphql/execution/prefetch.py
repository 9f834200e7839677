"""Fields that lead from one thing to another, asked for together and ahead: 50 messages have their authors in one statement.

graphql-core asks each of them by itself, in an asyncio task of its own.  What
they lead to is put into the dict of what has them, where a plan finds it; what
is not there (nobody has that id, or the caller may not ask) is for graphql-core,
and so are all errors.

Bought, in CPU of 50 messages with their authors' names: 3,900 to 700 µs
(docs/decisions/022-graphql-plans.md).
"""

from __future__ import annotations

from typing import Any, Callable

from attrs import frozen

from .context import Context

RELATION_EXTENSION = "multiproto.relation"  # the extension of a field that is one
PREFETCHED_KEY_PREFIX = (
    "multiproto.found."  # begins the key, in a dict, of what its field of that name leads to
)


@frozen(eq=False)
class RelationField:
    """From a thing to a user."""

    name: str  # of the field
    id_key: str  # of the user's id, in the dict of what has the field
    authorize: Callable[[Context], None] | None  # raises what keeps a caller out
    nullable: bool = False  # whether there may be none


async def prefetch_relations(context: Context, wanted: list[tuple[dict[str, Any], RelationField]]) -> None:
    """What those relations lead to, as far as it can be had."""
    try:
        for relation in {relation for _, relation in wanted}:
            if relation.authorize is not None:
                relation.authorize(context)
        ids = {id for thing, relation in wanted if isinstance(id := thing.get(relation.id_key), str)}
        users = {id: user.to_json() for id, user in (await context.loaders.load_users(ids)).items()}
    except Exception:
        return  # graphql-core meets the same, and says so where it belongs
    for thing, relation in wanted:
        id = thing.get(relation.id_key)
        if id is None and relation.nullable:
            thing[PREFETCHED_KEY_PREFIX + relation.name] = (None,)
        elif isinstance(id, str) and id in users:
            thing[PREFETCHED_KEY_PREFIX + relation.name] = (users[id],)
