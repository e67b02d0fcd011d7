"""Every setting, set wrong in every place: the refusal names the setting, the place and what to write."""

import json
from pathlib import Path
from typing import Any

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from affiant.cli.connection.data import load
from affiant.errors import ConfigError
from affiant.server import settings
from affiant.server.settings import Settings

# Of each setting a wrong value, what a message about it must say, and what must be set beside it.
WRONG: dict[str, tuple[str, str]] = {
    "data": ("", "write a path"),
    "database": ("mysql://u:canary-cafe@h/d", "write postgresql://USER@HOST/NAME"),
    "master_key_file": ("", "write a path"),
    "issuer": ("http://as.example", "must start with https://"),
    "host": ("127.0.0.1:80", "write an address such as 127.0.0.1"),
    "port": ("80x", "write a whole number from 0 to 65535, not '80x'"),
    "workers": ("0", "write a whole number from 1 to 64, not '0'"),
    "max_connections": ("8", "write a whole number from 16 to 1000000, not '8'"),
    "max_connections_per_address": ("-1", "write a whole number from 0 to 1000000, not '-1'"),
    "trusted_proxies": ("nginx", "'nginx' is not an address or a network: write one such as 10.0.0.5"),
    "exchange_depth": ("17", "write a whole number from 1 to 16, not '17'"),
    "jwks_uri_allow": ("10.0.0.300", "'10.0.0.300' is not a host name, an address or a network"),
    "tls_cert": ("", "write a path"),
    "tls_key": ("", "write a path"),
    "tls_client_ca": ("", "write a path"),
    "client_certificate_proxies": ("10.0.0.5/8", "is 10.0.0.0/8 meant?"),
    "client_certificate_trust": ("all", "write ca or any, not 'all'"),
    "client_certificate_header": ("traefik", "choose one of rfc9440, nginx, xfcc"),
    "mtls_url": ("http://as.example", "must start with https://"),
    "fapi": ("yes", "write off or on, not 'yes'"),
    "auth_methods": ("password", "write some of private_key_jwt"),
    "software_statement_issuers": ("https://publisher.example", "write a JSON object"),
    "authorization_endpoint": ("true", "write off or on, not 'true'"),
    "console": ("yes", "write off or on, not 'yes'"),
    "signing_alg": ("HS256", "write one of "),
    "signing_key_days": ("1", "write a whole number from 2 to 3650, not '1'"),
    "signing_key_announce_days": ("90", "write fewer days than signing_key_days"),
    "pkcs11_module": ("", "write a path"),
    "pkcs11_token": ("x" * 33, "write text of 1 to 32 characters"),
    "pkcs11_pin_file": ("", "write a path"),
    "dpop_nonces": ("1", "write off or on, not '1'"),
    "transaction_tokens": ("1", "write off or on, not '1'"),
    "failure_burst": ("9" * 12, "write a whole number from 0 to 1000000000"),
    "failure_rate": ("nan", "write a number from 0.0001 to 1000000000, not 'nan'"),
    "token_burst": ("-1", "write a whole number from 0 to 1000000000, not '-1'"),
    "token_rate": ("0", "write a number from 0.0001 to 1000000000, not '0'"),
    "audit_keep": ("90", "write 90d, 12w or 36h"),
    "audit_archive": ("", "write a path"),
    "metrics": ("9377", "write HOST:PORT, such as 127.0.0.1:9377"),
    "traces": ("yes", "write off or on or linked, not 'yes'"),
    "log": ("text", "write auto or human or json, not 'text'"),
    "log_level": ("debug", "write warning or info, not 'debug'"),
    "audit_file": ("", "write a path"),
    "audit_syslog": ("logs.example", "write unix:/dev/log, udp://HOST:514"),
    "audit_webhook": ("http://siem.example/", "must begin with https://"),
    "audit_webhook_secret_file": ("", "write a path"),
    "audit_sinks_begin": ("never", "write now or start, not 'never'"),
    "access_token_lifetime": ("10m", "write a whole number from 10 to 3600, not '10m'"),
}
# Given on the command line, what click makes of them first is a path.
pytestmark = pytest.mark.usefixtures("no_settings")
PATHS = {
    *("data", "master_key_file", "audit_archive", "tls_cert", "tls_key", "tls_client_ca"),
    *("pkcs11_module", "pkcs11_pin_file"),
}
PATHS |= {"audit_file", "audit_webhook_secret_file"}
OPTIONS = {"database", "issuer", "host", "port", "workers", "signing_alg"}


