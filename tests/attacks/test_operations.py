"""T16: what is written down, what is published, what fails, and what refuses to start."""

import json
import subprocess
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import pytest
from starlette.routing import Route
from tests.attacks.bench import (
    FILE,
    OTHER,
    Bench,
    assertion,
    basic,
    form,
    give_signing_keys_back,
    piece_of,
    post,
    raw,
    row,
    take_signing_keys,
)
from tests.wire import Reply, Request

from affiant.errors.reasons import Reason
from affiant.server.keys.vault import signing_key_purpose
from affiant.testing import ISSUER, KEY

GRANT = {"grant_type": "client_credentials"}
HOSTILE = "x\nINFO token issued\x1b[2J\u009b1m\u2028\u202e"
LEAF = "/errors/request.method"
_NUMBERS = count()


@pytest.mark.attack(302)
async def test_hostile_name_stays_in_its_line(bench: Bench) -> None:
    """`refused` sees that the record is one line of printable characters."""
    what = post({**GRANT, "client_id": HOSTILE, "client_secret": "x" * 43})
    await bench.refused(what, Reason.CLIENT_UNKNOWN, claimed=HOSTILE, jti=None)
    assert "INFO token issued" not in bench.log.text


@pytest.mark.attack(302)
async def test_long_name_is_cut(bench: Bench) -> None:
    """G3; no client has a name of more than 256."""
    await bench.send(post({**GRANT, "client_id": "long name " * 40, "client_secret": "x"}))
    assert len(json.loads((await bench.audited())[-1])["client_claimed"]) <= 256


async def _everything(bench: Bench) -> list[str]:
    """Ask well and badly, and return every secret that was under way."""
    secrets, guided = bench.secrets, assertion(bench.signers["guide"], iss="guide", sub="unique_request")
    by_mac = assertion(bench.signers["client_secret_jwt"], iss="client_secret_jwt", sub="client_secret_jwt")
    refreshing = assertion(iss="refreshing", sub="refreshing")
    asked = [
        post(form(refreshing)),
        post(),
        post(form(by_mac)),
        post({**GRANT, "assertion": guided, "client_id": "guide", "client_secret": secrets["guide"]}),
        post({**GRANT, "client_id": "client_secret_post", "client_secret": secrets["client_secret_post"]}),
        post(GRANT, basic("client_secret_basic", secrets["client_secret_basic"])),
    ]
    replies = [await bench.send(what) for what in asked]
    assert [reply.status for reply in replies] == [200] * len(asked)
    tokens = [
        reply.json()[name] for reply in replies for name in ("access_token", "refresh_token") if name in reply.json()
    ]
    for what in _mistakes(secrets["client_secret_post"], tokens):
        assert (await bench.send(what)).status >= 400
    sent = [text for what in asked for text in what.sensitive()]
    return [*secrets.values(), *tokens, *sent, *await _private_keys(bench)]


def _mistakes(secret: str, tokens: list[str]) -> list[Request]:
    """A secret, a token or an assertion wherever somebody might put it who has misread the documentation."""
    token = tokens[0]
    return [
        post(),
        Request(method="GET", query=b"client_secret=" + secret.encode(), headers=()),
        Request(query=b"client_assertion=" + token.encode()),
        *(post({**GRANT, name: value}) for name in ("client_id", "scope", "resource") for value in (secret, token)),
        post({**GRANT, "client_id": secret, "client_secret": secret}),
        post({"grant_type": token}),
        post(form(_unused(scope=secret))),
        post({**form(_unused()), "scope": secret}),
        post({**form(_unused()), "resource": token}),
        post(form(_unused(aud=token))),
        post(form(_unused(jti=""), client_assertion_type=token)),
        post(form(raw({"alg": "ES256", "kid": token}))),
        post(form(raw({"alg": token, "kid": KEY.kid}))),
        post(form(raw({"alg": "ES256", "typ": secret}))),
        post(GRANT, (b"authorization", b"Bearer " + token.encode())),
        post(GRANT, (b"authorization", b"Basic " + secret.encode())),
        post({"grant_type": "refresh_token", "refresh_token": tokens[1], "client_id": "c1", "client_secret": secret}),
    ]


def _unused(**changes: Any) -> str:
    """An assertion whose jti was not used, for another audience unless it says."""
    return assertion(**{"jti": f"unused{next(_NUMBERS)}", "aud": "x", **changes})


async def _private_keys(bench: Bench) -> list[str]:
    (record,) = await bench.store.signing_keys.list()
    plain = json.loads(bench.master_key.unseal(record.sealed, purpose=signing_key_purpose(record.kid)))
    return [plain["d"], KEY.to_jwk()["d"], OTHER.to_jwk()["d"], bytes(range(32)).hex()]


def _content(folder: Path) -> str:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir())).decode("latin-1")


