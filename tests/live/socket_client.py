"""Subscribes with nothing but `socket` and `struct`: prints "ready" and each frame, to the end of the stream."""

from __future__ import annotations

import json
import socket
import struct
import sys


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def main(host: str, port: int, token: str, topic: str, count: int) -> None:
    connection = socket.create_connection((host, port))  # the test ends it if it hangs
    for kind, fields in ((0x01, {"token": token}), (0x10, {"topic": topic})):
        body = bytes([kind]) + json.dumps(fields).encode()
        connection.sendall(struct.pack(">I", len(body)) + body)
    try:
        for number in range(count + 2):
            (size,) = struct.unpack(">I", read(connection, 4))
            body = read(connection, size)
            if number >= 2:
                print(json.dumps([body[0], json.loads(body[1:])]), flush=True)
            elif number == 1:
                print(json.dumps("ready"), flush=True)
    except EOFError:
        print(json.dumps("closed"), flush=True)


main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
