"""Limits how often passwords may be tried on one account, without locking out its owner.

An attempt is charged before it is made, so that a thousand at once count as a
thousand; a right password refunds it.  From a network where somebody has logged
in to the account before, attempts are not charged.  Whether the account exists
is not looked up, so the answers do not reveal it.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from ...base.bounded_map import BoundedMap
from ...base.client_network import client_network
from ..errors import RateLimited, Unavailable
from ..ports import SharedLimitStore
from ..ratelimit.token_bucket import MAX_BUCKETS, Rate, TokenBuckets

FAILED_LOGIN_RATE = Rate(10 / 900, 10)  # wrong passwords for one account: 10 at once, then one in 90 s
TRUST_DURATION = 30 * 86_400.0  # seconds after a login that its network is trusted


@frozen
class LoginAttempt:
    account_key: str  # a hash
    network_key: str  # a hash of account and network
    charged: bool


@define(eq=False, repr=False)
class LoginThrottle:
    """Keeps hashes only: of 50,000 accounts some 15 MB, of 50,000 networks 10 MB; more are in Redis, if there is one."""

    _clock: IReactorTime
    _shared: SharedLimitStore | None = None
    _max_keys: int = MAX_BUCKETS
    _rate: Rate = FAILED_LOGIN_RATE
    _failures: TokenBuckets = field(init=False)
    _trusted_until: BoundedMap[str, float] = field(init=False)  # by the hash of account and network

    def __attrs_post_init__(self) -> None:
        self._failures = TokenBuckets(self._rate, self._max_keys)
        self._trusted_until = BoundedMap(self._max_keys)

    async def begin_attempt(self, email_key: str, host: str) -> LoginAttempt:
        """Charge an attempt, before the password is checked.  Raises `RateLimited`."""
        account = _hash(email_key)
        network_key = _hash(f"{account} {client_network(host)}")
        if await self._is_trusted(network_key):
            return LoginAttempt(account, network_key, charged=False)
        wait = self._failures.acquire(account, self._clock.seconds())
        if not wait and self._shared is not None:
            with suppress(Unavailable):
                _, wait = await self._shared.lease(f"login:{account}", self._rate, 1)
        if wait:
            raise RateLimited("Too many attempts to log in; try again later", retry_after=wait)
        return LoginAttempt(account, network_key, charged=True)

    async def finish_attempt(self, attempt: LoginAttempt, right: bool | None) -> None:
        """The password was right, or wrong, or `None`: it was not checked."""
        if right:
            await self._trust(attempt.network_key)
        if right is False or not attempt.charged:
            return
        self._failures.refund(attempt.account_key, self._clock.seconds())
        if self._shared is not None:
            with suppress(Unavailable):  # the bucket fills again by itself
                await self._shared.lease(f"login:{attempt.account_key}", self._rate, -1)

    async def trust_network(self, email_key: str, host: str) -> None:
        """The account's owner is at `host`, as a refresh token shows."""
        await self._trust(_hash(f"{_hash(email_key)} {client_network(host)}"))

    async def _is_trusted(self, network_key: str) -> bool:
        trusted_until = self._trusted_until.get(network_key)
        if trusted_until is not None and trusted_until > self._clock.seconds():
            return True
        if self._shared is None:
            return False
        try:
            return await self._shared.has_mark(f"login:{network_key}")
        except Unavailable:
            return False

    async def _trust(self, network_key: str) -> None:
        self._trusted_until.put(network_key, self._clock.seconds() + TRUST_DURATION)
        if self._shared is not None:
            with suppress(Unavailable):
                await self._shared.mark(f"login:{network_key}", TRUST_DURATION)


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
