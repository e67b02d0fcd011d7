"""Settings from the environment: a name that is similar to one is a mistake; any other is not for affiant."""

import pytest

from affiant.errors import ConfigError
from affiant.server import settings
from affiant.server.request.certificate import Certificates

pytestmark = pytest.mark.usefixtures("no_settings")
LINK = "tcp://10.0.0.1:8377"


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("AFFIANT_DPOP_NONCE", "AFFIANT_DPOP_NONCES"),
        ("AFFIANT_WORKER", "AFFIANT_WORKERS"),
        ("AFFIANT_TRUSTED_PROXY", "AFFIANT_TRUSTED_PROXIES"),
        ("AFFIANT_ACESS_TOKEN_LIFETIME", "AFFIANT_ACCESS_TOKEN_LIFETIME"),
        ("AFFIANT_FAPPI", "AFFIANT_FAPI"),
        ("AFFIANT_PROT", "AFFIANT_PORT"),
        ("AFFIANT_ISSUER_URL", "AFFIANT_ISSUER"),
        ("affiant_dpop_nonce", "AFFIANT_DPOP_NONCES"),
        # Not settings, and read all the same: what protects the keys is not to be missed for a letter.
        ("AFFIANT_MASTERKEY", "AFFIANT_MASTER_KEY"),
        ("AFFIANT_PKCS_11_PIN", "AFFIANT_PKCS11_PIN"),
    ],
)
def test_a_name_that_is_nearly_one_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, meant: str) -> None:
    monkeypatch.setenv(variable, "canary-cafe")
    with pytest.raises(ConfigError) as refused:
        settings.load()
    assert str(refused.value) == f"{variable} is not a setting: is {meant} meant?"


def test_every_such_name_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFIANT_DPOP_NONCE", "on")
    monkeypatch.setenv("AFFIANT_ISSUERS", "https://as.example")
    with pytest.raises(ConfigError, match=r"AFFIANT_DPOP_NONCES meant\?; AFFIANT_ISSUERS is not a setting"):
        settings.load()


@pytest.mark.parametrize("other", ["CREDENTIALS", "INITIAL_ACCESS_TOKEN", "MASTER_KEY", "PKCS11_PIN"])
def test_what_else_affiant_reads_passes(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    monkeypatch.setenv(f"AFFIANT_{other}", "x")
    assert settings.load().workers == 1


@pytest.mark.parametrize("service", ["", "TLS_", "TOKEN_", "DATABASE_", "API_", "MTLS_", "WORKERS_", "HOST_", "X_"])
def test_what_kubernetes_says_of_its_services_passes(monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    """It sets these for a service named affiant, affiant-tls and so on, without being asked."""
    links = {"SERVICE_HOST": "10.0.0.1", "SERVICE_PORT": "8377", "SERVICE_PORT_HTTP": "8377", "PORT_8377_TCP": LINK}
    links |= {"PORT_8377_TCP_ADDR": "10.0.0.1", "PORT_8377_TCP_PORT": "8377", "PORT_8377_TCP_PROTO": "tcp"}
    if service:
        links["PORT"] = LINK
    for name, value in links.items():
        monkeypatch.setenv(f"AFFIANT_{service}{name}", value)
    assert settings.load().port == settings.DEFAULT_PORT


@pytest.mark.parametrize("link", [LINK, "udp://10.0.0.1:8377"])
def test_the_port_that_is_a_link_of_kubernetes_is_told_as_that(monkeypatch: pytest.MonkeyPatch, link: str) -> None:
    monkeypatch.setenv("AFFIANT_PORT", link)
    with pytest.raises(ConfigError, match="Kubernetes") as refused:
        settings.load()
    assert "enableServiceLinks: false" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert settings.load(port=8377).port == 8377


@pytest.mark.parametrize("port", ["x", "tcp", "-1", "65536"])
def test_another_port_that_is_none_is_told_as_before(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("AFFIANT_PORT", port)
    with pytest.raises(ConfigError, match=r"^AFFIANT_PORT: write a whole number from 0 to 65535, not "):
        settings.load()


@pytest.mark.parametrize("header", ["rfc9440", "nginx", "nginx:X-Client", "xfcc", "alb"])
def test_certificate_header_is_one_of_those_that_proxies_write(header: str) -> None:
    chosen = settings.load(client_certificate_header=header, client_certificate_proxies="10.0.0.1")
    assert chosen.certificates.proxies.header.kind == header.partition(":")[0]
    assert "tls_client_auth" in chosen.certificates.methods


def test_other_certificate_header_is_refused() -> None:
    with pytest.raises(ConfigError, match="'traefik' is no format: choose one of rfc9440, nginx"):
        settings.load(client_certificate_header="traefik")


def test_names_in_certificates_that_no_proxy_judged_mean_nothing() -> None:
    """An AWS load balancer in passthrough mode lets in a certificate with any name."""
    with pytest.raises(
        ConfigError, match="alb-passthrough sends certificates of no authority: set client_certificate_"
    ):
        settings.load(client_certificate_header="alb-passthrough")
    options = {"client_certificate_trust": "any", "client_certificate_proxies": "10.0.0.1"}
    chosen = settings.load(client_certificate_header="alb-passthrough", **options)
    assert chosen.certificates.methods == ("self_signed_tls_client_auth",)
    # The same without the check of the settings.
    assert Certificates(chosen.certificates.proxies, trust="ca").methods == ("self_signed_tls_client_auth",)
