"""Shows an operator what the configured topic rules allow a user.

`python -m multiproto explain --config FILE --user USER VERB TOPIC` evaluates the
policy as the server does.  A user is named by an id, which is not looked up, so that
rules can be tried without a database, or by the address of an account.  The exit
status is 0 for yes, 1 for no, and 2 for an error.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Mapping, Sequence

from ..config import Config, ConfigError, load_config
from ..core.errors import ValidationError
from ..core.identity import Identity
from ..core.pubsub.permissions import VERBS
from ..core.pubsub.policy import Policy
from ..core.validation import is_uuid
from ..storage.account_lookup import find_user_id
from ..storage.errors import StoreUnusable
from .command_parser import CommandParser
from .wording import describe_unknown_user, print_warnings

YES, NO, INVALID = 0, 1, 2  # exit statuses


class UnknownUser(Exception):
    """The option names no account; the text says why."""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    options = _argument_parser().read(arguments)
    assignments = {} if options.data_dir is None else {"DATA_DIR": options.data_dir}
    try:
        loaded = load_config(assignments, environ, options.config)
        print_warnings(loaded)
        config = loaded.config
        user_id = _find_user(config, options.user)
        found = Policy(config.rules).explain(
            Identity(user_id, "", 0.0, options.device), options.verb, options.topic
        )
    except ValidationError:
        print(f"no topic: {options.topic!r}", file=sys.stderr)
        return INVALID
    except (ConfigError, StoreUnusable, UnknownUser) as bad:
        print(bad, file=sys.stderr)
        return INVALID
    by = f" ({found['rule']})" if found["rule"] else ""
    print(f"{'yes' if found['allowed'] else 'no'}: {found['why']}{by}")
    if user_id != options.user:
        print(f"{options.user} is {user_id}")
    return YES if found["allowed"] else NO


def _find_user(config: Config, user: str) -> str:
    """The id of a user who is named by an id or an address.  Raises `UnknownUser` and `StoreUnusable`."""
    if is_uuid(user.lower()):
        return user.lower()
    storage = config.storage
    id = find_user_id(storage.postgresql_dsn, Path(storage.directory), user) if "@" in user else None
    if id is None:
        raise UnknownUser(f"--user: {describe_unknown_user(user)}")
    return id


def _argument_parser() -> CommandParser:
    parser = CommandParser(prog="python -m multiproto explain", description="Who may do what on a topic.")
    parser.add_argument("--config", type=Path, help="TOML file with settings, as the server is given it")
    parser.add_argument("--data-dir", help="directory of the embedded database, as the server is given it")
    parser.add_argument(
        "--user", required=True, help="the user who would ask: an id, or the mailbox address of an account"
    )
    parser.add_argument("--device", help="name of the device credential that they would come with")
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("topic")
    return parser
