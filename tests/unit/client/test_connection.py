"""The TLS settings of token requests: reading the authorities takes longer than a request, so it is done once."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import certificates
from tests.unit.client.conftest import Foreign

from affiant import Service
from affiant.errors import LocalError
from affiant.jose.keys import PrivateKey


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each time that certificates are read into a context, by whichever method."""
    seen: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **named: Any) -> Any:
            seen.append(name)
            return real(*words, **named)

        return call

    for name in ("load_verify_locations", "load_default_certs", "set_default_verify_paths", "load_cert_chain"):
        monkeypatch.setattr(ssl.SSLContext, name, counted(name, getattr(ssl.SSLContext, name)))
    return seen


def _tokens(service: Service, *scopes: str) -> None:
    for scope in scopes:
        assert service.token(scope=scope).value


def test_authorities_are_read_once(
    foreign: Foreign, key: PrivateKey, loads: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificates.authority().write(tmp_path, "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    service = Service(foreign.url, "billing", key=key)
    _tokens(service, "a")
    first = len(loads)
    assert first > 0
    _tokens(service, "b", "c", "d")
    assert len(loads) == first
    assert len(foreign.sent("/token")) == 4


def test_certificate_is_read_when_it_is_new(
    foreign: Foreign, key: PrivateKey, loads: list[str], tmp_path: Path
) -> None:
    certificate, private = certificates.lasting().write(tmp_path, "billing")
    service = Service(foreign.url, "billing", key=key, certificate=certificate, certificate_key=private)
    _tokens(service, "a", "b", "c")
    assert loads.count("load_cert_chain") == 1
    for number in (2, 3):
        certificates.lasting().write(tmp_path, "next")
        for name in ("pem", "key"):
            (tmp_path / f"next.{name}").replace(tmp_path / f"billing.{name}")
        _tokens(service, f"d{number}", f"e{number}")
        assert loads.count("load_cert_chain") == number


def test_certificate_that_is_gone_is_an_error(foreign: Foreign, key: PrivateKey, tmp_path: Path) -> None:
    certificate, private = certificates.lasting().write(tmp_path, "billing")
    service = Service(foreign.url, "billing", key=key, certificate=certificate, certificate_key=private)
    _tokens(service, "a")
    private.unlink()
    with pytest.raises(LocalError, match="certificate_key= cannot be used"):
        service.token(scope="b")
