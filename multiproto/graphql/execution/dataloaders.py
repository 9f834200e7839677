"""Batches the reads of one operation, so that a list costs one statement, not one for each item.

Nothing is cached: a batch collects the keys of one turn of the reactor and is
dropped when it is loaded, so a mutation never reads what it replaced.
"""

from __future__ import annotations

from functools import partial
from typing import Awaitable, Callable, Collection, Generic, Mapping, TypeVar

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ...base.waiters import Waiters
from ...core.domain.accounts import Accounts
from ...core.domain.messages import Messages
from ...core.identity import Identity
from ...core.model import Message, PageOf, User

K = TypeVar("K")
V = TypeVar("V")


@define(eq=False, repr=False)
class DataLoader(Generic[K, V]):
    _batch_load: Callable[[list[K]], Awaitable[Mapping[K, V]]]
    _clock: IReactorTime
    _pending: dict[K, Waiters[V | None]] = Factory(dict)

    def load(self, key: K) -> Deferred[V | None]:
        """The value of `key`, or `None`; loaded together with all other keys of this turn."""
        if not self._pending:
            self._clock.callLater(0, self._dispatch)
        waiters = self._pending.get(key)
        if waiters is None:
            waiters = self._pending[key] = Waiters()
        return waiters.wait()

    def _dispatch(self) -> None:
        pending, self._pending = self._pending, {}

        async def load() -> Mapping[K, V]:
            return await self._batch_load(list(pending))

        def on_loaded(values: Mapping[K, V]) -> None:
            for key, waiters in pending.items():
                waiters.release(values.get(key))

        def on_failed(failure: Failure) -> None:
            for waiters in pending.values():
                waiters.fail(failure)

        Deferred.fromCoroutine(load()).addCallbacks(on_loaded, on_failed)


@define(eq=False, repr=False)
class OperationLoaders:
    """The loaders of one operation."""

    _accounts: Accounts
    _messages: Messages
    _clock: IReactorTime
    _user_loader: DataLoader[str, User] | None = None
    _message_page_loaders: dict[tuple[object, ...], DataLoader[str, PageOf[Message]]] = Factory(dict)

    async def load_user(self, identity: Identity, id: str) -> User | None:
        """The user as `identity`, whose operation this is, may see them."""
        if self._user_loader is None:
            self._user_loader = DataLoader(partial(self._accounts.read_many, identity), self._clock)
        return await self._user_loader.load(id)

    async def load_users(self, identity: Identity, ids: Collection[str]) -> Mapping[str, User]:
        """The users with these `ids`, by id; unknown ids are left out."""
        return await self._accounts.read_many(identity, ids) if ids else {}

    async def load_messages_of(
        self, identity: Identity, author: str, fields: Mapping[str, object]
    ) -> PageOf[Message]:
        """A page of `author`'s messages that `identity` may see; `fields` says which, see `PageRequest`."""
        which = tuple(map(fields.get, ("page", "limit", "before", "after")))
        if which not in self._message_page_loaders:
            messages = self._messages  # a function that held `self` would be held by it
            self._message_page_loaders[which] = DataLoader(
                lambda ids: messages.pages_by_author(identity, ids, fields), self._clock
            )
        page = await self._message_page_loaders[which].load(author)
        assert page is not None  # `pages_by_author` has a page for every author
        return page
