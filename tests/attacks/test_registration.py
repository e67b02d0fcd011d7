"""T9 of the attack catalogue: registration and its management; what is refused leaves nothing but its record."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.attacks.bench import API, MAX_ERROR, OTHER_API, Bench, hurry, piece_of, row, running
from tests.attacks.registering import PUBLIC, body, invite, register, roca_modulus
from tests.rsa_keys import rsa_key
from tests.wire import ADDRESS, JSON_TYPE, Reply, Request

from affiant.errors.reasons import Reason
from affiant.jose import base64url, compact
from affiant.server.request.limits import Rate, Rates
from affiant.storage.memory import MemoryStore
from affiant.testing import ISSUER, KEY, NOW

PRIVATE = KEY.to_jwk()
RSA = rsa_key()
METADATA, KEYS, URI, SCOPE = (
    Reason.REGISTRATION_METADATA,
    Reason.REGISTRATION_KEYS,
    Reason.REGISTRATION_JWKS_URI,
    Reason.REGISTRATION_SCOPE,
)


def jwks(*members: Any) -> dict[str, Any]:
    return body(jwks={"keys": list(members)})


def rsa(n: int, e: int = 65537) -> dict[str, Any]:
    return {"kty": "RSA", "n": _number(n), "e": _number(e)}


def _number(value: int) -> str:
    return base64url.encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@dataclass
class Registrar:
    """The bench, an initial access token for the scope r, and two clients that registered by it."""

    bench: Bench
    token: str
    a: dict[str, Any]
    b: dict[str, Any]

    async def send(self, what: Request) -> Reply:
        return await self.bench.send(what)

    async def manage(self, method: str, client: dict[str, Any], sent: Any = None, *, by: Any = None) -> Reply:
        return await self.send(self.request(method, client, sent, by=by))

    def request(self, method: str, client: dict[str, Any], sent: Any = None, *, by: Any = None) -> Request:
        made = register((by or client)["registration_access_token"], sent, path=f"/register/{client['client_id']}")
        return Request(made.body, method, made.path, headers=made.headers)

    async def state(self) -> tuple[Any, ...]:
        store = self.bench.store
        return (
            await store.clients.list(),
            await store.initial_access_tokens.list(),
            await store.revocations.list(NOW),
            await store.version(),
        )

    async def refused(self, what: Request, reason: Reason, *canaries: str) -> Reply:
        """Send what must be refused for this reason: one record, nothing else, and nothing of it written or echoed."""
        state, before = await self.state(), await self.bench.audited()
        reply = await self.send(what)
        members = reply.json()
        assert (reply.status, members["error"]) == (reason.value.status, reason.value.error), reply.body
        assert members["error_uri"] == f"{ISSUER}/errors/{reason.code}"
        assert set(members) == {"error", "error_description", "error_uri", "trace_id"}
        assert (reply.headers["content-type"], reply.headers["cache-control"]) == ("application/json", "no-store")
        assert len(reply.body) <= MAX_ERROR
        assert await self.state() == state
        (line,) = (await self.bench.audited())[len(before) :]
        shown = json.loads(line)
        assert (shown["outcome"], shown["reason"], shown["address"]) == ("refused", reason.code, ADDRESS)
        assert line.isprintable()
        for text in (line, self.bench.log.text, reply.body.decode()):
            assert piece_of(text, [*what.sensitive(), *canaries, PRIVATE["d"], self.token]) is None
        assert (await self.send(register(self.token))).status == 201
        return reply


async def _registrar(bench: Bench) -> Registrar:
    text = await invite(bench, uses=100)
    a, b = [(await bench.send(register(text))).json() for _ in range(2)]
    return Registrar(bench, text, a, b)


@pytest.fixture
async def registrar(bench: Bench) -> Registrar:
    return await _registrar(bench)


@pytest.fixture
async def limited(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Registrar]:
    """Where an address may fail once."""
    rates = Rates(failures=Rate(1, 0.001), tokens=Rate(0, 1.0))
    async with running(MemoryStore(), caplog, monkeypatch, rates) as bench:
        yield await _registrar(bench)


TOKENS = [
    row(191, "none", None, Reason.REGISTRATION_TOKEN_MISSING),
    row(191, "made up", "A" * 43, Reason.REGISTRATION_TOKEN),
    row(191, "a JWT", "eyJhbGciOiJub25lIn0.e30.AAAA", Reason.REGISTRATION_TOKEN),
    row(191, "not ASCII", "\u00e9", Reason.REGISTRATION_TOKEN),
    row(191, "empty", "", Reason.REGISTRATION_TOKEN),
    row(191, "two words", "x y", Reason.REGISTRATION_TOKEN),
]


@pytest.mark.rfc(6750, "3.1")
@pytest.mark.parametrize(("token", "reason"), TOKENS)
async def test_registration_needs_a_token(registrar: Registrar, token: str | None, reason: Reason) -> None:
    reply = await registrar.refused(register(token), reason)
    error = "" if token is None else ', error="invalid_token"'
    assert reply.headers["www-authenticate"] == f'Bearer realm="{ISSUER}"{error}'


@pytest.mark.attack(191)
async def test_install_without_tokens_is_closed(bench: Bench) -> None:
    before = await bench.store.clients.list()
    assert (await bench.send(register(None))).status == 401
    assert await bench.store.clients.list() == before


@pytest.mark.attack(192)
@pytest.mark.parametrize("scheme", [b"Basic", b"DPoP", b"Token", b""])
async def test_token_comes_as_bearer(registrar: Registrar, scheme: bytes) -> None:
    what = Request(
        b"{}", path="/register", headers=(JSON_TYPE, (b"authorization", scheme + b" " + registrar.token.encode()))
    )
    reply = await registrar.send(what)
    assert (reply.status, reply.headers["www-authenticate"].split(" ")[0]) == (401, "Bearer")


@pytest.mark.attack(192)
@pytest.mark.rfc(7591, "3")
async def test_invitation_expires_and_is_spent(registrar: Registrar) -> None:
    twice, over = await invite(registrar.bench, uses=2), await invite(registrar.bench, lifetime=1)
    assert [(await registrar.send(register(twice))).status for _ in range(2)] == [201, 201]
    await registrar.refused(register(twice), Reason.REGISTRATION_TOKEN)
    registrar.bench.clock.now += 1
    await registrar.refused(register(over), Reason.REGISTRATION_TOKEN)


@pytest.mark.attack(192)
async def test_other_tokens_do_not_register(registrar: Registrar) -> None:
    await registrar.refused(register(registrar.a["registration_access_token"]), Reason.REGISTRATION_TOKEN)
    other = {**registrar.a, "registration_access_token": registrar.token}
    await registrar.refused(registrar.request("GET", registrar.a, by=other), Reason.REGISTRATION_ACCESS_TOKEN)


@pytest.mark.attack(192)
async def test_race_for_the_last_use(registrar: Registrar) -> None:
    once, before = await invite(registrar.bench), len(await registrar.bench.store.clients.list())
    replies = await asyncio.gather(*(registrar.send(register(once)) for _ in range(10)))
    assert sorted(reply.status for reply in replies) == [201, *[401] * 9]
    assert len(await registrar.bench.store.clients.list()) == before + 1


BODIES = [
    row(193, "jwks and jwks_uri", body(jwks_uri="https://a.example/jwks"), METADATA, rfc="7591 2"),
    row(194, "no key", body(jwks="absent"), METADATA),
    row(194, "no keys in the set", jwks(), KEYS),
    row(195, "private", jwks(PRIVATE), KEYS),
    row(195, "private RSA", jwks(RSA.to_jwk()), KEYS),
    row(195, "one of two private", jwks({**PUBLIC, "kid": "1"}, {**RSA.to_jwk(), "kid": "2"}), KEYS),
    *(row(195, f"{name} alone", jwks({**PUBLIC, name: ""}), KEYS, rfc="7517 9.2") for name in ("d", "p", "q", "k", "priv")),
    row(196, "oct", jwks({"kty": "oct", "k": "A" * 43}), KEYS),
    row(196, "oct without k", jwks({"kty": "oct", "k": ""}), KEYS),
    row(197, "RSA 1024", jwks(rsa((1 << 1023) + 1155)), KEYS, rfc="7518 3.3"),
    row(197, "RSA e=1", jwks(rsa(int.from_bytes(base64url.decode(RSA.to_jwk()["n"])), 1)), KEYS),
    row(197, "RSA even e", jwks(rsa(int.from_bytes(base64url.decode(RSA.to_jwk()["n"])), 65538)), KEYS),
    row(197, "RSA 16385", jwks(rsa((1 << 16384) + 1)), KEYS),
    row(197, "ROCA", jwks(rsa(roca_modulus())), KEYS),
    row(197, "ROCA 3072", jwks(rsa(roca_modulus(3072))), KEYS),
    row(198, "not on the curve", jwks({**PUBLIC, "y": PUBLIC["x"]}), KEYS, rfc="8725 3.4"),
    row(198, "x with a zero more", jwks({**PUBLIC, "x": base64url.encode(b"\0" + base64url.decode(PUBLIC["x"]))}), KEYS),
    row(198, "y of 4,000 bytes", jwks({**PUBLIC, "y": "A" * 5333}), KEYS),
    row(198, "Ed25519 of small order", jwks({"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(b"\1" + bytes(31))}), KEYS),
    row(198, "X25519", jwks({"kty": "OKP", "crv": "X25519", "x": base64url.encode(b"\x09" * 32)}), KEYS),
    row(198, "secp256k1", jwks({**PUBLIC, "crv": "secp256k1"}), KEYS),
    row(198, "for encryption", jwks({**PUBLIC, "use": "enc"}), KEYS, rfc="7517 4.2"),
    *(
        row(198, f"key_ops {ops}", jwks({**PUBLIC, "key_ops": ops}), KEYS, rfc="7517 4.2")
        for ops in (["encrypt"], ["sign"], "verify")
    ),
    row(198, "another alg", jwks({**PUBLIC, "alg": "RS256"}), KEYS),
    row(199, "long kid", jwks({**PUBLIC, "kid": "k" * 129}), KEYS),
    row(199, "long kid in bytes", jwks({**PUBLIC, "kid": "\u00e9" * 65}), KEYS),
    row(199, "kid with a control", jwks({**PUBLIC, "kid": "k\x1b[2J"}), KEYS),
    row(200, "65 members", jwks(PUBLIC, *({"kty": "?"} for _ in range(64))), KEYS),
    row(200, "17 keys", jwks(*({**PUBLIC, "kid": str(n)} for n in range(17))), KEYS),
    row(200, "jwks is a list", body(jwks=[PUBLIC]), KEYS),
    row(200, "jwks is a text", body(jwks=json.dumps({"keys": [PUBLIC]})), KEYS),
    row(200, "a key is null", jwks(None), KEYS),
    *(
        row(201, f"{alg} {size}", body(token_endpoint_auth_method="client_secret_jwt", jwks="absent", token_endpoint_auth_signing_alg=alg, client_secret="s" * size), METADATA)
        for alg, size in (("HS256", 8), ("HS256", 31), ("HS384", 47), ("HS256", 64))
    ),
    row(202, "none", body(token_endpoint_auth_signing_alg="none"), METADATA),
    row(202, "HS256", body(token_endpoint_auth_signing_alg="HS256"), METADATA),
    row(202, "RS1", body(token_endpoint_auth_signing_alg="RS1"), METADATA),
    row(202, "RS256 with an EC key", body(token_endpoint_auth_signing_alg="RS256"), METADATA),
    row(203, "method none", body(token_endpoint_auth_method="none", jwks="absent"), METADATA),
    row(203, "method of nobody", body(token_endpoint_auth_method="PRIVATE_KEY_JWT"), METADATA),
    row(203, "method is a list", body(token_endpoint_auth_method=["private_key_jwt"]), METADATA),
    *(
        row(203, f"grant {grants!r}", body(grant_types=grants), METADATA, rfc="7591 3.2.2")
        for grants in (["implicit"], ["authorization_code"], [["client_credentials"]], "client_credentials")
    ),
    row(203, "response_types", body(response_types=["code"]), METADATA, rfc="7591 3.2.2"),
    row(203, "dpop is a text", body(dpop_bound_access_tokens="true"), METADATA, rfc="7591 3.2.2"),
    row(204, "long name", body(client_name="n" * 10_000), METADATA),
    row(204, "RTL override", body(client_name="a\u202egpj.exe"), METADATA),
    row(204, "NUL", body(client_name="a\0b"), METADATA),
    row(204, "line end", body(client_name="a\nb"), METADATA),
    row(204, "C1", body(client_name="a\x9bb"), METADATA),
    row(204, "line separator", body(client_name="a\u2028b"), METADATA),
    row(204, "not seen", body(client_name="\u200badmin"), METADATA),
    row(204, "empty name", body(client_name=""), METADATA),
    row(204, "contact", body(contacts=["a\u202eb"]), METADATA),
    row(204, "many contacts", body(contacts=[str(n) for n in range(17)]), METADATA),
    row(204, "version", body(software_version="\x1b]0;x\x07"), METADATA),
    *(
        row(205, url, body(client_uri=url), METADATA)
        for url in ("javascript:alert(1)", "data:text/html,x", "https://u:p@a.example", 'https://a.example/"><b>', "//a", "https://")
    ),
    row(205, "redirected", body(redirect_uris=["https://a.example"]), Reason.REGISTRATION_REDIRECT_URIS, rfc="7591 3.2.2"),
    row(211, "wider scope", body(scope="r w"), SCOPE),
    row(207, "scope admin", body(scope="admin"), SCOPE),
    *(row(211, scope, body(scope=scope), SCOPE) for scope in ("*", "r*", "system/*.rs", "system/Patient.r")),
    *(row(211, f"{scope!r}", body(scope=scope), METADATA, rfc="7591 3.2.2") for scope in ("r  r", ["r"])),
    row(211, "type", body(authorization_details_types=["payment"]), SCOPE, rfc="7591 3.2.2"),
    *(
        row(212, url, body(jwks="absent", jwks_uri=url), URI)
        for url in (
            "http://a.example/jwks", "file:///etc/passwd", "ftp://a.example/", "data:,x", "https://user:pass@a.example/",
            "https://a.example/#k", "https://a.example:22/", "https://a.example:0/", "https://a.example:99999/", "https://",
            "https://a.example/\r\nX: y", "HTTPS:a.example", "https://a.example\\@b.example/", "https://127.0.0.1/", "https://169.254.169.254/latest", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://10.1.2.3:8443/", "",
        )
    ),
    *(
        row(213, f"statement {text}", body(software_statement=text), Reason.REGISTRATION_STATEMENT, rfc="7591 3.2.2")
        for text in ("a.b.c", "x", 1)
    ),
    row(213, "statement of nobody", body(software_statement=compact.sign({}, {"iss": "x"}, KEY)), Reason.REGISTRATION_STATEMENT_ISSUER, rfc="7591 3.2.2"),
    row(214, "null", b"null", Reason.REGISTRATION_JSON),
    row(214, "array", b"[]", Reason.REGISTRATION_JSON),
    row(214, "member twice", b'{"scope":"r","scope":"admin"}', Reason.REGISTRATION_JSON),
    row(214, "member twice inside", b'{"jwks":{"keys":[],"keys":[]}}', Reason.REGISTRATION_JSON),
    row(214, "deep", b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}", Reason.REGISTRATION_JSON),
    row(214, "1 MB", b'{"a":"' + b"x" * 1_000_000 + b'"}', Reason.TOO_LARGE),
    row(214, "NaN", b'{"a":NaN}', Reason.REGISTRATION_JSON),
    row(214, "surrogate", b'{"client_name":"\\ud800"}', Reason.REGISTRATION_JSON),
    row(214, "not UTF-8", b'{"client_name":"\xff"}', Reason.REGISTRATION_JSON),
    row(214, "two objects", b"{}{}", Reason.REGISTRATION_JSON),
    row(214, "nothing", b"", Reason.REGISTRATION_JSON),
    row(214, "long number", b'{"a":' + b"9" * 60_000 + b"}", Reason.REGISTRATION_JSON),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "reason"), BODIES)
async def test_bad_registration_is_refused(registrar: Registrar, sent: Any, reason: Reason) -> None:
    await registrar.refused(register(registrar.token, sent), reason, RSA.to_jwk()["d"], RSA.to_jwk()["p"])


@pytest.mark.parametrize(("sent", "reason"), [row_ for row_ in BODIES if row_.values[1] is not Reason.TOO_LARGE])
async def test_bad_replacement_is_refused(registrar: Registrar, sent: Any, reason: Reason) -> None:
    named = sent if isinstance(sent, bytes) else {**sent, "client_id": registrar.a["client_id"]}
    await registrar.refused(registrar.request("PUT", registrar.a, named), reason, RSA.to_jwk()["d"], RSA.to_jwk()["p"])


@pytest.mark.attack(197)
async def test_only_the_roca_mark_is_refused(registrar: Registrar) -> None:
    """The same modulus without the mark goes through, and the refusal says what is wrong with the key."""
    modulus = roca_modulus()
    reply = await registrar.refused(register(registrar.token, jwks(rsa(modulus))), KEYS)
    assert "CVE-2017-15361" in reply.json()["error_description"]
    unmarked = next(n for n in range(modulus + 2, modulus + 2000, 2) if all(n % small for small in range(3, 752, 2)))
    assert (await registrar.send(register(registrar.token, jwks(rsa(unmarked))))).status == 201


@pytest.mark.attack(197)
async def test_weak_key_of_two_is_left_out(registrar: Registrar) -> None:
    weak = {**rsa(roca_modulus()), "kid": "weak"}
    reply = await registrar.send(register(registrar.token, jwks({**PUBLIC, "kid": "1"}, weak)))
    assert reply.status == 201
    assert [key["kid"] for key in reply.json()["jwks"]["keys"]] == ["1"]
    (left_out,) = reply.json()["jwks_left_out"]
    assert left_out.startswith('key 2 ("weak") of the JWK Set: ')
    assert "CVE-2017-15361" in left_out


@pytest.mark.attack(195)
async def test_any_private_key_refuses_the_set(registrar: Registrar) -> None:
    """Its sender must learn that it is no secret any more, also where it would have been left out."""
    for private in ({**PRIVATE, "use": "enc"}, {"kty": "?", "d": "AA"}, {"kty": "oct", "use": "enc", "k": "A" * 43}):
        await registrar.refused(register(registrar.token, jwks({**PUBLIC, "kid": "1"}, private)), KEYS, PRIVATE["d"])


@pytest.mark.attack(214)
@pytest.mark.parametrize(
    "given", [(b"text/plain",), (), (b"application/json", b"application/json"), (b"application/json; charset=utf-16",), (b"application/x-www-form-urlencoded",)]
)  # fmt: skip
async def test_metadata_come_as_json(registrar: Registrar, given: tuple[bytes, ...]) -> None:
    headers = [(b"content-type", value) for value in given] or [(b"x", b"y")]
    await registrar.refused(register(registrar.token, None, *headers), Reason.REGISTRATION_CONTENT_TYPE)


@pytest.mark.attack(214)
async def test_truncated_and_slow_bodies(registrar: Registrar) -> None:
    what = register(registrar.token)
    broken = Request(what.body[:9], path=what.path, headers=what.headers, is_whole=False)
    await registrar.refused(broken, Reason.BAD_FRAMING)
    hurry(registrar.bench)
    slow = Request(what.body[:9], path=what.path, headers=what.headers, is_slow=True)
    await registrar.refused(slow, Reason.TOO_SLOW)


@pytest.mark.attack(204)
async def test_name_like_markup_is_name(registrar: Registrar) -> None:
    reply = await registrar.send(register(registrar.token, body(client_name="<script>alert(1)</script>")))
    assert (reply.status, reply.headers["content-type"]) == (201, "application/json")
    assert reply.json()["client_name"] == "<script>alert(1)</script>"


@pytest.mark.attack(206)
@pytest.mark.parametrize(
    "changes", [{"jwks": "absent"}, {"token_endpoint_auth_method": "none", "jwks": "absent"}, {"scope": "r admin"}]
)
async def test_replacement_below_policy_changes_nothing(registrar: Registrar, changes: dict[str, Any]) -> None:
    named = body(client_id=registrar.a["client_id"], **changes)
    reply = await registrar.manage("PUT", registrar.a, named)
    assert reply.status == 400
    assert (await registrar.manage("GET", registrar.a)).json() == registrar.a


@pytest.mark.attack(207)
@pytest.mark.rfc(7591, "2")
async def test_privileges_are_neither_taken_nor_shown(registrar: Registrar) -> None:
    wanted = {
        "roles": ["admin"], "trusted": True, "tenant_id": "t", "service_account": True, "introspects": [API],
        "resources": [OTHER_API], "enabled": True, "profile": "guide", "observe": ["audience"], "registered_by": "x",
        "audience_policy": "legacy", "registration_scope": ["admin"], "registration_token": "x", "created_at": 1,
        "registration_access_token": "x" * 43, "client_id_issued_at": 1, "client_id": "c1", "client_name#de": "Abrechnung",
    }  # fmt: skip
    told = (await registrar.send(register(registrar.token, body(**wanted)))).json()
    shown = (await registrar.manage("GET", told)).json()
    assert shown == told
    assert set(told) == set(registrar.a)
    for name in ("client_id", "client_id_issued_at", "registration_access_token"):
        assert told[name] != wanted[name]
    stored = await registrar.bench.store.clients.find(told["client_id"])
    assert stored is not None
    assert (stored.introspects, stored.resources, stored.profile, stored.observe) == ((), (), None, ())
    assert (stored.scope, stored.registration_scope, stored.audience_policy) == (("r",), ("r",), "strict")


@pytest.mark.attack(208)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_registration_token_of_another(registrar: Registrar, method: str) -> None:
    sent = body(client_id=registrar.b["client_id"])
    await registrar.refused(
        registrar.request(method, registrar.b, sent, by=registrar.a), Reason.REGISTRATION_ACCESS_TOKEN
    )
    assert (await registrar.manage("DELETE", registrar.a)).status == 204
    await registrar.refused(registrar.request(method, registrar.a, sent), Reason.REGISTRATION_ACCESS_TOKEN)
    assert (await registrar.manage("GET", registrar.b)).json() == registrar.b


@pytest.mark.attack(208)
@pytest.mark.rfc(7592, "2")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_client_of_operator_has_no_registration(registrar: Registrar, method: str) -> None:
    """Nor has one that does not exist: the same bytes as with the token of another, but for the trace."""
    answers = set()
    for name in (registrar.b["client_id"], "c1", "nobody", "", "c1%00", "client-\u00e9", "x" * 500):
        what = registrar.request(method, {**registrar.a, "client_id": name}, body())
        reply = await registrar.refused(what, Reason.REGISTRATION_ACCESS_TOKEN)
        assert reply.headers["www-authenticate"] == f'Bearer realm="{ISSUER}", error="invalid_token"'
        answers.add(reply.body.replace(reply.json()["trace_id"].encode(), b""))
    assert len(answers) == 1
    await registrar.refused(
        Request(method="GET", path=f"/register/{registrar.a['client_id']}"), Reason.REGISTRATION_TOKEN_MISSING
    )


@pytest.mark.attack(209)
async def test_reading_hides_secrets_and_is_audited(registrar: Registrar) -> None:
    made = (
        await registrar.send(register(registrar.token, body(token_endpoint_auth_method="absent", jwks="absent")))
    ).json()
    before = await registrar.bench.audited()
    reply = await registrar.manage("GET", made)
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    assert made["client_secret"] not in reply.body.decode()
    (line,) = (await registrar.bench.audited())[len(before) :]
    assert (json.loads(line)["outcome"], json.loads(line)["endpoint"]) == ("read", "registration")
    for text in [*await registrar.bench.audited(), registrar.bench.log.text]:
        assert piece_of(text, [made["client_secret"], made["registration_access_token"], registrar.token]) is None


@pytest.mark.attack(210)
async def test_deleted_client_stays_deleted(registrar: Registrar) -> None:
    replies = await asyncio.gather(
        *(registrar.manage("DELETE", registrar.a) for _ in range(5)),
        *(registrar.manage("PUT", registrar.a, body(client_id=registrar.a["client_id"])) for _ in range(5)),
    )
    assert sum(reply.status == 204 for reply in replies) == 1
    assert {reply.status for reply in replies} <= {200, 204, 401}
    assert await registrar.bench.store.clients.find(registrar.a["client_id"]) is None
    (ended,) = await registrar.bench.store.revocations.find([("client", registrar.a["client_id"])])
    assert (ended.at, ended.until) == (NOW, NOW + 3600)


@pytest.mark.attack(210)
async def test_store_has_no_plain_secrets(registrar: Registrar) -> None:
    made = (
        await registrar.send(register(registrar.token, body(token_endpoint_auth_method="absent", jwks="absent")))
    ).json()
    shown = repr(await registrar.bench.store.clients.list()) + repr(
        await registrar.bench.store.initial_access_tokens.list()
    )
    secrets = [registrar.token, made["client_secret"], made["registration_access_token"]]
    assert piece_of(shown, secrets) is None
    client = await registrar.bench.store.clients.find(made["client_id"])
    assert client is not None
    assert client.registration_token == registrar.bench.master_key.digest(made["registration_access_token"])


@pytest.mark.attack(213)
async def test_failed_registrations_are_limited(limited: Registrar) -> None:
    assert (await limited.send(register(None))).status == 401
    replies = [await limited.send(what) for what in (register(None), register("x"), register(limited.token, []))]
    assert [reply.status for reply in replies] == [429, 429, 429]
    lines = await limited.bench.audited()
    assert sum('"refused"' in line for line in lines) == 1
    assert (await limited.send(register(limited.token))).status == 201
    assert (await limited.manage("GET", limited.a)).status == 200
    assert (await limited.manage("DELETE", limited.b)).status == 204


@pytest.mark.attack(213)
@pytest.mark.parametrize(
    "path", ["/register/../token", "/register//c1", "/register/c1/", "/REGISTER", "/register/c1/x"]
)
async def test_no_other_path_is_registration(registrar: Registrar, path: str) -> None:
    reply = await registrar.send(register(registrar.token, path=path))
    assert reply.status == 404


def test_every_row_is_asked() -> None:
    marks = (mark for case in (*TOKENS, *BODIES) for mark in case.marks)
    numbers = {mark.args[0] for mark in marks if mark.name == "attack"}
    assert numbers == {191, *range(193, 206), 207, 211, 212, 213, 214}
