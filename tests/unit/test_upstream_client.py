"""The upstream client on real sockets: what is not wanted ends at once, what HTTP allows is read, the rest is refused."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ainfera_gateway.providers.connection import HEAD_BYTES_MAX
from ainfera_gateway.providers.http import UpstreamClient, UpstreamError

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Any:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


class Server:
    """A bare TCP server. ``heads`` are the request heads it got, ``bodies`` the bodies, ``said`` that one was
    answered as far as it is, ``gone`` that a client left."""

    def __init__(self, *answers: bytes, hold: bool = False, close: bool = False) -> None:
        self._answers, self._hold, self._close = answers, hold, close
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.said = asyncio.Event()
        self.gone = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(size))
                for piece in self._answers:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.01)
                self.said.set()
                if self._hold:
                    await reader.read(1)
                    raise ConnectionResetError
                if self._close:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
        finally:
            writer.close()


@asynccontextmanager
async def talking_to(server: Server, tls: ssl.SSLContext | None = None) -> AsyncIterator[UpstreamClient]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.url = f"http{'s' if tls else ''}://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1/chat?x=1"
    client = UpstreamClient()
    try:
        async with asyncio.timeout(60):
            yield client
    finally:
        await client.close()
        listening.close()
        await asyncio.sleep(0.02)


async def ask(client: UpstreamClient, url: str, *, body: bytes = b"{}", **more: Any) -> tuple[int, bytes]:
    async with client.post(
        url, body=body, headers={"x-one": "1"}, head_timeout_s=more.pop("head_timeout_s", 30), **more
    ) as reply:
        return reply.status, await reply.body(1 << 20)


async def refusal(client: UpstreamClient, url: str, **more: Any) -> tuple[str, str, bool]:
    with pytest.raises(UpstreamError) as caught:
        await ask(client, url, **more)
    return caught.value.kind, caught.value.reason, caught.value.sent


def test_a_request_is_what_was_asked_and_nothing_else(runner: asyncio.Runner) -> None:
    async def go() -> None:
        server = Server(OK)
        async with talking_to(server) as client:
            assert await ask(client, server.url, body=b'{"a":1}') == (200, b"ok")
            host = server.url.removeprefix("http://").partition("/")[0].encode()
            assert server.heads == [
                b"POST /v1/chat?x=1 HTTP/1.1\r\nhost: " + host + b"\r\nuser-agent: ainfera-gateway\r\n"
                b"x-one: 1\r\ncontent-length: 7\r\n\r\n"
            ]
            assert server.bodies == [b'{"a":1}']

    runner.run(go())


def test_a_large_body_arrives_whole(runner: asyncio.Runner) -> None:
    async def go() -> None:
        server, body = Server(OK), b"x" * (8 * 1024 * 1024)
        async with talking_to(server) as client:
            assert await ask(client, server.url, body=body) == (200, b"ok")
            assert server.bodies == [body]

    runner.run(go())


@pytest.mark.parametrize("hold", ["before the head", "in the body"])
@pytest.mark.parametrize("how", ["time-out", "cancelled"])
def test_a_request_that_is_not_wanted_any_more_ends_at_the_provider(
    hold: str, how: str, runner: asyncio.Runner
) -> None:
    async def go() -> None:
        begun = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nxx"
        server = Server(*([begun] if hold == "in the body" else []), hold=True)
        async with talking_to(server) as client:
            if how == "cancelled":
                task = asyncio.ensure_future(ask(client, server.url))
                await server.said.wait()
                task.cancel()
                await asyncio.wait({task})
            elif hold == "before the head":
                timed_out = ("timeout", "no_answer_in_time", True)
                assert await refusal(client, server.url, head_timeout_s=0.1) == timed_out
                while not server.heads:
                    # The time was over before the request had arrived, for this process was held up.
                    assert await refusal(client, server.url, head_timeout_s=0.1) == timed_out
            else:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(None) as limit:
                        late = asyncio.ensure_future(server.said.wait())
                        late.add_done_callback(lambda _: limit.reschedule(asyncio.get_running_loop().time()))
                        await ask(client, server.url)
            # The server holds the connection as long as it is let.
            await server.gone.wait()

    runner.run(go())


def test_a_connection_is_used_again_and_by_one_at_a_time(runner: asyncio.Runner) -> None:
    async def go() -> None:
        server = Server(OK)
        async with talking_to(server) as client:
            for _ in range(5):
                assert await ask(client, server.url) == (200, b"ok")
            assert server.connections == 1
            assert await asyncio.gather(*(ask(client, server.url) for _ in range(8))) == [(200, b"ok")] * 8
            assert server.connections == 8

    runner.run(go())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        OK + b"evil",
    ],
    ids=["close", "1.0", "a second answer", "more bytes"],
)
def test_a_connection_that_cannot_be_trusted_is_not_used_again(answer: bytes, runner: asyncio.Runner) -> None:
    async def go() -> None:
        server = Server(answer)
        async with talking_to(server) as client:
            for number in range(3):
                assert await ask(client, server.url) == (200, b"ok")
                assert server.connections == number + 1

    runner.run(go())


def test_a_connection_that_the_provider_closed_while_it_rested_is_not_used(runner: asyncio.Runner) -> None:
    async def go() -> None:
        server = Server(OK, close=True)
        async with talking_to(server) as client:
            for number in range(3):
                assert await ask(client, server.url) == (200, b"ok")
                (resting,) = client._open
                while not resting.lost:
                    await asyncio.sleep(0.005)
                assert server.connections == number + 1

    runner.run(go())


@pytest.mark.parametrize(
    ("pieces", "close"),
    [
        ((b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\no", b"k\r\n0\r\n\r\n"), False),
        ((b"HTTP/1.1 200 OK\r\n\r\n", b"o", b"k"), True),
        ((b"HTTP/1.1 100 Continue\r\nx-hint: 1\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n", OK), False),
        (tuple(bytes([byte]) for byte in OK), False),
    ],
    ids=["chunked", "until it closes", "informational", "byte by byte"],
)
def test_every_framing_is_read(pieces: tuple[bytes, ...], close: bool, runner: asyncio.Runner) -> None:
    async def go() -> None:
        server = Server(*pieces, close=close)
        async with talking_to(server) as client:
            assert await ask(client, server.url) == (200, b"ok")

    runner.run(go())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", ("server_error", "connection_broken", True)),
        (b"HTTP/1.1 200 O", ("server_error", "connection_broken", True)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", ("server_error", "connection_broken", True)),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
            ("server_error", "connection_broken", True),
        ),
        (b"\x00\x01 no http\r\n\r\n", ("invalid", "not_http", True)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", ("invalid", "not_http", True)),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * (HEAD_BYTES_MAX + 1) + b"\r\n\r\n", ("invalid", "not_http", True)),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            ("invalid", "not_http", True),
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1048577\r\n\r\n" + b"z" * 1048577, ("invalid", "answer_too_large", True)),
    ],
    ids=["nothing", "half a head", "short", "no last chunk", "garbage", "two lengths", "head", "upgrade", "too large"],
)
def test_an_answer_that_is_none_is_named(
    answer: bytes, expected: tuple[str, str, bool], runner: asyncio.Runner
) -> None:
    async def go() -> None:
        server = Server(*([answer] if answer else []), close=True)
        async with talking_to(server) as client:
            assert await refusal(client, server.url) == expected

    runner.run(go())


def test_a_provider_that_is_not_there_is_told_apart_from_one_that_broke_off(runner: asyncio.Runner) -> None:
    async def go() -> None:
        server = Server(OK)
        # A port that is taken, so that nobody else listens there, and on which nobody listens.
        async with talking_to(server) as client:
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                port = taken.getsockname()[1]
                assert await refusal(client, f"http://127.0.0.1:{port}/") == ("connect", "connection_failed", False)

    runner.run(go())


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate of 127.0.0.1, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path / "certificate.pem"
    path.write_bytes(plain + made.public_bytes(Encoding.PEM))
    return path


@pytest.mark.parametrize("trusted", [True, False])
def test_a_provider_over_tls_must_show_a_certificate_that_is_trusted(
    trusted: bool, certificate: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        server = Server(OK)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        async with talking_to(server, context) as client:
            if trusted:
                for _ in range(3):
                    assert await ask(client, server.url) == (200, b"ok")
                assert server.connections == 1
            else:
                assert await refusal(client, server.url) == ("connect", "connection_failed", False)
                assert server.heads == []

    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    runner.run(go())


def test_a_provider_that_floods_is_slowed_down(runner: asyncio.Runner) -> None:
    async def go() -> None:
        size = 64 * 1024 * 1024
        sent = 0

        async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
            try:
                while sent < size:
                    writer.write(b"x" * 65536)
                    await writer.drain()
                    sent += 65536
            except ConnectionError:
                pass
            finally:
                writer.close()

        server = Server()
        server.serve = flood  # type: ignore[method-assign]
        async with (
            talking_to(server) as client,
            client.post(server.url, body=b"", headers={}, head_timeout_s=30) as reply,
        ):
            last = -1
            until_s = time.monotonic() + 50
            while last != sent:
                last = sent
                await asyncio.sleep(0.2)
                assert time.monotonic() < until_s
            assert sent < size // 2, "it could not send on while nobody read"
            read = 0
            while (piece := await reply.chunk()) is not None:
                read += len(piece)
            assert read == size

    runner.run(go())


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b"])
def test_a_header_cannot_smuggle_another(value: str, runner: asyncio.Runner) -> None:
    async def go() -> None:
        server = Server(OK)
        async with talking_to(server) as client:
            with pytest.raises(ValueError, match="line break"):
                async with client.post(server.url, body=b"", headers={"authorization": value}, head_timeout_s=1):
                    pass
            assert server.connections == 0

    runner.run(go())


@pytest.mark.parametrize("url", ["ftp://x/", "http:///x", "file:///etc/passwd", "/x"])
def test_a_url_without_a_host_or_of_another_kind_is_refused(url: str, runner: asyncio.Runner) -> None:
    async def go() -> None:
        with pytest.raises(ValueError, match="http"):
            async with UpstreamClient().post(url, body=b"", headers={}, head_timeout_s=1):
                pass

    runner.run(go())
