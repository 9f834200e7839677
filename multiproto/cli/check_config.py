"""Looks at a configuration without starting the server: `python -m multiproto check-config`.

It reads the sources as the server does, and the files that they name; it
connects to nothing and writes nothing.  What it prints has a line for each
thing: `error` stops the start, `risk` is one in production.  The exit status is
0 for neither, 1 for risks only, and 2 for errors, also in the arguments.
"""

from __future__ import annotations

import os
import resource
import secrets
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Iterator, Mapping, Sequence

from twisted.python import usage

from ..auth.key_files import PRIVATE_KEY_SETTING, BadKeyFile, KeyFiles
from ..config import Config, ConfigError, LoadedConfig, load_config
from ..config.options import SettingOptions
from ..config.risks import find_risks, is_readable_by_others
from ..edge.key_pair import KeyPairError, read_key_pair

CLEAN, RISKY, BROKEN = 0, 1, 2  # exit statuses
CERTIFICATE_NOTICE = timedelta(days=14)  # before it expires
MIN_DESCRIPTORS = 4096  # for some thousand connections

HELP_TEXT = """
Says what the server would say of its configuration, and what is risky about it in production, without
starting: it connects to nothing and writes nothing. Give it the options and the environment that the
server is started with, as the user that it runs as.

  python -m multiproto check-config --config multiproto.toml --env production
  python -m multiproto check-config --set TLS_CERT_FILE=/etc/multiproto/fullchain.pem ...

Each line begins with what it is:

  error   the server would not start; the line says what is wrong, and where it stands
  risk    it would start, but think about this one before it is in production

The exit status is 0 if there is neither, 1 if there are risks only, 2 if there are errors (also in these
options). Risks are looked for in production and staging only: pass --env production to look at a
configuration from elsewhere. docs/operations.md#before-production explains them.
"""


class CheckOptions(SettingOptions):
    """The options of the server."""

    synopsis = "Usage: python -m multiproto check-config [options]"

    def getUsage(self, width: int | None = None) -> str:
        return str(super().getUsage(width)) + HELP_TEXT


def main(arguments: Sequence[str], environ: Mapping[str, str], folder: Path = Path()) -> int:
    options = CheckOptions()
    try:
        options.parseOptions(arguments)
    except usage.UsageError as bad:
        print(f"error: {bad}; see --help")
        return BROKEN
    try:
        loaded = load_config(options.flag_settings(), environ, options.file, folder)
    except ConfigError as bad:
        return _report(
            [*map(str, bad.problems), *_find_file_errors(bad.readable)], list(map(str, bad.warnings)), None
        )
    now = datetime.now(timezone.utc)
    errors = list(_find_file_errors(loaded.config))
    risks = list(map(str, loaded.warnings))
    if loaded.config.is_production and not errors:
        risks += _find_risks(loaded, folder, now)
    return _report(errors, risks, loaded.config)


def _report(errors: Sequence[str], risks: Sequence[str], config: Config | None) -> int:
    for kind, lines in (("error", errors), ("risk", risks)):
        for line in lines:
            print(f"{kind}: {line}")
    if errors or config is None:
        print(f"the server would not start: {len(errors)} {'error' if len(errors) == 1 else 'errors'}")
        return BROKEN
    print(_describe(config))
    if not config.is_production:
        print("risks are looked for in production only: --env production")
    return RISKY if risks else CLEAN


def _describe(config: Config) -> str:
    """What would be started."""
    tls = " with TLS" if config.edge.certificate_file else ""
    parts = [f"HTTP on {config.http.host} port {config.http.port}{tls}"]
    if config.tcp.enabled:
        parts.append(f"TCP on {config.tcp.host} port {config.tcp.port}{tls}")
    if config.metrics.enabled:
        parts.append(f"metrics on {config.metrics.host} port {config.metrics.port}")
    parts.append(f"data in {config.storage.display_name}")
    parts.append(f"live topics {'by Redis' if config.redis.broker_url else 'within one instance'}")
    return f"the server would start, in {config.environment}: {', '.join(parts)}"


def _find_file_errors(config: Config) -> Iterator[str]:
    """What is wrong with files that settings name, in the words of the server's start."""
    edge, auth = config.edge, config.auth
    if edge.certificate_file and edge.key_file:
        try:
            read_key_pair(Path(edge.certificate_file), Path(edge.key_file))
        except KeyPairError as bad:
            yield from bad.problems
    if auth.private_key_file or auth.public_key_files:
        # Where the server made its secret itself, any will do.
        secret = auth.jwt_secret or ("" if auth.private_key_file else secrets.token_urlsafe(48))
        try:
            KeyFiles(lambda: secret, auth.private_key_file, auth.public_key_files).privilegedStartService()
        except BadKeyFile as bad:
            yield from bad.problems
    if config.redis.ca_file and not os.access(config.redis.ca_file, os.R_OK):
        yield f"REDIS_CA_FILE {config.redis.ca_file}: can't be read"
    if config.storage.engine == "sqlite":
        yield from _find_directory_errors(Path(config.storage.directory))


def _find_directory_errors(directory: Path) -> Iterator[str]:
    """Of the one that is there, or else of that in which it will be made."""
    there = next((each for each in (directory, *directory.absolute().parents) if os.path.lexists(each)))
    within = "" if there == directory else f"can't be made: {there} "
    if not there.is_dir():
        yield f"DATA_DIR {directory}: {within}is no directory"
    elif not os.access(there, os.W_OK | os.X_OK):
        yield f"DATA_DIR {directory}: {within}can't be written by this user"


def _find_risks(loaded: LoadedConfig, folder: Path, now: datetime) -> Iterator[str]:
    yield from map(str, find_risks(loaded))
    edge, auth = loaded.config.edge, loaded.config.auth
    if edge.certificate_file:
        pair = read_key_pair(Path(edge.certificate_file), Path(edge.key_file))
        problem = pair.validity_problem(now)
        if problem is None and pair.expires_at - now < CERTIFICATE_NOTICE:
            problem = f"expires on {pair.expires_at:%Y-%m-%d %H:%M} UTC"
        if problem is not None:
            yield f"TLS_CERT_FILE {edge.certificate_file}: {problem}"
    for name, file in (("TLS_KEY_FILE", edge.key_file), (PRIVATE_KEY_SETTING, auth.private_key_file)):
        if file and is_readable_by_others(Path(file)):
            yield f"{name} {file}: can be read by everybody on this machine: chmod o-r"
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if descriptors != resource.RLIM_INFINITY and descriptors < MIN_DESCRIPTORS:
        yield (
            f"file descriptors: {descriptors} here, and each connection takes one. Allow more where the server runs: "
            "LimitNOFILE= or ulimit -n"
        )
    if (folder / ".env").exists():
        yield f"{folder / '.env'}: is there, and is read in development only"
