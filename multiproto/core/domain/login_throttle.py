"""Limits how often logging in may fail, on one account and from one address, without locking out an account's owner.

An attempt is charged before it is made, so that a thousand at once count as a
thousand; a right password refunds it.  Where no attempt is left, one is still
made from a network where the owner has logged in or refreshed a session before:
the database knows (`known_networks`), on every instance and after a restart.
Answers do not reveal whether an account exists.

Failures of one address are counted once they have happened: an office where
three hundred log in at the same moment has none.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b
from typing import Callable

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from ...base.bounded_map import BoundedMap
from ...base.client_network import ClientNetwork, client_network
from ...base.timestamps import format_timestamp
from ..errors import RateLimited, Refusal, Unavailable
from ..ports import SharedLimitStore, Store
from ..ratelimit.fixed_window import RateLimit
from ..ratelimit.token_bucket import MAX_BUCKETS, Rate, TokenBuckets
from ..transactions import Query

FAILED_LOGIN_RATE = Rate(10 / 900, 10)  # wrong passwords for one account: 10 at once, then one in 90 s
TRUST_DURATION = 30 * 86_400.0  # seconds after a login that its network is trusted


@frozen
class LoginAttempt:
    account_key: str  # a hash
    network_key: str  # a hash of account and network
    network: ClientNetwork
    charged: bool


@define(eq=False, repr=False)
class LoginThrottle:
    """Keeps hashes only: of 50,000 accounts some 15 MB, of 50,000 networks 10 MB; the database has all networks."""

    _clock: IReactorTime
    _earliest_now: Callable[[], float]  # seconds since the epoch: stored networks are forgotten by it
    _store: Store
    _shared: SharedLimitStore | None = None
    _max_keys: int = MAX_BUCKETS
    _rate: Rate = FAILED_LOGIN_RATE
    _failures_by_address: RateLimit | None = field(default=None, kw_only=True)  # of registrations, too
    _failures: TokenBuckets = field(init=False)
    _trusted_until: BoundedMap[str, float] = field(init=False)  # by the hash of account and network

    def __attrs_post_init__(self) -> None:
        self._failures = TokenBuckets(self._rate, self._max_keys)
        self._trusted_until = BoundedMap(self._max_keys)

    async def begin_attempt(self, email_key: str, host: str) -> LoginAttempt:
        """Charge an attempt, before the password is checked.  Raises `RateLimited`."""
        account, network = _hash(email_key), client_network(host)
        network_key = _hash(f"{account} {network}")
        if (self._trusted_until.get(network_key) or 0.0) > self._clock.seconds():
            return LoginAttempt(account, network_key, network, charged=False)
        refusal = self._address_refusal(network) or await self._charge_account(account)
        if refusal is None:
            return LoginAttempt(account, network_key, network, charged=True)
        if not await self._is_known(email_key, network):
            raise refusal
        self._trust(network_key)
        return LoginAttempt(account, network_key, network, charged=False)

    async def _charge_account(self, account: str) -> RateLimited | None:
        wait = self._failures.acquire(account, self._clock.seconds())
        if not wait and self._shared is not None:
            with suppress(Unavailable):
                _, wait = await self._shared.lease(f"login:{account}", self._rate, 1)
        return RateLimited("Too many wrong passwords for this account", retry_after=wait) if wait else None

    async def finish_attempt(self, attempt: LoginAttempt, right: bool | None) -> None:
        """The password was right, or wrong, or `None`: it was not checked."""
        if right:
            self._trust(attempt.network_key)
        elif right is False and self._failures_by_address is not None:
            await self._failures_by_address.count(attempt.network)
        if right is False or not attempt.charged:
            return
        self._failures.refund(attempt.account_key, self._clock.seconds())
        if self._shared is not None:
            with suppress(Unavailable):  # the bucket fills again by itself
                await self._shared.lease(f"login:{attempt.account_key}", self._rate, -1)

    def check_address(self, host: str) -> None:
        """Raise `RateLimited` if too much from the address `host` has failed."""
        if refusal := self._address_refusal(client_network(host)):
            raise refusal

    async def record_failure(self, host: str) -> None:
        """A login that could not be tried, or a registration, has failed."""
        if self._failures_by_address is not None:
            await self._failures_by_address.count(client_network(host))

    def _address_refusal(self, network: ClientNetwork) -> RateLimited | None:
        limit = self._failures_by_address
        if limit is None:
            return None
        status = limit.preview(network)
        return limit.refusal(status) if status.exceeded else None

    async def _is_known(self, email_key: str, network: ClientNetwork) -> bool:
        """Whether the database has the network as one of the account's; costs the same where there is none."""
        since = format_timestamp(self._earliest_now() - TRUST_DURATION)
        params = {"email_key": email_key, "network": network, "since": since}
        try:
            return bool((await self._store.read(Query("network_known", params))).results[0])
        except Refusal:
            return False

    def _trust(self, network_key: str) -> None:
        self._trusted_until.put(network_key, self._clock.seconds() + TRUST_DURATION)


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
