"""An issuer that misbehaves: ``python faulty_issuer.py PORT KEY``, then the name of a fault in each line of its input.

It answers each line when the fault is in force. It is a process of its own: what it sends takes no time of the guard's.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable

from affiant.jose import keys
from affiant.oauth import revocations

HOST = "127.0.0.1"
LIFETIME = 5  # seconds of the keys: the least that a guard goes by
SLOW, HUGE, CHUNK, DRIP = 10.0, 100_000_000, 65_536, 0.2
OK, GONE = "200 OK", "404 Not Found"
BODIES = {
    "invalid JSON": b'{"keys": [',
    "a page": b"<!doctype html><title>Welcome</title>",
    "deep": b"[" * 200_000,
    "nothing": b"",
}
STRANGER = keys.generate("ES256")


def whole(body: bytes, *headers: str, status: str = OK) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", f"Cache-Control: max-age={LIFETIME}", *headers)
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


class Issuer:
    """Answers as an issuer does, except for its fault."""

    def __init__(self, port: int, key: keys.PrivateKey) -> None:
        self.url, self.port = f"http://{HOST}:{port}", port
        self.keys = [key]
        self.fault = "none"
        self.started_at = int(time.time())
        self._writers = set[asyncio.StreamWriter]()
        self._server: asyncio.Server | None = None

    async def become(self, fault: str) -> str:
        """Have this fault from now on; a connection that waits is lost. Return what to print."""
        if fault == "rotate":
            self.keys.append(keys.generate("ES256"))
            return json.dumps(self.keys[-1].to_jwk())
        self.fault = fault
        for writer in self._writers:
            writer.transport.abort()
        if self._server is not None and fault == "dead":
            self._server.close()
            self._server = None
        elif self._server is None and fault != "dead":
            self._server = await asyncio.start_server(self._serve, HOST, self.port)
        return fault

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                async for part in self._answer(head.split(" ")[1], head.lower()):
                    writer.write(part)
                    await writer.drain()
        self._writers.discard(writer)
        writer.close()

    async def _answer(self, target: str, head: str) -> AsyncIterator[bytes]:
        match self.fault:
            case "slow":
                await asyncio.sleep(SLOW)
            case "hanging":
                await asyncio.sleep(3600)
            case "huge" | "dripping":
                yield f"HTTP/1.1 {OK}\r\nContent-Length: {HUGE}\r\n\r\n".encode()
                for _ in range(HUGE // CHUNK):
                    await asyncio.sleep(DRIP if self.fault == "dripping" else 0)
                    yield b" " * (1 if self.fault == "dripping" else CHUNK)
                return
            case "failing":
                yield whole(b"", status="500 Internal Server Error")
                return
            case "redirecting" if not target.startswith("/moved"):
                yield whole(b"", f"Location: {self.url}/moved{target}", status="302 Found")
                return
            case fault:
                if fault in BODIES:
                    yield whole(BODIES[fault])
                    return
        yield await self._find(target.removeprefix("/moved") if self.fault == "redirecting" else target, head)

    async def _find(self, target: str, head: str) -> bytes:
        path, _, query = target.partition("?")
        if path.startswith("/.well-known/"):
            return whole(json.dumps(self._metadata()).encode())
        if path == "/revocations":
            return await self._feed(query, head)
        if path != ("/moved" if self.fault == "moved" else "/jwks") or self.fault == "another issuer":
            return whole(b"", status=GONE)
        return whole(json.dumps({"keys": self._jwks()}).encode())

    def _metadata(self) -> dict[str, str]:
        jwks = "moved" if self.fault == "moved" else "jwks"
        members = {"issuer": self.url, "jwks_uri": f"{self.url}/{jwks}", "revocations_uri": f"{self.url}/revocations"}
        return {**members, "issuer": "https://other.example"} if self.fault == "another issuer" else members

    def _jwks(self) -> list[dict[str, object]]:
        if self.fault == "wrong keys":
            return [STRANGER.public().to_jwk()]
        if self.fault == "wrong keys of the same name":
            return [{**STRANGER.public().to_jwk(), "kid": key.kid} for key in self.keys]
        return [key.public().to_jwk() for key in self.keys]

    async def _feed(self, query: str, head: str) -> bytes:
        etag = f'ETag: "{self.started_at}"'
        if etag.partition(" ")[2] in head:
            await asyncio.sleep(float(query.partition("wait=")[2] or 0))
            return whole(b"", etag, status="304 Not Modified")
        return whole(
            (await revocations.build((), issuer=self.url, now=self.started_at, signer=self.keys[0])).encode(), etag
        )


async def main(port: int, key: str) -> None:
    issuer, loop = Issuer(port, keys.parse_private_jwk(json.loads(key))), asyncio.get_running_loop()
    read: Callable[[], str] = sys.stdin.readline
    print(await issuer.become("none"), flush=True)
    while line := await loop.run_in_executor(None, read):
        print(await issuer.become(line.strip()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
