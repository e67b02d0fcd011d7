"""A key in any KMS: its algorithms, and one clear error for each wrong answer."""

import logging
import threading
import traceback
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from botocore.config import Config
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from tests.kms import server
from tests.unit.signers.kms.conftest import Kms

from affiant.client import Service
from affiant.errors import Error, LocalError, RemoteError, Unreachable
from affiant.jose import compact
from affiant.signers.kms import aws, azure, gcp, vault_http

KINDS = ("aws", "gcp", "azure", "vault")
DATA = b"header.claims"
every_kms = pytest.mark.parametrize("kms", KINDS, indirect=True)


@every_kms
def test_every_algorithm(kms: Kms) -> None:
    for alg in kms.algorithms:
        signer = kms.open(alg)
        made = compact.parse(Service("https://as.example", "billing", key=signer).assertion())
        compact.verify(made, signer.public())  # with PS*, a salt as long as the hash
        assert (made.alg, made.kid) == (alg, signer.public().thumbprint)


@every_kms
def test_nothing_is_sent_before_the_key_is_used(kms: Kms) -> None:
    Service("https://as.example", "billing", key=kms.open("ES256"))
    assert kms.server.requests == []


@every_kms
def test_the_public_key_is_fetched_once_by_many_threads(kms: Kms) -> None:
    signer = kms.open("ES256")
    made: list[bytes] = []
    threads = [threading.Thread(target=lambda: made.append(signer.sign(DATA))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for signature in made:
        signer.public().verify("ES256", DATA, signature)
    assert len(made) == 8
    assert len(kms.server.requests) <= 8 + 3  # with the challenges of Azure


def spoiled(kms: Kms, signature: bytes) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """An answer with this signature in place of its own."""
    members = kms.signature(signature)
    named = kms.pairs[0]

    def spoil(answer: dict[str, Any]) -> dict[str, Any]:
        is_signature = named in answer and "keys" not in answer.get("data", {})
        return {**answer, **members} if is_signature else answer

    return spoil


@every_kms
def test_a_wrong_signature_is_named(kms: Kms) -> None:
    key = server.key_for("ES256")
    other_hash = server.raw("ES256", key.sign(DATA, ECDSA(server.SHA["384"])))
    other_key = server.raw("ES256", server.key_for("ES256", 9).sign(DATA, ECDSA(server.SHA["256"])))
    wants_der = "aws" in type(kms.server).__module__ or "gcp" in type(kms.server).__module__
    for signature, words in (
        (other_hash, "its hash is SHA-384, and that of ES256 is SHA-256"),
        (other_key, "does not verify with its public key: another key made it"),
        (b"garbage", "returned 7 bytes; a signature by ES256 has 64 bytes"),
        *(() if wants_der else ((server.sign_message(key, "ES256", DATA), "returned DER; a JWS wants r and s"),)),
    ):
        kms.server.spoil = spoiled(kms, signature)
        with pytest.raises(LocalError, match=words):
            kms.open("ES256").sign(DATA)


@every_kms
@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((200, body) for body in (b"{}", b"garbage", b"[]", b"", b"\xff", b'{"data":7}')),
        *((200, body) for body in (b'{"data":{"type":[]}}', b'{"key":{"key_ops":7}}', b'{"SigningAlgorithms":7}')),
    ],
)
def test_an_answer_of_something_else_is_one_error(kms: Kms, status: int, body: bytes) -> None:
    kms.server.broken = (status, body)
    with pytest.raises(Error):
        kms.open("ES256").sign(DATA)


@every_kms
def test_the_same_when_it_signs(kms: Kms) -> None:
    signer = kms.open("ES256")
    signer.public()
    for body in (b"{}", b"garbage", b"[]", b"", b"\xff", b'{"data":7}', b'{"Signature":7}'):
        kms.server.broken = (200, body)
        with pytest.raises(RemoteError):
            signer.sign(DATA)


@every_kms
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_kms_may_work_later(kms: Kms, status: int) -> None:
    signer = kms.open("ES256")
    kms.server.broken = (status, b"{}")
    with pytest.raises(RemoteError, match="cannot sign now"):
        signer.sign(DATA)
    kms.server.broken = None
    signer.sign(DATA)


@every_kms
def test_a_kms_that_is_away(kms: Kms) -> None:
    signer = kms.open("ES256")
    kms.server.stop()
    with pytest.raises(Unreachable, match="cannot be reached"):
        signer.sign(DATA)


@every_kms
def test_no_secret_is_logged_or_shown(kms: Kms, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "affiant")
    signer = kms.open("ES256")
    signer.sign(DATA)
    shown = f"{signer!r} {signer._signer!r} {signer._signer._holder!r} {caplog.text}"  # type: ignore[attr-defined]
    kms.server.broken = (500, b"{}")
    with pytest.raises(RemoteError) as caught:
        signer.sign(DATA)
    shown += "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "canary" not in shown
    assert "token-of-entra" not in shown


@every_kms
def test_a_kms_that_does_not_answer_in_time(kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "_TIMEOUTS", aws._TIMEOUTS.merge(Config(read_timeout=0.3)))
    monkeypatch.setattr(gcp, "SECONDS", 0.3)
    monkeypatch.setitem(azure.TIMEOUTS, "read_timeout", 0.3)
    monkeypatch.setattr(vault_http, "_TIMEOUT", httpx2.Timeout(0.3))
    signer = kms.open("ES256")
    kms.server.delay = 1.0
    with pytest.raises(Unreachable, match="cannot be reached"):
        signer.sign(DATA)
