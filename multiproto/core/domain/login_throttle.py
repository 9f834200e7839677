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

from ..addresses import client_network
from ..errors import RateLimited, Unavailable
from ..ports import SharedLimitStore
from ..ratelimit.token_bucket import MAX_BUCKETS, Rate, TokenBuckets

FAILED_LOGIN_RATE = Rate(10 / 900, 10)  # wrong passwords for one account: 10 at once, then one in 90 s
TRUST_DURATION = 30 * 86_400.0  # seconds after a login that its network is known to be the owner's


@frozen
class LoginAttempt:
    account_key: str  # a hash
    network_key: str  # a hash of account and network
    charged: bool


@define(eq=False, repr=False)
class LoginThrottle:
    """Kept are hashes: of 50,000 accounts some 15 MB, of 50,000 places 10 MB; the rest is in Redis, if there is one."""

    _clock: IReactorTime
    _shared: SharedLimitStore | None = None
    _max_keys: int = MAX_BUCKETS
    _rate: Rate = FAILED_LOGIN_RATE
    _failures: TokenBuckets = field(init=False)
    _trusted_until: dict[str, float] = field(
        factory=dict, init=False
    )  # until when; the one that was used last comes last

    def __attrs_post_init__(self) -> None:
        self._failures = TokenBuckets(self._rate, self._max_keys)

    async def begin_attempt(self, email_key: str, host: str) -> LoginAttempt:
        """Before a password is looked at.  Raises `RateLimited`."""
        account = _hash(email_key)
        place = _hash(f"{account} {client_network(host)}")
        if await self._is_trusted(place):
            return LoginAttempt(account, place, charged=False)
        wait = self._failures.acquire(account, self._clock.seconds())
        if not wait and self._shared is not None:
            with suppress(Unavailable):
                _, wait = await self._shared.lease(f"login:{account}", self._rate, 1)
        if wait:
            raise RateLimited("Too many attempts to log in; try again later", retry_after=wait)
        return LoginAttempt(account, place, charged=True)

    async def finish_attempt(self, attempt: LoginAttempt, right: bool | None) -> None:
        """The password was right, or wrong, or nobody has looked."""
        if right:
            await self._trust(attempt.network_key)
        if right is False or not attempt.charged:
            return
        self._failures.refund(attempt.account_key, self._clock.seconds())
        if self._shared is not None:
            with suppress(Unavailable):  # it fills again by itself
                await self._shared.lease(f"login:{attempt.account_key}", self._rate, -1)

    async def trust_network(self, email_key: str, host: str) -> None:
        """The account's owner has been at `host`, as a refresh token shows."""
        await self._trust(_hash(f"{_hash(email_key)} {client_network(host)}"))

    async def _is_trusted(self, place: str) -> bool:
        until = self._trusted_until.get(place, 0.0)
        if until > self._clock.seconds():
            return True
        if self._shared is None:
            return False
        try:
            return await self._shared.has_mark(f"login:{place}")
        except Unavailable:
            return False

    async def _trust(self, place: str) -> None:
        self._trusted_until.pop(place, None)
        while len(self._trusted_until) >= self._max_keys:
            del self._trusted_until[next(iter(self._trusted_until))]
        self._trusted_until[place] = self._clock.seconds() + TRUST_DURATION
        if self._shared is not None:
            with suppress(Unavailable):
                await self._shared.mark(f"login:{place}", TRUST_DURATION)


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
