"""Batches what one operation asks the store for, so that a list costs one statement, not one an item.

Nothing is kept: a batch gathers what is asked for in one turn of the reactor
and forgets it when it is answered, so a mutation never reads what it replaced.
"""

from __future__ import annotations

from typing import Awaitable, Callable, Collection, Generic, Mapping, TypeVar

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

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
    _pending: dict[K, list[Deferred[V | None]]] = Factory(dict)

    def load(self, key: K) -> Deferred[V | None]:
        """What `key` names, or `None`; fetched together with all else that is asked for in this turn."""
        if not self._pending:
            self._clock.callLater(0, self._dispatch)
        waiter: Deferred[V | None] = Deferred()
        self._pending.setdefault(key, []).append(waiter)
        return waiter

    def _dispatch(self) -> None:
        waiting, self._pending = self._pending, {}

        async def fetch() -> Mapping[K, V]:
            return await self._batch_load(list(waiting))

        def found(values: Mapping[K, V]) -> None:
            for key, waiters in waiting.items():
                for waiter in waiters:
                    waiter.callback(values.get(key))

        def failed(failure: Failure) -> None:
            for waiters in waiting.values():
                for waiter in waiters:
                    waiter.errback(failure)

        Deferred.fromCoroutine(fetch()).addCallbacks(found, failed)


@define(eq=False, repr=False)
class OperationLoaders:
    """The batches of one operation."""

    _accounts: Accounts
    _messages: Messages
    _clock: IReactorTime
    _user_loader: DataLoader[str, User] | None = None
    _message_page_loaders: dict[tuple[object, object], DataLoader[str, PageOf[Message]]] = Factory(dict)

    async def load_user(self, id: str) -> User | None:
        if self._user_loader is None:
            self._user_loader = DataLoader(self._accounts.read_many, self._clock)
        return await self._user_loader.load(id)

    async def load_users(self, ids: Collection[str]) -> Mapping[str, User]:
        """Those of `ids` that there are."""
        return await self._accounts.read_many(ids) if ids else {}

    async def load_messages_of(
        self, who: Identity, author: str, fields: Mapping[str, object]
    ) -> PageOf[Message]:
        """The page of `author`'s messages that `fields` ask for, as `who` may see it."""
        asked = fields.get("page"), fields.get("limit")
        if asked not in self._message_page_loaders:
            self._message_page_loaders[asked] = DataLoader(
                lambda ids: self._messages.pages_by_author(who, ids, fields), self._clock
            )
        page = await self._message_page_loaders[asked].load(author)
        assert page is not None  # `pages_of` answers for every author
        return page