@pytest.mark.attack(304)
async def test_canaries(durable: Bench, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With every logger at DEBUG, no piece of a secret, a token, an assertion or a private key is in logs or database."""
    secrets = await _everything(durable)
    kept = _content(tmp_path)
    written = capfd.readouterr()
    assert kept
    assert piece_of(kept, secrets) is None
    assert piece_of(durable.log.text + written.out + written.err, secrets) is None


@pytest.mark.parametrize(
    "what",
    [
        row(304, "iss", lambda s: post(form(assertion(iss=s, sub=s), client_id="c1"))),
        row(304, "sub", lambda s: post(form(assertion(iss="c1", sub=s)))),
    ],
)
async def test_secret_in_name(durable: Bench, what: Any) -> None:
    """Who makes the secret its own name is refused, and the record does not keep it."""
    secret = durable.secrets["client_secret_post"]
    await durable.send(what(secret))
    assert piece_of((await durable.audited())[-1], [secret]) is None


@pytest.mark.attack(304)
async def test_secret_as_label(durable: Bench) -> None:
    """The guide's free sub is logged; a secret in it is not."""
    secret = durable.secrets["guide"]
    text = assertion(durable.signers["guide"], iss="guide", sub=secret)
    reply = await durable.send(post({**GRANT, "assertion": text, "client_id": "guide", "client_secret": secret}))
    assert reply.status == 200
    assert piece_of((await durable.audited())[-1], [secret]) is None


def _check_failed(reply: Reply) -> dict[str, Any]:
    assert (reply.status, reply.json()["error"]) == (500, "server_error")
    assert reply.headers["content-type"] == "application/json"
    for word in (b"Traceback", b"signing", b"canary", b".py"):
        assert word not in reply.body
    return reply.json()


@pytest.mark.attack(308)
async def test_unexpected(durable: Bench, tmp_path: Path) -> None:
    """A server without a key to sign with fails before its commit: no token, and the jti is good afterwards."""
    take_signing_keys(tmp_path)
    what = post()
    members = _check_failed(await durable.send(what))
    assert members["error_uri"] == f"{ISSUER}/errors/{Reason.UNEXPECTED.code}"
    assert f"trace {members['trace_id']}: unexpected" in durable.log.text
    assert piece_of(durable.log.text, what.sensitive()) is None
    assert not await durable.used_up("j")
    give_signing_keys_back(tmp_path)
    await durable.issued(what)


@pytest.mark.attack(308)
async def test_unexpected_is_recorded(durable: Bench, tmp_path: Path) -> None:
    """G3: the caller is told to give the operator the trace_id, so the operator must find it."""
    take_signing_keys(tmp_path)
    trace_id = (await durable.send(post())).json()["trace_id"]
    record = await durable.store.audit_log.find(trace_id)
    assert record is not None
    assert record["reason"] == Reason.UNEXPECTED.code


async def _fail(*_: object) -> NoReturn:
    raise RuntimeError("canary")


async def _ask(bench: Bench, path: str) -> Reply:
    """The whole answer, though the failure is then raised again for who runs the server to log."""
    replies: list[Reply] = []
    with suppress(RuntimeError):
        await bench.send(Request(method="GET", path=path, headers=()), replies)
    return replies[0]


def _routes(bench: Bench) -> list[tuple[Route, str]]:
    routes = [route for route in bench.app.routes if isinstance(route, Route)]
    return [(route, route.path.replace("{code}", "request.method")) for route in routes]


@pytest.mark.attack(308)
async def test_every_handler_may_fail(bench: Bench) -> None:
    """500 server_error in JSON, and nothing of the exception."""
    assert LEAF in {path for _, path in _routes(bench)}
    for route, path in _routes(bench):
        route.app = _fail
        assert set(_check_failed(await _ask(bench, path))) == {"error", "error_description", "trace_id"}


@pytest.mark.attack(308)
@pytest.mark.attack(29)
@pytest.mark.parametrize("path", ["/jwks", "/nothing"])
async def test_failures_are_not_kept(bench: Bench, path: str) -> None:
    """G1: a cache must not answer 404 or 500 for us when we have mended it."""
    for route, _ in _routes(bench):
        route.app = _fail
    assert (await _ask(bench, path)).headers["cache-control"] == "no-store"


def _serve(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "affiant.cli.main", "serve", "--port", "0", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.attack(310)
@pytest.mark.parametrize(
    ("file", "mode", "words", "said"),
    [
        ("affiant-data/master.key", 0o644, [], "others may read"),
        ("affiant.toml", 0o600, ["--issuer", "http://as.example"], "must start with https://"),
        ("affiant.toml", 0o600, [], "leeway in affiant.toml is not a setting"),
    ],
    ids=["key that others may read", "issuer without TLS", "skew"],
)
def test_unsafe_setting_does_not_start(tmp_path: Path, file: str, mode: int, words: list[str], said: str) -> None:
    """The leeway cannot be set at all; the only file with a secret is that of the master key."""
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("ab" * 32 if path.suffix == ".key" else "leeway = 3600\n")
    path.chmod(mode)
    done = _serve(tmp_path, *words)
    assert done.returncode not in {0, 1, -15}, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "affiant-data" / FILE).exists() or said == "others may read"


async def _get(bench: Bench, path: str) -> dict[str, Any]:
    reply = await bench.send(Request(method="GET", path=path, headers=()))
    assert reply.status == 200
    members: dict[str, Any] = reply.json()
    return members


@pytest.mark.rfc(8414, "2")
@pytest.mark.parametrize("path", ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"])
async def test_metadata_name_the_grants(bench: Bench, path: str) -> None:
    document = await _get(bench, path)
    assert document["issuer"] == ISSUER
    assert document["grant_types_supported"] == [
        "client_credentials",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ]
    assert "none" not in document["token_endpoint_auth_signing_alg_values_supported"]