def _refusal(**options: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        load(**options)
    text = str(refused.value)
    assert "\n" not in text
    assert "canary" not in text
    return text


def test_every_setting_has_its_row() -> None:
    assert set(WRONG) == set(Settings.model_fields)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_in_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value, says = WRONG[name]
    monkeypatch.setenv(f"AFFIANT_{name.upper()}", value)
    text = _refusal()
    assert text.startswith(f"AFFIANT_{name.upper()}: ")
    assert says in text


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_in_the_file(name: str) -> None:
    value, says = WRONG[name]
    Path("affiant.toml").write_text(f"{name} = {json.dumps(value)}\n")
    text = _refusal()
    assert text.startswith(f"{name} in affiant.toml: ")
    assert says in text


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_a_wrong_value_as_an_option(name: str) -> None:
    value, says = WRONG[name]
    text = _refusal(**{name: value})
    assert text.startswith(f"--{name.replace('_', '-')}: ")
    assert says in text


def test_a_default_that_another_setting_makes_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that signs for 7 days cannot be followed by one that is announced for 7 days, the default."""
    monkeypatch.setenv("AFFIANT_SIGNING_KEY_DAYS", "7")
    assert _refusal() == "signing_key_announce_days: write fewer days than signing_key_days"


@pytest.mark.parametrize("name", [name for name in WRONG if name not in PATHS])
@pytest.mark.parametrize("value", ["true", "[]", '"a\\u0000b"', '"a\\nb"'])
def test_values_of_other_kinds_are_refused(name: str, value: str) -> None:
    """`port = true` would be port 1; a path with a NUL would fail where it is opened."""
    Path("affiant.toml").write_text(f"{name} = {value}\n")
    assert _refusal().startswith(f"{name} in affiant.toml")


@pytest.mark.parametrize("name", sorted(PATHS))
def test_a_path_with_a_nul_is_refused(name: str) -> None:
    Path("affiant.toml").write_text(f'{name} = "a\\u0000b"\n')
    assert _refusal().startswith(f"{name} in affiant.toml: it must not contain control characters")


def test_every_mistake_is_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("affiant.toml").write_text('prot = 9000\nworkers = 0\nmaster_key = "canary-cafe"\n')
    monkeypatch.setenv("AFFIANT_FAPPI", "on")
    text = _refusal(port="80x")
    for part in (
        "AFFIANT_FAPPI is not a setting: is AFFIANT_FAPI meant?",
        "--port: write a whole number",
        "prot in affiant.toml is not a setting: is port meant?",
        "workers in affiant.toml: write a whole number from 1 to 64, not '0'",
        "master_key in affiant.toml is not a setting: set AFFIANT_MASTER_KEY in the environment",
    ):
        assert part in text


def test_settings_that_belong_together_are_named() -> None:
    assert _refusal(tls_cert=Path("x")) == "tls_cert and tls_key must be set together"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"port = \n", "/affiant.toml, line 1, column 8: Invalid value"),
        (b"port = 1\n[port]\n", "/affiant.toml, line 2, column "),
        (b'issuer = "https://as.example\n', "/affiant.toml, line 1, column 29: "),
        (b"issuer = \xff\xfe\n", "/affiant.toml, line 1: not UTF-8"),
        (b"# one\nissuer = '\xff'\n", "/affiant.toml, line 2: not UTF-8"),
        (b"\xff\xfea\x00", "/affiant.toml, line 1: not UTF-8"),
        (b"port = 1\nport = 2\n", "/affiant.toml, line 2, column 9: Cannot overwrite a value"),
        pytest.param(b"a = " + b"[" * 100_000, "/affiant.toml", id="deep"),
    ],
)
def test_a_file_that_is_not_toml_is_named_with_its_line(content: bytes, says: str) -> None:
    Path("affiant.toml").write_bytes(content)
    assert says in _refusal()


def test_a_folder_or_a_dead_link_is_not_taken_for_no_file() -> None:
    path = Path("affiant.toml")
    path.mkdir()
    assert "affiant.toml is a folder" in _refusal()
    path.rmdir()
    path.symlink_to("nowhere")
    assert "is a link to a file that does not exist" in _refusal()


@pytest.mark.parametrize("wrong", ["nginx", "localhost", "10.0.0.300", "10.0.0.1,*", "*,10.0.0.1", "10.0.0.1:80", "/8"])
@pytest.mark.parametrize("name", ["trusted_proxies", "client_certificate_proxies"])
def test_proxies_are_addresses(name: str, wrong: str) -> None:
    """By name, nothing would be trusted, and every caller would have the address of the proxy."""
    assert "is not an address or a network" in _refusal(**{name: wrong})


def test_everybody_is_trusted_only_with_a_warning_and_never_for_certificates() -> None:
    (warning,) = load(trusted_proxies="*").warnings
    assert warning.startswith("trusted_proxies believes every address: ")
    assert load(trusted_proxies=" * ").forwarding == ["*"]
    assert load(trusted_proxies="0.0.0.0/0").warnings
    assert load(trusted_proxies="::/0").warnings
    assert load(client_certificate_proxies="0.0.0.0/0").warnings
    assert not load(trusted_proxies="10.0.0.0/8, ::1", client_certificate_proxies="::1").warnings
    assert "is not an address" in _refusal(client_certificate_proxies="*")


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("10.0.0.7", "192.0.2.9"),
        ("::ffff:10.0.0.7", "192.0.2.9"),  # as a socket that listens on :: reports it
        ("fd00::1", "192.0.2.9"),
        ("10.1.0.7", "10.1.0.7"),
        ("::ffff:10.1.0.7", "::ffff:10.1.0.7"),
    ],
)
async def test_the_header_of_a_proxy_is_believed_by_every_spelling_of_its_address(peer: str, client: str) -> None:
    seen: list[Any] = []

    async def app(scope: Any, _: Any, __: Any) -> None:
        seen.append(scope["client"])

    forwarding = load(trusted_proxies="10.0.0.0/16, fd00::/8").forwarding
    headers = [(b"x-forwarded-for", b"192.0.2.9")]
    scope: Any = {"type": "http", "client": (peer, 1), "headers": headers, "scheme": "http"}
    await ProxyHeadersMiddleware(app, forwarding)(scope, None, None)  # type: ignore[arg-type]
    assert seen[0][0] == client


def test_what_set_a_value_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("affiant.toml").write_text("workers = 2\nport = 1\n")
    monkeypatch.setenv("affiant_port", "2")
    rows = {
        row.name: row
        for row in settings.described(
            load(issuer="https://as.example"), options=["issuer"], issuer="https://other.example"
        )
    }
    assert [(rows[name].value, rows[name].source) for name in ("issuer", "port", "workers", "host")] == [
        ("https://as.example", "option"),
        (2, "environment"),
        (2, "file"),
        ("127.0.0.1", "default"),
    ]


@pytest.mark.parametrize("place", ["environment", "file"])
def test_former_name_is_still_read_and_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """The present name wins beside it, and a mistake names the one that is set."""

    def put(value: str, name: str = "mcp_compat") -> None:
        if place == "environment":
            monkeypatch.setenv(f"AFFIANT_{name.upper()}", value)
        else:
            with (tmp_path / "affiant.toml").open("a", encoding="utf-8") as file:
                file.write(f'{name} = "{value}"\n')

    assert settings.warnings_of_names() == []
    put("yes")
    assert "write off or on, not 'yes'" in _refusal()
    assert ("AFFIANT_MCP_COMPAT" if place == "environment" else "authorization_endpoint in affiant.toml") in _refusal()
    (tmp_path / "affiant.toml").write_text("", "utf-8")
    put("on")
    chosen = load()
    assert chosen.authorization_endpoint == "on"
    shown = {row.name: (row.value, row.source) for row in settings.described(chosen, issuer=None, options=())}
    assert shown["authorization_endpoint"] == ("on", place)
    (warning,) = settings.warnings_of_names()
    assert "mcp_compat" in warning.lower()
    assert "authorization_endpoint" in warning.lower()
    put("off", "authorization_endpoint")
    assert load().authorization_endpoint == "off"
