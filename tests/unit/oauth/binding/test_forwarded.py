"""The header of a proxy: its formats, read strictly, and believed from that proxy alone."""

from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from tests.certificates import client_cert, make

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.oauth.binding import forwarded, mtls
from affiant.oauth.binding.forwarded import Header, Proxies

NAMED = make(dns=("SVC.example",))
PROXIES = Proxies.parse("10.0.0.0/8, 2001:db8::/32,192.0.2.1")


@pytest.mark.parametrize(
    ("peer", "is_one"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("192.0.2.1", True),
        ("2001:db8::9", True),
        ("192.0.2.2", False),
        ("2001:db9::9", False),
        ("::1", False),
        ("", False),
        (None, False),
        ("unix:", False),
        ("10.1.2.3, 10.1.2.4", False),
    ],
)
def test_proxy_is_known_by_its_address(peer: str | None, is_one: bool) -> None:
    assert PROXIES.has(peer) is is_one
    assert not Proxies().has(peer)


@pytest.mark.parametrize("text", ["*", "proxy.example", "10.0.0.1/8", "10.0.0.0/33"])
def test_wrong_network_is_rejected(text: str) -> None:
    with pytest.raises(ConfigError):
        Proxies.parse(text)


@pytest.mark.parametrize(
    "values",
    [
        [b""],
        [b"::"],
        [NAMED.der],
        [NAMED.header[1][1:]],
        [NAMED.header[1][:-1]],
        [NAMED.header[1] + b";a=1"],
        [NAMED.header[1], NAMED.header[1]],
        [NAMED.header[1] + b", " + NAMED.header[1]],
        [NAMED.header[1].replace(b"=", b"") if b"=" in NAMED.header[1] else NAMED.header[1][:-1] + b"=:"],
        [b":QQ==:"],
        [b":QR==:"],
        [client_cert(NAMED.der + b"\0")],
        [client_cert(NAMED.der[:-1])],
        [client_cert(bytes(mtls.MAX_BYTES + 1))],
        [b"-----BEGIN CERTIFICATE-----"],
        [NAMED.header[1].replace(b"A", b"-", 1)],
    ],
)
def test_header_is_read_strictly(values: list[bytes]) -> None:
    with pytest.raises(Rejected) as refused:
        Header().parse_values(values)
    assert refused.value.reason is Reason.CERTIFICATE_HEADER


def test_header_is_of_proxies_alone() -> None:
    def find(peer: str | None, *chain: str) -> str | None:
        tls = {"client_cert_chain": list(chain)}
        found = forwarded.find([NAMED.header], peer=peer, proxies=PROXIES, tls=tls)
        return found.thumbprint if found else None

    own = make()
    pem = own.certificate.public_bytes(serialization.Encoding.PEM).decode()
    assert find("10.0.0.1") == NAMED.thumbprint
    assert find("203.0.113.7") is None
    assert find("203.0.113.7", pem) == own.thumbprint
    # The certificate of a proxy is its own, and never the client's.
    assert forwarded.find([], peer="10.0.0.1", proxies=PROXIES, tls={"client_cert_chain": [pem]}) is None
    assert (
        forwarded.find([], peer=None, proxies=Proxies(), tls={"client_cert_chain": [pem], "client_cert_error": "x"})
        is None
    )
    assert forwarded.find([], peer=None, proxies=Proxies(), tls=None) is None
    with pytest.raises(Rejected):
        forwarded.find([], peer=None, proxies=Proxies(), tls={"client_cert_chain": ["x"]})


PEM = NAMED.certificate.public_bytes(serialization.Encoding.PEM).decode()
OTHER = make(dns=("other.example",))
HASH = mtls.sha256_hex(mtls.parse(NAMED.der))


def nginx(pem: str = PEM) -> bytes:
    """As $ssl_client_escaped_cert has it."""
    return quote(pem, safe="-._~").encode()


def alb(pem: str = PEM) -> bytes:
    return quote(pem, safe="+=/").encode()


def xfcc(*, pem: str = PEM, key: str = "Cert", digest: str = HASH, more: str = "") -> bytes:
    cert = quote(pem, safe="-._~")
    return f'By=spiffe://mesh/as;Hash={digest};{key}="{cert}";Subject="CN=a\\",O=\\"b";URI=spiffe://x{more}'.encode()


CHAIN = PEM + OTHER.certificate.public_bytes(serialization.Encoding.PEM).decode()
WRITTEN = {
    "rfc9440": [client_cert(NAMED.der)],
    "nginx": [nginx(), nginx(PEM.strip()), nginx(PEM.replace("\n", "\r\n")), alb()],
    "xfcc": [
        xfcc(),
        xfcc(key="Chain"),
        xfcc(key="Chain", pem=CHAIN),
        xfcc(key="CERT", digest=HASH.upper()),
        xfcc(more=f';Chain="{quote(CHAIN)}";DNS=a.example;DNS=b.example'),
    ],
    "alb": [alb(), nginx()],
    "alb-passthrough": [alb(), alb(CHAIN)],
}


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in WRITTEN.items() for value in values])
def test_header_of_each_proxy_is_read(kind: str, value: bytes) -> None:
    assert Header.parse(kind).parse_values([value]).der == NAMED.der


