"""What a value shows of itself when it is printed: no secret, and nothing that may hold one."""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import Any, Iterator

import attrs
from twisted.trial.unittest import SynchronousTestCase

import multiproto

# Names of what is a secret, and of what a client or the database may have put one in.
TELLING = re.compile(
    "password|secret|token|hash|authorization|cookie|credential|material|conninfo|url|environment|texts"
    "|query|variables|params|fields|rows|results|content|body|target"
)
# What is named so and holds none.
HARMLESS = {
    "multiproto.core.domain.credentials.NewCredential.credential": "what is kept of it, without the secret",
    "multiproto.auth.keys.KeyRing.secret_key": "a Key, which does not show itself",
    "multiproto.http.limits.HttpLimits.max_body_bytes": "a number of bytes",
    "multiproto.http.limits.HttpLimits.body_timeout": "seconds",
    "multiproto.graphql.execution.limits.QueryLimits.tokens": "how many words a document may have",
    "multiproto.http.envelope.RawResponse.content_type": "the name of one",
    "multiproto.config.settings.RateLimitConfig.credential_publish_rate": "a rate",
    "multiproto.core.ratelimit.publish_limits.PublishLimits._by_credential": "counts, by the id of a credential",
    "multiproto.core.transactions.Step.expected_rows": "a number",
    "multiproto.config.settings.AuthConfig.access_token_lifetime": "seconds",
    "multiproto.config.settings.AuthConfig.refresh_token_lifetime": "seconds",
    "multiproto.config.settings.Config.environment": "development, test or production",
    "multiproto.graphql.execution.request.GraphQLRequest.persisted_hash": "the SHA-256 of a query's text",
}


def values() -> Iterator[type]:
    """Every attrs class of the package that attrs wrote a `repr` for."""
    for module in pkgutil.walk_packages(multiproto.__path__, "multiproto."):
        for found in vars(importlib.import_module(module.name)).values():
            if isinstance(found, type) and found.__module__ == module.name and attrs.has(found):
                written: Any = vars(found).get("__repr__")
                if written is not None and "attrs generated" in written.__code__.co_filename:
                    yield found


def shown(value: type) -> Iterator[str]:
    for field in attrs.fields(value):
        if field.repr is not False:
            yield f"{value.__module__}.{value.__qualname__}.{field.name}"


class ReprTests(SynchronousTestCase):
    def test_no_value_shows_what_may_be_secret(self) -> None:
        telling = {
            name for value in values() for name in shown(value) if TELLING.search(name.rpartition(".")[2])
        }
        self.assertEqual(telling - set(HARMLESS), set())
        self.assertEqual(set(HARMLESS) - telling, set(), "no longer there")

    def test_the_search_finds_one(self) -> None:
        """Or it would prove nothing."""
        Careless = attrs.make_class("Careless", ["name", "password_hash"])
        self.assertEqual(
            [name.rpartition(".")[2] for name in shown(Careless) if TELLING.search(name.rpartition(".")[2])],
            ["password_hash"],
        )
        self.assertGreater(len(list(values())), 100)
