"""Who has no certificate says it has one; who has one says it is another's."""

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.attacks.bench import PROXY, Bench, form, post
from tests.certificates import Made, make
from tests.wire import ADDRESS, Request

from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.oauth.binding import mtls
from affiant.server.client_auth.ladder import Authenticator
from affiant.server.request.certificate import Certificates

pytestmark = pytest.mark.rfc(9700, "4.13")
NAMED, STRANGER, SELF = make(dns=("named.example",)), make(dns=("stranger.example",)), make(dn="CN=self")
GRANT = {"grant_type": "client_credentials"}


def over_tls(client_id: str | None, *headers: tuple[bytes, bytes], peer: str | None = PROXY, **more: str) -> Request:
    members = {**GRANT, **({"client_id": client_id} if client_id else {}), **more}
    return replace(post(urlencode(members), *headers), peer=peer)


async def issued(bench: Bench, what: Request) -> dict[str, Any]:
    return compact.parse((await bench.good(what))["access_token"]).claims


@pytest.mark.parametrize("peer", [None, ADDRESS, "10.0.0.2", "::ffff:10.0.0.2", "127.0.0.1", "", "10.0.0.1.example"])
async def test_certificate_header_of_a_stranger(bench: Bench, peer: str | None) -> None:
    """As if it were not there, whatever it says: not even a broken one is looked at."""
    for header in (NAMED.header, (b"client-cert", b"x")):
        await bench.denied(over_tls("named", header, peer=peer), Reason.NO_CREDENTIALS)
    await issued(bench, replace(post(form(), (b"client-cert", b"x")), peer=peer))
    await bench.denied(
        replace(bench.signed("certified", NAMED.header), peer=peer),
        Reason.CERTIFICATE_MISSING,
    )


async def test_forwarded_address_is_not_peer(bench: Bench) -> None:
    forwarded = (b"x-forwarded-for", PROXY.encode()), (b"forwarded", b"for=" + PROXY.encode())
    await bench.denied(over_tls("named", NAMED.header, *forwarded, peer=ADDRESS), Reason.NO_CREDENTIALS)


@pytest.mark.parametrize(
    "name", [b"client-certificate", b"client_cert", b"x-client-cert", b"x-forwarded-client-cert", b"ssl-client-cert"]
)
async def test_no_other_header_counts(bench: Bench, name: bytes) -> None:
    await bench.denied(over_tls("named", (name, NAMED.header[1])), Reason.NO_CREDENTIALS)


@pytest.mark.parametrize(
    "headers",
    [
        (NAMED.header, NAMED.header),
        (NAMED.header, STRANGER.header),
        ((b"client-cert", NAMED.header[1] + b"," + NAMED.header[1]),),
        ((b"client-cert", b""),),
        ((b"client-cert", b":" + b"A" * 60_000 + b":"),),
        ((b"client-cert", NAMED.der[:200].replace(b"\r", b"").replace(b"\n", b"")),),
    ],
    ids=["twice", "two", "list", "empty", "long", "der"],
)
async def test_certificate_header_is_strict(bench: Bench, headers: Any) -> None:
    """A second header is what a proxy did not strip: nobody may choose between the two."""
    await bench.denied(over_tls("named", *headers), Reason.CERTIFICATE_HEADER)
    await bench.denied(replace(post(form(), *headers), peer=PROXY), Reason.CERTIFICATE_HEADER)


@pytest.mark.parametrize(
    ("client_id", "certificate"),
    [
        ("nobody", NAMED),
        ("c1", NAMED),
        ("client_secret_post", NAMED),
        ("gone", NAMED),
        ("named", STRANGER),
        ("named", SELF),
    ],
)
async def test_every_failure_says_same(bench: Bench, client_id: str, certificate: Made) -> None:
    """Unknown, of another method, disabled, another's certificate: the same bytes but for the trace."""
    await bench.add_client("gone", "tls_client_auth", tls_subject=("tls_client_auth_san_dns", "named.example"))
    await bench.change_client("gone", enabled=False)

    async def told(client_id: str, certificate: Made) -> bytes:
        reply = await bench.send(over_tls(client_id, certificate.header))
        assert reply.status == 401
        return reply.body.replace(reply.json()["trace_id"].encode(), b"")

    assert await told(client_id, certificate) == await told("nobody", SELF)