@pytest.mark.parametrize("kind", WRITTEN)
def test_each_format_is_read_as_it_is_set_and_never_guessed(kind: str) -> None:
    """A header counts once, in the format that is set, and under the name of that format."""
    header = Header.parse(kind)
    family = {"nginx": "pem", "alb": "pem", "alb-passthrough": "pem"}
    for other, (value, *_) in WRITTEN.items():
        if family.get(other, other) != family.get(kind, kind):
            refuse(header, value)
    refuse(header, WRITTEN[kind][0], WRITTEN[kind][0])
    refuse(header, WRITTEN[kind][0] + b"," + WRITTEN[kind][0])
    refuse(header, b"")
    proxies = Proxies.parse("10.0.0.1", kind)
    names = {Header.parse(other).name for other in WRITTEN} - {header.name}
    others = [(name, WRITTEN["rfc9440"][0]) for name in names]
    assert forwarded.find(others, peer="10.0.0.1", proxies=proxies, tls=None) is None
    sent = [*others, (header.name, WRITTEN[kind][0])]
    assert forwarded.find(sent, peer="10.0.0.1", proxies=proxies, tls=None) is not None
    assert forwarded.find(sent, peer="10.0.0.2", proxies=proxies, tls=None) is None


def refuse(header: Header, *values: bytes) -> None:
    with pytest.raises(Rejected, match="certificate") as refused:
        header.parse_values(list(values))
    assert refused.value.reason is Reason.CERTIFICATE_HEADER
    assert f"{header.name.decode()} in the format {header.kind}" in refused.value.expected


LONG = "-----BEGIN CERTIFICATE-----\n" + "A" * 60_000 + "\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    "value",
    [
        PEM.encode(),
        nginx(CHAIN),
        nginx("x" + PEM),
        nginx(PEM + "x"),
        nginx(PEM + " "),
        nginx(PEM.replace("-----END", "---END")),
        nginx(PEM.replace("CERTIFICATE", "TRUSTED CERTIFICATE")),
        nginx(PEM.replace("\n", "\n\n", 2)),
        nginx(PEM.replace("\n", " ")),
        nginx(PEM.replace("M", "N", 1)),
        nginx().replace(b"%0A", b"+"),
        nginx().replace(b"%0A", b"%0"),
        nginx().replace(b"%", b"%25"),
        nginx() + b"\xff",
        nginx() + b"%00",
        nginx(LONG),
        b"%" * 60_000,
        b"-----BEGIN%20CERTIFICATE-----%0A" * 2000,
        b"(null)",
        b"-",
    ],
)
@pytest.mark.parametrize("kind", ["nginx", "alb"])
def test_one_certificate_in_pem_and_nothing_else(kind: str, value: bytes) -> None:
    refuse(Header.parse(kind), value)


def test_chain_has_an_end() -> None:
    refuse(Header.parse("alb-passthrough"), alb(PEM * 11))
    refuse(Header.parse("alb-passthrough"), alb(CHAIN + "x"))


ELSE = quote(OTHER.certificate.public_bytes(serialization.Encoding.PEM).decode(), safe="")


@pytest.mark.parametrize(
    "value",
    [
        xfcc() + b"," + xfcc(),
        b"Hash=00," + xfcc(),
        xfcc() + b",By=spiffe://mesh/sidecar",
        xfcc(digest=""),
        xfcc(digest="0" * 64),
        xfcc().replace(b"Hash=" + HASH.encode() + b";", b""),
        f"Hash={HASH};Subject=x".encode(),
        f"Hash={HASH}".encode(),
        # Names that their owner chose, so that they look like what follows.
        f"Hash={HASH};URI=spiffe://x;Cert={ELSE}".encode(),
        xfcc(more=f";Cert={ELSE}"),
        xfcc(more=f";cert={ELSE}"),
        xfcc(more=f";Hash={HASH}"),
        xfcc(more=f";Chain={ELSE}"),
        xfcc(more=';DNS="open'),
        xfcc(more=";"),
        xfcc(more=";=x"),
        b" " + xfcc(),
        b'By="' * 10_000,
        b'By="\\' * 10_000,
        b"By=;" * 15_000,
    ],
)
def test_xfcc_is_one_element_whose_hash_fits(value: bytes) -> None:
    refuse(Header.parse("xfcc"), value)


@pytest.mark.parametrize("name", ["X-SSL-Client-Cert", "ssl-client-cert"])
def test_header_of_nginx_can_have_another_name(name: str) -> None:
    header = Header.parse(f"nginx:{name}")
    assert header.name == name.lower().encode()
    assert header.parse_values([nginx()]).der == NAMED.der


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "Nginx",
        "nginx:",
        "nginx:a b",
        "nginx:a_b",
        "nginx:Authorization",
        "nginx:host",
        "xfcc:x",
        "alb:x",
        "rfc9440:y",
    ],
)
def test_format_that_there_is_not_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="nginx:HEADER-NAME"):
        Header.parse(text)
