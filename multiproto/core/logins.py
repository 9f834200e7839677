"""How often a password may be tried on one account, from wherever; its owner is not locked out by that.

An attempt is paid for before it is made, so that a thousand at once are a
thousand; a right password gets it back.  Whoever has logged in to the account
before, from the same network, need not pay.  Nobody looks whether there is such
an account, so the answers do not tell.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from .errors import RateLimited, Unavailable
from .hosts import network
from .ports import SharedRates
from .rates import MOST_KEYS, Buckets, Rate

WRONG = Rate(10 / 900, 10)  # wrong passwords for one account: 10 at once, then one in 90 s
REMEMBERED = 30 * 86_400.0  # seconds after a login that its network is known to be the owner's


@frozen
class Attempt:
    account: str  # a hash
    place: str  # a hash of account and network
    paid: bool


@define(eq=False, repr=False)
class Logins:
    """Kept are hashes: of 50,000 accounts some 15 MB, of 50,000 places 10 MB; the rest is in Redis, if there is one."""

    _clock: IReactorTime
    _shared: SharedRates | None = None
    _most: int = MOST_KEYS
    _rate: Rate = WRONG
    _wrong: Buckets = field(init=False)
    _places: dict[str, float] = field(
        factory=dict, init=False
    )  # until when; the one that was used last comes last

    def __attrs_post_init__(self) -> None:
        self._wrong = Buckets(self._rate, self._most)

    async def begin(self, email_key: str, host: str) -> Attempt:
        """Before a password is looked at.  Raises `RateLimited`."""
        account = _hash(email_key)
        place = _hash(f"{account} {network(host)}")
        if await self._knows(place):
            return Attempt(account, place, paid=False)
        wait = self._wrong.take(account, self._clock.seconds())
        if not wait and self._shared is not None:
            with suppress(Unavailable):
                _, wait = await self._shared.lease(f"login:{account}", self._rate, 1)
        if wait:
            raise RateLimited("Too many attempts to log in; try again later", retry_after=wait)
        return Attempt(account, place, paid=True)

    async def settle(self, attempt: Attempt, right: bool | None) -> None:
        """The password was right, or wrong, or nobody has looked."""
        if right:
            await self._learn(attempt.place)
        if right is False or not attempt.paid:
            return
        self._wrong.put(attempt.account, self._clock.seconds())
        if self._shared is not None:
            with suppress(Unavailable):  # it fills again by itself
                await self._shared.lease(f"login:{attempt.account}", self._rate, -1)

    async def welcome(self, email_key: str, host: str) -> None:
        """The account's owner has been at `host`, as a refresh token shows."""
        await self._learn(_hash(f"{_hash(email_key)} {network(host)}"))

    async def _knows(self, place: str) -> bool:
        until = self._places.get(place, 0.0)
        if until > self._clock.seconds():
            return True
        if self._shared is None:
            return False
        try:
            return await self._shared.has_mark(f"login:{place}")
        except Unavailable:
            return False

    async def _learn(self, place: str) -> None:
        self._places.pop(place, None)
        while len(self._places) >= self._most:
            del self._places[next(iter(self._places))]
        self._places[place] = self._clock.seconds() + REMEMBERED
        if self._shared is not None:
            with suppress(Unavailable):
                await self._shared.mark(f"login:{place}", REMEMBERED)


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