async def test_subject_is_no_host_name(bench: Bench) -> None:
    for other in (
        make(dn="CN=named.example"),
        make(dns=("*.example",)),
        make(dns=("named.example.evil",)),
        make(uri=("https://named.example",)),
        make(email=("x@named.example",)),
    ):
        await bench.denied(over_tls("named", other.header), Reason.CERTIFICATE)


@pytest.mark.rfc(8705, "2.2")
async def test_certificate_of_another_client(bench: Bench) -> None:
    """Nor one under the same names for another key, nor another one for the same key."""
    await bench.add_client("self", "self_signed_tls_client_auth", keys=(SELF.public, make().public))
    claims = await issued(bench, over_tls("self", SELF.header))
    assert (claims["client_id"], claims["client_key"]) == ("self", SELF.public.thumbprint)
    await bench.denied(over_tls("named", SELF.header), Reason.CERTIFICATE)
    for other in (NAMED, make(dn="CN=self"), make(dn="CN=self", key=SELF.key)):
        await bench.denied(over_tls("self", other.header), Reason.CERTIFICATE)


async def test_key_of_certificate_signs_no_assertion(bench: Bench) -> None:
    """A client of one method is of no other, although its keys would do."""
    await bench.add_client("self", "self_signed_tls_client_auth", keys=(SELF.public,))
    await bench.denied(bench.signed("self"), Reason.CLIENT_METHOD)


@pytest.mark.parametrize("parameter", ["client_assertion", "client_secret", "assertion"])
async def test_second_way_is_not_passed_over(bench: Bench, parameter: str) -> None:
    """What else is sent must hold; a certificate does not make up for it."""
    reply = await bench.send(over_tls("named", NAMED.header, **{parameter: "x"}))
    assert reply.status in (400, 401)


async def test_certificate_and_authorization_header(bench: Bench) -> None:
    await bench.denied(over_tls("named", NAMED.header, (b"authorization", b"Basic x")), Reason.BASIC_MALFORMED)


async def test_any_certificate_means_no_names(bench: Bench) -> None:
    """Where a proxy lets self-signed certificates in, anybody can write any name into one."""
    await bench.add_client("self", "self_signed_tls_client_auth", keys=(SELF.public,))
    endpoint: Any = bench.app._endpoints["/token"]  # type: ignore[attr-defined]
    before: Authenticator = endpoint.authenticator
    loose = Certificates(before._certificates.proxies, trust="any")
    endpoint.authenticator = Authenticator(before._directory, bench.master_key, certificates=loose)
    await bench.denied(over_tls("named", NAMED.header), Reason.CLIENT_METHOD)
    assert (await issued(bench, over_tls("self", SELF.header)))["cnf"] == {mtls.CONFIRMATION: SELF.thumbprint}


async def test_no_proxy_by_default(bench: Bench) -> None:
    endpoint: Any = bench.app._endpoints["/token"]  # type: ignore[attr-defined]
    endpoint.authenticator = Authenticator(endpoint.authenticator._directory, bench.master_key)
    await bench.denied(over_tls("named", NAMED.header), Reason.NO_CREDENTIALS)


async def test_certificate_is_not_logged(bench: Bench) -> None:
    """Its thumbprint does, which is no secret."""
    await issued(bench, over_tls("named", NAMED.header))
    line = (await bench.audited())[-1]
    assert json.loads(line)["thumbprint"] == NAMED.thumbprint
    assert json.loads(line)["method"] == "tls_client_auth"
    assert NAMED.text[20:60] not in line + bench.log.text


@pytest.mark.parametrize(
    "text",
    [
        '[{"type":"x","locations":["https://evil.example"]}]',
        "[" * 3000,
        '[{"type":"' + "x" * 5000 + '"}]',
        "[{}]",
        '"x"',
        "[1e400]",
    ],
)
async def test_details_of_stranger_do_no_harm(bench: Bench, text: str) -> None:
    reply = await bench.send(post(form(authorization_details=text)))
    assert (reply.status, reply.json()["error"]) == (400, "invalid_authorization_details")
    assert b"evil" not in reply.body
