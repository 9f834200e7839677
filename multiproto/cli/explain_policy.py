"""Shows an operator what the configured topic rules allow a user.

`python -m multiproto.explain --config FILE --user ID VERB TOPIC` evaluates the
policy as the server does.  The exit status is 0 for yes, 1 for no, and 2 for an
error.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Mapping, Sequence

from ..config import ConfigError, load_config
from ..core.errors import ValidationError
from ..core.identity import Identity
from ..core.pubsub.permissions import VERBS
from ..core.pubsub.policy import Policy


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    options = _argument_parser().parse_args(arguments)
    identity = Identity(options.user, "", 0.0, options.device)
    try:
        found = Policy(load_config({}, environ, options.config).config.rules).explain(
            identity, options.verb, options.topic
        )
    except ConfigError as bad:
        print(bad, file=sys.stderr)
        return 2
    except ValidationError:
        print(f"no topic: {options.topic!r}", file=sys.stderr)
        return 2
    by = f" ({found['rule']})" if found["rule"] else ""
    print(f"{'yes' if found['allowed'] else 'no'}: {found['why']}{by}")
    return 0 if found["allowed"] else 1


def _argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m multiproto.explain", description="Who may do what on a topic."
    )
    parser.add_argument("--config", type=Path, help="TOML file with settings, as the server is given it")
    parser.add_argument("--user", required=True, help="id of the user who would ask")
    parser.add_argument("--device", help="name of the device credential that they would come with")
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("topic")
    return parser
