"""HTTP requests as bytes, and one request from an address of loopback."""

from __future__ import annotations

import asyncio
import json
from typing import Any

HOST = "127.0.0.1"
JSON = "application/json"


def request(
    method: str, path: str, body: bytes = b"", token: str | None = None, type: str = JSON, **headers: str
) -> bytes:
    """A whole request; `headers` with an underscore for each hyphen."""
    fields = {"Host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if token:
        fields["Authorization"] = f"Bearer {token}"
    if body:
        fields |= {"Content-Type": type, "Content-Length": str(len(body))}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def ask(
    port: int, method: str, path: str, body: object = None, *, source: str = HOST, token: str | None = None
) -> tuple[int, Any]:
    """Status and JSON of the answer to one request, on a connection of its own from `source`."""
    reader, writer = await asyncio.open_connection(HOST, port, local_addr=(source, 0))
    try:
        data = b"" if body is None else json.dumps(body).encode()
        writer.write(request(method, path, data, token, Connection="close"))
        head, _, text = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    return int(head.split(b" ", 2)[1]), json.loads(text) if text else None
