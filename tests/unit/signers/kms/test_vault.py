"""Keys in the transit engine of Vault: what is sent, the version, the token, and what is refused."""

from pathlib import Path

import pytest
from tests.certificates import make_authority
from tests.kms.vault import TOKEN, Vault

from affiant.errors import LocalError, RemoteError, Unreachable
from affiant.signers.kms.vault_http import VaultServer
from affiant.signers.opening import open_signer

DATA = b"header.claims"
NAME = "vault:teams/transit/ES256"
SENT = {"prehashed": False, "marshaling_algorithm": "jws", "salt_length": "hash", "key_version": 1}


@pytest.mark.parametrize(
    ("alg", "members"),
    [
        ("ES384", {"hash_algorithm": "sha2-384", "signature_algorithm": "pss"}),
        ("PS256", {"hash_algorithm": "sha2-256", "signature_algorithm": "pss"}),
        ("RS512", {"hash_algorithm": "sha2-512", "signature_algorithm": "pkcs1v15"}),
        ("Ed25519", {"hash_algorithm": "sha2-512", "signature_algorithm": "pss"}),
    ],
)
def test_no_default_is_left_to_the_server(vault_server: Vault, alg: str, members: dict[str, str]) -> None:
    open_signer(f"vault:teams/transit/{'RSA' if alg[1] == 'S' and alg[0] in 'PR' else alg}", alg=alg).sign(DATA)
    sent = vault_server.requests[-1].members
    del sent["input"]
    assert sent == {**SENT, **members}


def test_the_version_is_pinned(vault_server: Vault) -> None:
    signer = open_signer(NAME)
    public = signer.public()
    vault_server.versions = 2  # rotated
    public.verify("ES256", DATA, signer.sign(DATA))
    newest = open_signer(NAME).public()
    assert newest != public
    assert open_signer(f"{NAME}:1").public() == public
    assert open_signer(f"{NAME}:2").public() == newest
    with pytest.raises(LocalError, match="Vault has no version 3 of the key"):
        open_signer(f"{NAME}:3").public()


def test_the_answer_is_of_the_pinned_version(vault_server: Vault) -> None:
    vault_server.spoil = lambda answer: {"data": answer["data"] | {"signature": "vault:v2:AAAA"}}
    with pytest.raises(RemoteError, match="did not answer with a signature by version 1"):
        open_signer(NAME).sign(DATA)


def test_the_token_file_is_read_each_time(vault_server: Vault, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    monkeypatch.setenv("VAULT_TOKEN_FILE", str(path))
    monkeypatch.delenv("VAULT_TOKEN")
    signer = open_signer(NAME)
    signer.sign(DATA)
    path.write_text("hvs.renewed")
    with pytest.raises(
        LocalError, match="refuses the token: it has expired, or no policy of it allows update on"
    ) as caught:
        signer.sign(DATA)
    assert "hvs" not in str(caught.value)
    path.chmod(0o644)
    with pytest.raises(LocalError, match="others may read"):
        open_signer(NAME)
    path.unlink()
    with pytest.raises(LocalError, match="the file that VAULT_TOKEN_FILE names does not exist"):
        open_signer(NAME)


def test_the_authority_of_the_server_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = make_authority()
    certificate, _ = authority.write(tmp_path, "authority")
    with Vault(authority.serve("127.0.0.1")) as imitation:
        monkeypatch.setenv("VAULT_ADDR", imitation.url)
        monkeypatch.setenv("VAULT_TOKEN", TOKEN)
        with pytest.raises(
            Unreachable, match=r"is of an authority that is not trusted here .* set VAULT_CACERT to a PEM"
        ):
            open_signer(NAME).sign(DATA)
        assert imitation.requests == []
        monkeypatch.setenv("VAULT_CACERT", str(certificate))
        open_signer(NAME).sign(DATA)


def test_the_namespace_is_sent(vault_server: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_NAMESPACE", "teams/a")
    open_signer(NAME).sign(DATA)
    assert vault_server.requests[-1].headers["x-vault-namespace"] == "teams/a"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("VAULT_ADDR", "", "the address is missing: set VAULT_ADDR"),
        ("VAULT_ADDR", "http://vault.example:8200", "must be an https URL"),
        ("VAULT_ADDR", "vault.example", "must be an https URL"),
        ("VAULT_ADDR", "http://[", "must be an https URL"),
        ("VAULT_TOKEN", "", "the token is missing: set VAULT_TOKEN_FILE to a file, or VAULT_TOKEN"),
        ("VAULT_TOKEN", "a\r\nb", "the token is missing"),
        ("VAULT_CACERT", "/none.pem", "VAULT_CACERT names /none.pem"),
    ],
)
def test_an_environment_that_lacks_something(
    vault_server: Vault, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(LocalError, match=words):
        open_signer(NAME)
    assert vault_server.requests == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vault:teams/transit/none", "Vault has no key at teams/transit/keys/none"),
        ("vault:other/ES256", "is this the mount of the transit engine"),
    ],
)
def test_a_key_that_is_missing(vault_server: Vault, name: str, words: str) -> None:
    with pytest.raises(LocalError, match=words):
        open_signer(name).sign(DATA)


def test_a_type_that_does_not_sign(vault_server: Vault) -> None:
    vault_server.kind = "aes256-gcm96"
    with pytest.raises(LocalError, match="is a key of the type 'aes256-gcm96', which signs no JWS"):
        open_signer(NAME).sign(DATA)


@pytest.mark.parametrize(("status", "words"), [(307, "redirect, which is not followed"), (400, "Vault refuses teams/")])
def test_another_status(vault_server: Vault, status: int, words: str) -> None:
    vault_server.broken = (status, b"{}")
    with pytest.raises(LocalError, match=words):
        open_signer(NAME).sign(DATA)


@pytest.mark.parametrize("place", ["", "orders", "/orders", "a//b", "a/b:0", "a/b:x", "../sys/b", "a/b?x", "a/b/"])
def test_a_key_is_named(vault_server: Vault, place: str) -> None:
    with pytest.raises(LocalError, match="does not name a key: vault:MOUNT/KEY"):
        open_signer(f"vault:{place}")


@pytest.mark.parametrize("content", [b"canary\xff", b"canary\n\ncanary", b""])
def test_a_token_that_cannot_be_sent_is_in_no_local_variable(
    content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Attack: a reporter of errors shows the local variables, and with them the environment and the token."""
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    monkeypatch.setenv("VAULT_TOKEN", "canary")
    monkeypatch.setenv("VAULT_TOKEN_FILE", str(path))
    with pytest.raises(LocalError) as caught:
        VaultServer("vault:transit/billing")
    frames = caught.traceback[1:]  # without this test
    assert "canary" not in "".join(repr(frame.locals) for frame in frames)
