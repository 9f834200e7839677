"""All ports over TLS: the four protocols, clients that others wrote, and a certificate that changes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from multiproto.config import Config
from multiproto.edge.certificate import TlsCertificate
from tests.certificates import Authority, Files
from tests.timing import RESCUE

from . import test_matrix, test_twistd
from .clients import Person, Rest
from .processes import Program
from .running import LiveCase
from .test_twistd import Started, TwistdCase

HERE = Path(__file__).parent
NAME = "localhost"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


class TlsCase(LiveCase):
    """`self.files` are the server's; `self.authority` signs more."""

    def configure(self, config: Config) -> Config:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        self.authority = Authority()
        self.files = self.authority.write(directory, NAME)
        self.reached = {"host": NAME, "authority": self.files.authority}
        config = super().configure(config)
        edge = evolve(config.edge, certificate_file=str(self.files.certificate), key_file=str(self.files.key))
        return evolve(config, edge=edge, metrics=evolve(config.metrics, host="0.0.0.0"))

    @property
    def certificate(self) -> TlsCertificate:
        found: TlsCertificate = self.server.getServiceNamed("certificate")
        return found

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.files.authority))

    def serial(self, port: int) -> int:
        """Of the certificate that a new connection is shown."""
        plain = socket.create_connection(("127.0.0.1", port), RESCUE)
        with self.trusting().wrap_socket(plain, server_hostname=NAME) as secure:
            shown: Any = secure.getpeercert()
            return int(shown["serialNumber"], 16)

    def connected(self, port: int) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", port), RESCUE)
        self.addCleanup(plain.close)
        return plain

    async def ran(self, *command: str) -> bytes:
        program = Program.start(*command)
        self.addCleanup(program.kill)
        self.assertEqual(await program.ended, 0, program.errors)
        return program.said


class MatrixTests(TlsCase, test_matrix.MatrixTests):
    """Everything that holds without TLS."""


