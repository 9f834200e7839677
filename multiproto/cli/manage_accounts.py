"""Makes accounts and operators: `python -m multiproto user create|grant|revoke|operators`.

It works on the database itself, with the settings that the server is given, and with `REGISTRATION=closed`,
too.  PostgreSQL may be in use meanwhile; the embedded database belongs to one process, so stop the server
first, but for `operators`, which only reads.  The exit status is 0 for done, 1 for refused, and 2 for an error in the arguments or settings.
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
from ..core.errors import NotFound, Refusal, ValidationError
from ..core.pubsub.namespaces import Namespaces
from ..core.wiring import AccountServices, make_account_services
from ..observe.metrics import Metrics
from ..storage.account_lookup import check_database_exists, find_operators
from ..storage.errors import StoreUnusable
from ..storage.wiring import make_store
from .command_parser import CommandParser
from .wording import describe_unknown_user, describe_unusable_store, print_warnings

DONE, REFUSED, INVALID = 0, 1, 2  # exit statuses
HELP = """\
It works on the database itself, so give it the settings that the server has: the environment, and --config
FILE. With PostgreSQL the server may run meanwhile; the embedded database belongs to one process, so stop the
server first, but for operators, which only reads.

examples:
  # the first operator of a new server; the password is asked for
  python -m multiproto user create --email root@example.org --name Root --operator
  # in a script: from a file, or as the first line of the standard input
  python -m multiproto user create --email ann@example.org --name Ann --password-file /run/secrets/ann
  pass show ann | python -m multiproto user create --email ann@example.org --name Ann
  # an account that is there already, by its address or id
  python -m multiproto user grant ann@example.org

An operator may read the audit log of all accounts, and nothing else that others may not; see
docs/operations.md#operators. The exit status is 0 for done, 1 for refused, and 2 for an error in the arguments
or settings."""
CREATE_HELP = """\
Prints the id of the new account. The password is asked for twice, or read from the standard input if that is
no terminal, or from --password-file. It can't be an argument: others on the machine see those, and shells
keep them. The rules for names, addresses and passwords are those of a registration
(docs/common.md#limits-on-input); REGISTRATION=closed does not stop this command."""


class NoPassword(Exception):
    """No password could be read; the text says why."""


class _RefusedPassword(argparse.Action):
    """`--password SECRET`, which others on the machine have seen by now."""

    def __call__(self, parser: argparse.ArgumentParser, *seen: object) -> None:
        parser.error(
            "a password can't be an argument, which others on this machine see and shells keep: leave it out and be "
            "asked for it, or give --password-file FILE; one that was given so should not be used"
        )


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
                await self._create(services)
            case "grant":
                print(f"{await operators.grant(self.options.user)} is an operator")
            case _:
                revoked = await operators.revoke(self.options.user)
                print(
                    f"{self.options.user} is an operator no longer, unless OPERATORS names it"
                    if revoked
                    else f"{self.options.user} was not made an operator by a command: nothing was done"
                )
        return DONE

    async def _create(self, services: AccountServices) -> None:
        fields = {"email": self.options.email, "name": self.options.name, "password": self.read_password()}
        user = (await services.accounts.register(fields, COMMAND)).value
        print(f"{user.id} is an account")  # it stays one, if it can't be made an operator now
        if self.options.operator:
            await services.operators.grant(user.id)
            print(f"{user.id} is an operator")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    options = _argument_parser().read(arguments)
    assignments = {} if options.data_dir is None else {"DATA_DIR": options.data_dir}
    try:
        loaded = load_config(assignments, environ, options.config)
    except ConfigError as bad:
        print(bad, file=sys.stderr)
        return INVALID
    print_warnings(loaded)
    config = loaded.config
    try:
        if options.command == "operators":
            return _list_operators(config)
        if options.command != "create" and config.storage.engine == "sqlite":
            check_database_exists(Path(config.storage.directory))
    except StoreUnusable as unusable:
        print(f"multiproto: {unusable}", file=sys.stderr)
        return REFUSED
    status: list[int] = []
    command = _Command(options, config, lambda: _read_password(options.password_file))
    with suppress(SystemExit):  # `react` ends so, whatever came of it
        react(lambda reactor: Deferred.fromCoroutine(_run(reactor, command, status)))
    return status[0] if status else REFUSED


def _list_operators(config: Config) -> int:
    """Raises `StoreUnusable`."""
    for row in find_operators(config.storage.postgresql_dsn, Path(config.storage.directory)):
        print(f"{row['user_id']}  {row['email']}  since {row['granted_at']}")
    return DONE


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
    except NoPassword as missing:
        print(f"multiproto: {missing}", file=sys.stderr)
        status.append(INVALID)
    except NotFound:
        print(f"multiproto: {describe_unknown_user(command.options.user)}", file=sys.stderr)
    except StoreUnusable as unusable:
        print(f"multiproto: {describe_unusable_store(unusable)}", file=sys.stderr)
    except Refusal as refused:
        print(f"multiproto: {refused}", file=sys.stderr)


def _read_password(file: Path | None) -> str:
    """From the first line of a file or of the standard input, or from a terminal, unseen and twice.

    Never from an argument, which others see.  Raises `NoPassword`.
    """
    try:
        if file is not None:
            line = file.read_bytes().partition(b"\n")[0]
        elif sys.stdin.isatty():
            password = getpass.getpass("Password: ")
            if getpass.getpass("Again: ") != password:
                raise NoPassword("the two passwords differ; nothing was done")
            return password
        else:
            line = sys.stdin.buffer.readline()
        if not line.rstrip(b"\r\n"):
            raise NoPassword(
                "no password was given: its place is the first line of the standard input or of --password-file FILE; "
                "nothing was done"
            )
        return line.rstrip(b"\r\n").decode()
    except OSError as error:
        raise NoPassword(f"--password-file {file}: {error.strerror}; nothing was done") from None
    except UnicodeDecodeError:
        raise NoPassword("the password is not UTF-8; nothing was done") from None


def _argument_parser() -> CommandParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = CommandParser(
        prog="python -m multiproto user",
        description="Make accounts, and operators, who may read the audit log of all.",
        epilog=HELP,
        formatter_class=raw,
    )
    parser.add_argument("--config", type=Path, help="TOML file with settings, as the server is given it")
    parser.add_argument("--data-dir", help="directory of the embedded database, as the server is given it")
    parser.set_defaults(password_file=None)
    _refuse_password(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    about = "make an account; its password is asked for, or read from a file or the standard input"
    create = commands.add_parser(
        "create", help=about, description=about, epilog=CREATE_HELP, formatter_class=raw
    )
    create.add_argument("--email", required=True, help="its mailbox address, by which it logs in")
    create.add_argument("--name", required=True, help="the name that others see")
    create.add_argument("--operator", action="store_true", help="it may read the whole audit log")
    create.add_argument(
        "--password-file", type=Path, metavar="FILE", help="the password is the first line of this file"
    )
    _refuse_password(create)
    for name, does in (
        ("grant", "make an account an operator"),
        ("revoke", "undo that; one that OPERATORS names stays an operator"),
    ):
        change = commands.add_parser(name, help=does, description=does)
        change.add_argument("user", help="id or mailbox address of the account")
    does = "list the operators that were made by a command, with their addresses"
    commands.add_parser("operators", help=does, description=does)
    return parser


def _refuse_password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--password", nargs="?", action=_RefusedPassword, help=argparse.SUPPRESS)
