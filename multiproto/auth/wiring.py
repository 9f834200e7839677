"""Makes what verifies identities: keys, tokens, passwords, and the authenticator in front of the store."""

from __future__ import annotations

from functools import partial
from typing import Any

from attrs import frozen

from ..config import Config
from ..config.parsers import format_duration
from ..config.signing_secret import signing_secret
from ..core.wiring import Foundation
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


def make_auth_services(config: Config, foundation: Foundation, reactor: Any) -> AuthServices:
    """`reactor` is for the threads that hash passwords."""
    settings, clock, store = config.auth, foundation.clock, foundation.store
    keys = KeyFiles(partial(signing_secret, config), settings.private_key_file, settings.public_key_files)
    tokens = JwtTokens(
        keys,
        int(settings.access_token_lifetime),
        format_duration(settings.access_token_lifetime),
        foundation.now,
        foundation.new_id,
    )
    usage = CredentialUsage(store, clock, foundation.now)
    authenticator = TokenAuthenticator(
        tokens=tokens,
        store=store,
        cache=TokenCache(foundation.dispatcher, clock, foundation.now, config.redis.cache_ttl, keys),
        usage=usage,
        failed_attempts=foundation.failed_attempts,
        revocations=foundation.dispatcher.revocations,
        observer=foundation.metrics,
        clock=clock,
        now=foundation.now,
        earliest_now=foundation.wall_clock.earliest_now,
    )
    passwords = BcryptPasswords(reactor, settings.bcrypt_rounds)
    foundation.metrics.pool_queue.labels("passwords").set_function(lambda: passwords.waiting)
    return AuthServices(keys, tokens, passwords, usage, authenticator)