class ClientTests(TlsCase):
    async def test_curl(self) -> None:
        if shutil.which("curl") is None:
            self.skipTest("curl is not on this machine")
        trust = ("--silent", "--fail", "--max-time", "20", "--cacert", str(self.files.authority))
        said = await self.ran("curl", *trust, "--head", self.address.url("/health/live"))
        self.assertIn(b"Strict-Transport-Security: max-age=31536000", said)
        self.assertEqual(
            json.loads(await self.ran("curl", *trust, self.address.url("/health/live"))), {"status": "alive"}
        )
        metrics = f"https://{NAME}:{self.address.metrics}/metrics"
        self.assertIn(b"\nactive_connections", await self.ran("curl", *trust, metrics))

    async def test_websockets(self) -> None:
        """The PyPI package."""
        ann = await self.person("ann")
        listening = Program.python(
            str(HERE / "websockets_client.py"),
            self.address.url("/ws", "ws"),
            ann.token,
            "room.1",
            "1",
            SSL_CERT_FILE=str(self.files.authority),
        )
        self.addCleanup(listening.kill)
        self.assertEqual(await listening.next(), "ready")
        await ann.rest.ask("POST", "/api/v1/topics/room.1", {"data": 42})
        self.assertEqual((await listening.next())["data"], 42)
        self.assertEqual(await listening.ended, 0, listening.errors)

    async def test_openssl(self) -> None:
        """The versions, what ALPN chooses on which port, and no compression or renegotiation."""
        if shutil.which("openssl") is None:
            self.skipTest("openssl is not on this machine")
        for version, alpn, port, chosen in (
            ("-tls1_2", ("-alpn", "h2,http/1.1"), self.address.http, b"ALPN protocol: http/1.1"),
            ("-tls1_3", ("-alpn", "h2,http/1.1"), self.address.http, b"ALPN protocol: http/1.1"),
            ("-tls1_2", (), self.address.tcp, b"No ALPN negotiated"),
            ("-tls1_3", ("-alpn", "anything"), self.address.tcp, b"No ALPN negotiated"),
            ("-tls1_3", ("-alpn", "h2"), self.address.http, b"No ALPN negotiated"),
        ):
            said = await self.handshake(port, version, *alpn)
            self.assertIn(b"Verify return code: 0 (ok)", said)
            self.assertIn(chosen, said)
            self.assertIn(b"Compression: NONE", said)
            self.assertRegex(said, rb"Cipher is (ECDHE-ECDSA-|TLS_)(AES_?\d+_?-?GCM|CHACHA20)")
        said = await self.handshake(self.address.http, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        self.assertIn(b"no peer certificate available", said)
        said = await self.handshake(self.address.http, "-tls1_2", "-cipher", "ECDHE+AES256+SHA384:!AESGCM")
        self.assertIn(b"no peer certificate available", said)

    async def handshake(self, port: int, *options: str) -> bytes:
        """What `openssl s_client` tells of one."""
        trust = ("-CAfile", str(self.files.authority), "-servername", NAME)
        program = Program.start("openssl", "s_client", "-connect", f"127.0.0.1:{port}", *trust, *options)
        self.addCleanup(program.kill)
        program.transport.closeStdin()  # type: ignore[union-attr]
        await program.ended
        return program.said + program.errors

    async def test_any_server_name(self) -> None:
        """docs/client-libraries.md#at-the-edges: one certificate, whatever name is asked for, or none; no ALPN on TCP."""

        def shown(name: str | None) -> tuple[bytes | None, str | None]:
            trusting = self.trusting()
            trusting.check_hostname = False
            trusting.set_alpn_protocols(["http/1.1", "mqtt"])
            with trusting.wrap_socket(self.connected(self.address.tcp), server_hostname=name) as secure:
                return secure.getpeercert(True), secure.selected_alpn_protocol()

        found = [await deferToThread(shown, name) for name in (NAME, "other.example", None)]
        self.assertEqual((found[1:], found[0][1]), (found[:1] * 2, None))

    async def test_renegotiation_is_refused(self) -> None:
        if shutil.which("openssl") is None:
            self.skipTest("openssl is not on this machine")
        trust = ("-CAfile", str(self.files.authority), "-servername", NAME, "-tls1_2")
        program = Program.start("openssl", "s_client", "-connect", f"127.0.0.1:{self.address.http}", *trust)
        self.addCleanup(program.kill)
        while b"Verify return code" not in program.said:
            await program.lines.next()
        program.transport.write(b"R\n")  # type: ignore[union-attr]
        self.assertEqual(await program.ended, 1)
        self.assertIn(b"no renegotiation", program.errors)

    async def test_a_socket_of_python(self) -> None:
        """The last words come whole, with TLS's own goodbye behind them."""
        ann = await self.person("ann")

        def dialogue() -> bytes:
            with self.trusting().wrap_socket(
                self.connected(self.address.tcp), server_hostname=NAME
            ) as secure:
                body = b"\x01" + json.dumps({"token": ann.token}).encode()
                secure.sendall(len(body).to_bytes(4, "big") + body + (0).to_bytes(4, "big"))
                heard = b""
                while chunk := secure.recv(4096):  # an end without a goodbye would raise
                    heard += chunk
                return heard

        heard = await deferToThread(dialogue)
        self.assertEqual([heard[4]], [0x02])
        self.assertIn(b'"code":"11"', heard)

    async def test_who_does_not_read_is_hung_up_on(self) -> None:
        """The outbox feels the socket through TLS, whose own buffers are small beside its 4 MiB."""
        ann = await self.person("ann")
        device = await ann.device()
        await device.ask(0x10, topic="room.1")
        hub: Any = self.server.getServiceNamed("hub")
        (guest,) = hub._connections.values()
        device.transport.pauseProducing()
        sent = 0
        while not guest.admission.stats.slow_consumers_total and sent < 200:
            await ann.rest.ask("POST", "/api/v1/topics/room.1", {"data": "x" * 100_000})
            sent += 1
        self.assertEqual(guest.admission.stats.slow_consumers_total, 1)
        self.assertLess(sent, 150)  # 4 MiB and what fits into the sockets' own buffers
        device.transport.resumeProducing()
        await device.inbox.closed
        kind, said = device.inbox.rest()[-1]
        self.assertEqual((kind, said["code"]), (0xFF, "55"), said)

    async def test_what_is_no_tls_harms_nobody(self) -> None:
        def answer(data: bytes, port: int) -> bytes:
            plain = self.connected(port)
            plain.settimeout(RESCUE)
            plain.sendall(data)
            heard = b""
            while chunk := plain.recv(4096):
                heard += chunk
            return heard

        for port in (self.address.http, self.address.tcp):
            heard = await deferToThread(answer, LIVE, port)
            self.assertEqual(heard, b"")
        self.assertEqual((await Rest(self.address).ask("GET", "/health/live"))[0], 200)


class HandshakeTests(TlsCase):
    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        return evolve(config, tcp=evolve(config.tcp, max_connections_per_ip=1))

    async def test_who_does_not_shake_hands_counts_as_a_connection(self) -> None:
        """And has to authenticate in the time of everybody; the limit's refusal is read behind the handshake."""
        self.connected(self.address.tcp)
        while self.server_stats()["tcp"] != 1:
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]

        def refused() -> bytes:
            plain = self.connected(self.address.tcp)
            with self.trusting().wrap_socket(plain, server_hostname=NAME) as secure:
                return secure.recv(4096)

        self.assertIn(b'"code":"13"', await deferToThread(refused))

    def server_stats(self) -> dict[str, int]:
        """Open connections of each line."""
        hub: Any = self.server.getServiceNamed("hub")
        lines = [guest.admission.stats.protocol for guest in hub._connections.values()]
        return {name: lines.count(name) for name in ("tcp", "websocket")}


