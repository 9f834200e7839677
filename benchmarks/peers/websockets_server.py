"""The `websockets` library: python websockets_server.py PORT.  Its paths are those of sockets.js."""

import json
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

WRONG = "@@99999999"
fan: set[ServerConnection] = set()


async def talk(socket: ServerConnection) -> None:
    path = socket.request.path
    if path == "/fan":
        fan.add(socket)
        try:
            async for message in socket:
                broadcast(fan - {socket}, message)
        finally:
            fan.discard(socket)
    elif path == "/echo":
        async for message in socket:
            await socket.send(message)
    elif path == "/ingest":
        seen = 0
        async for message in socket:
            said = json.loads(message)
            if "end" in said:
                await socket.send(said["end"] if int(said["end"][2:]) == seen else WRONG)
                seen = 0
            elif int(said["n"][2:]) == seen:
                seen += 1
    else:
        await socket.wait_closed()


async def main() -> None:
    async with serve(
        talk, "127.0.0.1", int(sys.argv[1]), compression=None, ping_interval=None, backlog=1024
    ) as server:
        await server.serve_forever()


uvloop.run(main())
