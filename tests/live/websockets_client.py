"""Subscribes with the PyPI client `websockets`: prints "ready", each message, and how it ended."""

from __future__ import annotations

import asyncio
import json
import sys

import websockets


async def main(url: str, token: str, topic: str, count: int) -> None:
    async with websockets.connect(url, open_timeout=None, ping_timeout=None) as socket:
        for fields in ({"type": "auth", "token": token}, {"type": "subscribe", "topic": topic}):
            await socket.send(json.dumps(fields))
            await socket.recv()
        print(json.dumps("ready"), flush=True)
        try:
            for _ in range(count):
                print(await socket.recv(), flush=True)
        except websockets.ConnectionClosed as closed:
            print(json.dumps({"closed": closed.rcvd.code, "reason": closed.rcvd.reason}), flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
