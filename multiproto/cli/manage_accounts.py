"""Makes accounts and operators: `python -m multiproto.accounts create|grant|revoke|operators`.

It works on the database itself, with the settings that the server is given.  PostgreSQL may be in
use meanwhile; the embedded database belongs to one process, so stop the server first.  The exit
status is 0 for done, 1 for refused, and 2 for an error in the arguments or settings.
"""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from attrs import define
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import react

from ..auth.credential_format import RandomCredentialIssuer
from ..auth.passwords import BcryptPasswords
from ..base import strict_json
from ..base.uuid7 import Uuid7Generator
from ..config import Config, ConfigError, load_config
from ..core.domain.audit_log import AuditRecorder
from ..core.domain.failed_attempts import FailedAttempts
from ..core.domain.operators import COMMAND
from ..core.errors import Refusal, ValidationError
from ..core.pubsub.namespaces import Namespaces
from ..core.wiring import AccountServices, make_account_services
from ..observe.metrics import Metrics
from ..storage.errors import StoreUnusable
from ..storage.wiring import make_store


class _NoTokens:
    """A `TokenIssuer` for a command that logs nobody in."""

    lifetime = "0s"

    def issue(self, user_id: str, email: str, session_id: str) -> str:
        raise AssertionError("this command logs nobody in")


@define(eq=False, repr=False)
class _Command:
    options: argparse.Namespace
    config: Config
    read_password: Callable[[], str]

    async def run(self, services: AccountServices) -> int:
        operators = services.operators
        match self.options.command:
            case "create":
                return await self._create(services)
            case "grant":
                print(f"{await operators.grant(self.options.user)} is an operator")
            case "revoke":
                revoked = await operators.revoke(self.options.user)
                print(
                    "is an operator no longer, unless OPERATORS names it"
                    if revoked
                    else "was none by a command"
                )
            case _:
                for row in await operators.granted():
                    print(f"{row['user_id']}  {row['email']}  since {row['granted_at']}")
        return 0

    async def _create(self, services: AccountServices) -> int:
        fields = {"email": self.options.email, "name": self.options.name, "password": self.read_password()}
        user = (await services.accounts.register(fields, COMMAND)).value
        if self.options.operator:
            await services.operators.grant(user.id)
        print(f"{user.id} is {'an operator' if self.options.operator else 'an account'}")
        return 0


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    options = _argument_parser().parse_args(arguments)
    assignments = {} if options.data_dir is None else {"DATA_DIR": options.data_dir}
    try:
        config = load_config(assignments, environ, options.config).config
    except ConfigError as bad:
        print(bad, file=sys.stderr)
        return 2
    status: list[int] = []
    command = _Command(options, config, _read_password)
    with suppress(SystemExit):  # `react` ends so, whatever came of it
        react(lambda reactor: Deferred.fromCoroutine(_run(reactor, command, status)))
    return status[0] if status else 1


async def _run(reactor: Any, command: _Command, status: list[int]) -> None:
    config = command.config
    now = time.time
    store = make_store(
        config,
        reactor=reactor,
        now=now,
        namespaces=Namespaces.with_builtin(config.namespaces),
        metrics=Metrics(),
    )
    new_id = Uuid7Generator(now)
    passwords = BcryptPasswords(reactor, config.auth.bcrypt_rounds)
    services = make_account_services(
        store=store,
        passwords=passwords,
        tokens=_NoTokens(),
        credential_issuer=RandomCredentialIssuer(),
        failed_attempts=FailedAttempts(store, AuditRecorder(now, new_id), reactor, lambda count: None),
        now=now,
        earliest_now=now,
        latest_now=now,
        new_id=new_id,
        decode_json=strict_json.loads,
    )
    try:
        await maybeDeferred(store.startService)
        passwords.startService()
        try:
            status.append(await command.run(services))
        finally:
            await maybeDeferred(passwords.stopService)
            await maybeDeferred(store.stopService)
    except ValidationError as refused:
        for fault in refused.errors:
            print(f"multiproto: {'.'.join(map(str, fault.path))}: {fault.message}", file=sys.stderr)
    except (Refusal, StoreUnusable) as refused:
        print(f"multiproto: {refused}", file=sys.stderr)


def _read_password() -> str:
    """From the terminal, unseen, or the first line of the standard input: never an argument, which others see."""
    if sys.stdin.isatty():
        return getpass.getpass("Password: ")
    return sys.stdin.readline().rstrip("\r\n")


def _argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m multiproto.accounts",
        description="Make accounts, and operators, who may read the audit log.",
    )
    parser.add_argument("--config", type=Path, help="TOML file with settings, as the server is given it")
    parser.add_argument("--data-dir", help="directory of the embedded database, as the server is given it")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="a new account; its password is read from the standard input")
    create.add_argument("--email", required=True)
    create.add_argument("--name", required=True)
    create.add_argument("--operator", action="store_true", help="it may read the whole audit log")
    for name, does in (("grant", "make an account an operator"), ("revoke", "undo that")):
        commands.add_parser(name, help=does).add_argument("user", help="id or email address of the account")
    commands.add_parser("operators", help="list those that grant made")
    return parser
