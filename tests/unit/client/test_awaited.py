"""A signer whose sign() must be awaited: from threads, from event loops, and after a fork."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable
from typing import Any

import pytest
from tests.unit.client.conftest import Foreign

from affiant import Service
from affiant.errors import LocalError
from affiant.jose import compact, keys
from affiant.signers import awaited

KEY = keys.generate("ES256")


class Coroutine:
    """Signs later, on one connection: it works on the event loop of its first signature only."""

    alg, kid = "ES256", "kms"

    def __init__(self, answer: Any = None) -> None:
        self.threads: set[int] = set()
        self._answer = answer
        self._lock: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def sign(self, data: bytes) -> bytes:
        self._loop = self._loop or asyncio.get_running_loop()
        assert self._loop is asyncio.get_running_loop()
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            await asyncio.sleep(0)
        self.threads.add(threading.get_ident())
        return KEY.sign(data) if self._answer is None else self._answer


class Returned(Coroutine):
    """A plain method that returns an awaitable."""

    def sign(self, data: bytes) -> Awaitable[bytes]:  # type: ignore[override]
        return super().sign(data)


@pytest.mark.parametrize("kind", [Coroutine, Returned])
async def test_tokens_come_from_threads_and_loops(foreign: Foreign, kind: type[Coroutine]) -> None:
    signer = kind()
    service = Service(foreign.url, "billing", key=signer)
    await service.atoken(scope="a")
    await asyncio.to_thread(service.token, scope="b")
    service.token(scope="c")  # blocks this loop: the signature cannot need it
    compact.verify(compact.parse(service.assertion()), KEY.public())
    assert len(foreign.sent("/token")) == 3
    for sent in foreign.sent("/token"):
        compact.verify(compact.parse(sent.form["client_assertion"]), KEY.public())
    assert len(signer.threads) == 1
    assert threading.get_ident() not in signer.threads


@pytest.mark.parametrize(
    ("answer", "said"), [("text", "returned str, not bytes"), (b"", "returned 0 bytes"), (7, "returned int")]
)
def test_what_is_no_signature_is_named(answer: Any, said: str) -> None:
    with pytest.raises(LocalError, match=said):
        Service("https://as.example", "billing", key=Coroutine(answer)).assertion()


def test_a_failing_signer_fails_the_caller() -> None:
    class Failing(Coroutine):
        async def sign(self, data: bytes) -> bytes:
            raise OSError("the line is cut")

    with pytest.raises(OSError, match="the line is cut"):
        Service("https://as.example", "billing", key=Failing()).assertion()


def test_a_signer_that_does_not_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Coroutine):
        async def sign(self, data: bytes) -> bytes:
            await asyncio.Event().wait()
            return data

    monkeypatch.setattr(awaited, "LONGEST_SECONDS", 0.05)
    with pytest.raises(LocalError, match="did not sign within"):
        Service("https://as.example", "billing", key=Silent()).assertion()


FORKED = """
import asyncio, os
from affiant import Service
from affiant.jose import keys
KEY = keys.generate("ES256")
class Signer:
    alg, kid = "ES256", "kms"
    async def sign(self, data):
        await asyncio.sleep(0)
        return KEY.sign(data)
service = Service("https://as.example", "billing", key=Signer())
service.assertion()
child = os.fork()
made = service.assertion()
if child == 0:
    os._exit(0 if made.count(".") == 2 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_signs() -> None:
    words = [sys.executable, "-W", "ignore", "-c", FORKED]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("0\n", "")
