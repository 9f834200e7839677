"""Print an access token of the demo account, which is made on the first call.

    curl -H "Authorization: Bearer $(python3 -m examples.login)" http://127.0.0.1:3000/api/v1/auth/me

There is no default password: a random one is kept beside the server's data, in a
file that only its owner can read.  The last token is kept there too, so that
examples run one after the other log in once.  Standard library only.
"""

from __future__ import annotations

import argparse
import fcntl
import http.client
import json
import os
import re
import secrets
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Callable, Iterator

URL = "http://127.0.0.1:3000"
ACCOUNT = Path("data/demo-account.json")


class Refused(Exception):
    """The server declined a request; the text is its own."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status  # of HTTP

    @property
    def is_temporary(self) -> bool:
        """Whether the same may be accepted later: too much of it, an overload, a shutdown."""
        return self.status == 429 or self.status >= 500


def token(url: str, account: Path) -> str:
    """A valid access token for the account in the file `account`.

    The file is locked meanwhile: of several examples started together one logs in
    and the others use its token.
    """
    with _locked(account) as file:
        kept = json.loads(file.read() or "null") or _somebody_new()
        if not _is_good(url, kept["token"]):
            kept["token"] = _log_in(url, kept["email"], kept["password"])
            file.seek(0)
            file.truncate()
            json.dump(kept, file)
        found: str = kept["token"]
        return found


def request(url: str, fields: dict[str, object] | None = None, token: str = "", key: str = "") -> Any:
    """What the server answers to a POST of `fields`, or to a GET without them.

    Raises `Refused`, or `OSError` when no answer came: then it is unknown whether the server did it.  A message with
    a `key` may be sent again with the same one, and is kept once.
    """
    body = None if fields is None else json.dumps(fields).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    if key:
        headers["Idempotency-Key"] = key
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise Refused(reason(error), error.code) from None
    except urllib.error.URLError as error:
        raise ConnectionError(f"no answer from {url} ({error.reason}): is the server running?") from None
    except http.client.HTTPException as error:
        raise ConnectionError(f"the answer from {url} broke off ({error!r})") from None


def options(description: str | None) -> argparse.ArgumentParser:
    """A command line with what all examples need: the server and the account."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--url", type=server_url, default=URL, help="where the server answers HTTP (%(default)s)"
    )
    parser.add_argument(
        "--account", type=Path, default=ACCOUNT, help="file that keeps the demo account (%(default)s)"
    )
    return parser


def server_url(text: str) -> str:
    """http://host:port or https://…, without a slash behind it"""
    if not re.fullmatch(r"https?://[^/?#\s]+/?", text):
        raise argparse.ArgumentTypeError(f"must be such as {URL}, not {text!r}")
    return text.rstrip("/")


def run(main: Callable[[], object]) -> None:
    """Call `main`; an error that a user can fix ends in one line, Ctrl-C in none."""
    try:
        main()
    except ModuleNotFoundError as missing:
        sys.exit(
            f"this needs the package {missing.name}, which {sys.executable} does not have: "
            f"use .venv/bin/python, which `make run` builds, or install it with pip"
        )
    except (OSError, Refused) as fault:
        sys.exit(str(fault))
    except KeyboardInterrupt:
        sys.exit(130)


def _somebody_new() -> dict[str, str]:
    name = f"demo-{secrets.token_hex(4)}"
    # The ending guarantees one character of each kind.
    return {"email": f"{name}@example.com", "password": f"{secrets.token_urlsafe(24)}aA1-", "token": ""}


def _is_good(url: str, token: str) -> bool:
    try:
        return bool(token and request(f"{url}/api/v1/auth/me", token=token))
    except Refused as refused:
        if refused.status != 401:
            raise
        return False


def _log_in(url: str, email: str, password: str) -> str:
    credentials: dict[str, object] = {"email": email, "password": password}
    try:
        answer = request(f"{url}/api/v1/auth/login", credentials)
    except Refused as refused:
        if refused.status != 401:
            raise
        request(f"{url}/api/v1/auth/register", credentials | {"name": "Demo"})
        answer = request(f"{url}/api/v1/auth/login", credentials)
    found: str = answer["data"]["token"]
    return found


def reason(error: urllib.error.HTTPError) -> str:
    """The server's own text, behind the status."""
    text = error.read().decode(errors="replace")
    try:
        answer = json.loads(text)
        errors = answer["errors"] if "errors" in answer else [answer["error"]]  # GraphQL, or REST
        return f"{error.code}: {'; '.join(map(describe, errors))}"
    except (ValueError, LookupError, TypeError):
        return f"{error.code}: {text[:200]}"


def describe(error: dict[str, Any]) -> str:
    """An error as any of the protocols has it: its text, and what its details say, as which fields are wrong and why."""
    text = error["message"] if "message" in error else error["error"]  # TCP
    details = error.get("details") or error.get("extensions", {}).get("details")  # of GraphQL
    if not details:
        return str(text)
    if "errors" in details:
        said = [f"{'.'.join(map(str, each['path']))}: {each['message']}" for each in details["errors"]]
    else:
        said = [f"{name} {value}" for name, value in details.items()]
    return f"{text} ({'; '.join(said)})"


@contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    """The file, created for its owner only if it is missing, and locked."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def main() -> None:
    given = options(__doc__).parse_args()
    print(token(given.url, given.account))


if __name__ == "__main__":
    run(main)
