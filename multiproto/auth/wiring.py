"""Makes what verifies identities: keys, tokens, passwords, and the authenticator in front of the store."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable

from attrs import frozen

from ..config import Config
from ..config.parsers import format_duration
from ..config.signing_secret import signing_secret
from ..core.domain.failed_attempts import FailedAttempts
from ..core.ports import Store
from ..core.pubsub.dispatcher import Dispatcher
from ..observe.metrics import Metrics
from .authenticator import TokenAuthenticator
from .credential_usage import CredentialUsage
from .key_files import KeyFiles
from .passwords import BcryptPasswords
from .token_cache import TokenCache
from .tokens import JwtTokens


@frozen(eq=False, repr=False)
class AuthServices:
    keys: KeyFiles
    tokens: JwtTokens
    passwords: BcryptPasswords
    usage: CredentialUsage
    authenticator: TokenAuthenticator


def make_auth_services(
    config: Config,
    *,
    reactor: Any,  # its seconds are the epoch's
    new_id: Callable[[], str],
    store: Store,
    dispatcher: Dispatcher,
    failed_attempts: FailedAttempts,
    metrics: Metrics,
) -> AuthServices:
    settings = config.auth
    keys = KeyFiles(partial(signing_secret, config), settings.private_key_file, settings.public_key_files)
    tokens = JwtTokens(
        keys,
        int(settings.access_token_lifetime),
        format_duration(settings.access_token_lifetime),
        reactor.seconds,
        new_id,
    )
    usage = CredentialUsage(store, reactor)
    authenticator = TokenAuthenticator(
        tokens=tokens,
        store=store,
        cache=TokenCache(dispatcher, reactor, config.redis.cache_ttl, keys),
        usage=usage,
        failed_attempts=failed_attempts,
        revocations=dispatcher.revocations,
        observer=metrics,
        now=reactor.seconds,
    )
    passwords = BcryptPasswords(reactor, settings.bcrypt_rounds)
    metrics.pool_queue.labels("passwords").set_function(lambda: passwords.waiting)
    return AuthServices(keys, tokens, passwords, usage, authenticator)