class ReloadTests(TlsCase):
    async def test_under_load_nothing_is_dropped(self) -> None:
        """SIGHUP: who is connected goes on, new ones see the new certificate, no request fails."""
        old = self.files.serial
        ann = await self.person("ann")
        socket_, device, graphql = await ann.websocket(), await ann.device(), await ann.graphql_socket()
        for listener in (socket_.ask(type="subscribe", topic="**"), device.ask(0x10, topic="**")):
            await listener
        self.assertEqual([self.serial_of(each) for each in (socket_._socket.transport,)], [old])

        answered: list[int] = []
        self.loading = True
        load = gatherResults([Deferred.fromCoroutine(self.keep_asking(ann, answered)) for _ in range(4)])
        serials = [old]
        for _ in range(3):
            new = self.authority.write(self.files.certificate.parent, NAME)
            before = len(answered)
            os.kill(os.getpid(), signal.SIGHUP)
            while await deferToThread(self.serial, self.address.http) != new.serial:
                pass
            self.assertEqual(await deferToThread(self.serial, self.address.tcp), new.serial)
            while len(answered) < before + 20:
                await deferLater(reactor, 0.01)  # type: ignore[arg-type]
            serials.append(new.serial)
        self.loading = False
        await load
        self.assertEqual(set(answered), {202})
        self.assertEqual(len(set(serials)), 4)

        self.assertEqual(self.serial_of(socket_._socket.transport), old)
        heard = [await socket_.inbox.next() for _ in answered]
        self.assertEqual({each["type"] for each in heard}, {"message"})
        self.assertEqual([(await device.inbox.next())[0] for _ in answered], [0x21] * len(answered))
        self.assertEqual((await socket_.ask(type="ping"))["type"], "pong")
        self.assertEqual((await device.ask(0x30))[0], 0x31)
        self.assertEqual((await graphql.ask(type="ping"))["type"], "pong")

    async def keep_asking(self, person: Person, answered: list[int]) -> None:
        """Each request on a connection of its own."""
        while self.loading:
            status, _ = await person.rest.ask("POST", "/api/v1/topics/room.1", {"data": "x"})
            answered.append(status)

    def serial_of(self, transport: Any) -> int:
        while not hasattr(transport, "getPeerCertificate"):
            transport = transport.transport
        found: int = transport.getPeerCertificate().get_serial_number()
        return found

    async def test_a_bad_file_changes_nothing(self) -> None:
        old = self.files.serial
        self.files.key.write_text("half a k")
        self.certificate.reload()
        self.assertEqual(await deferToThread(self.serial, self.address.http), old)
        new: Files = self.authority.write(self.files.certificate.parent, NAME)
        self.certificate.reload()
        self.assertEqual(await deferToThread(self.serial, self.address.http), new.serial)


class TwistdTls(TwistdCase):
    """`started` servers speak TLS."""

    def start(self, *options: str, **environment: str) -> Started:
        directory = self.data.with_name("tls")
        if not directory.exists():
            directory.mkdir()
            self.files = Authority().write(directory, NAME)
        paths = {"TLS_CERT_FILE": str(self.files.certificate), "TLS_KEY_FILE": str(self.files.key)}
        started = super().start(*options, **paths | environment)
        started.address.host, started.address.authority = NAME, self.files.authority
        return started


class StopTests(TwistdTls, test_twistd.StopTests):
    """Each farewell arrives, and who never shook hands holds nothing up."""


class StartTests(TwistdTls):
    async def test_files_that_do_not_serve(self) -> None:
        """One line on what is wrong with which, and status 1."""
        elsewhere = self.data.with_name("elsewhere")
        elsewhere.mkdir()
        other = Authority().write(elsewhere, NAME)
        for wrong, told in (
            ({"TLS_KEY_FILE": str(other.key)}, "is not the key of the first certificate"),
            ({"TLS_KEY_FILE": "/nowhere.pem"}, "TLS_KEY_FILE /nowhere.pem: can't be read: No such file"),
            ({"TLS_CERT_FILE": str(other.key)}, "holds no certificate in PEM"),
        ):
            program = self.start(**wrong).program
            self.assertEqual(await program.ended, 1)
            (line,) = program.errors.decode().splitlines()
            self.assertIn(told, line)

    async def logged(self, started: Started, times: int) -> None:
        """Wait until its log tells of the certificate so often: lines are gathered, and may come late."""
        while started.program.said.count(b"certificate of") < times:
            await started.program.lines.next()

    async def test_a_hangup_does_not_end_it(self) -> None:
        """Both reactors; and the socket is bound and waited for as ever."""
        for options in ((), ("--reactor=asyncio",)):
            started = self.start(*options)
            await started.ready()
            await self.logged(started, 1)
            started.program.signal("HUP")
            await self.logged(started, 2)
            self.assertEqual((await Rest(started.address).ask("GET", "/health/ready"))[0], 200)
            started.program.signal("TERM")
            self.assertEqual(await started.program.ended, -signal.SIGTERM, started.output)
