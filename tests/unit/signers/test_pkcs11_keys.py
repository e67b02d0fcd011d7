"""Keys of clients in a PKCS #11 token (SoftHSM): others made them, the URI of RFC 7512 names them."""

import datetime
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from pkcs11 import Attribute, ObjectClass
from tests import softhsm, tokens
from tests.softhsm import LABEL, PIN

from affiant.client import Credentials, Service
from affiant.errors import Error, LocalError, Unreachable
from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey
from affiant.signers.checked import Checked
from affiant.signers.opening import open_signer
from affiant.signers.pkcs11 import key as token_key
from affiant.signers.pkcs11 import uri as uri_parts
from affiant.signers.pkcs11.session import Session
from affiant.signers.pkcs11.token import Token

Make = Callable[..., tuple[str, PrivateKey]]
USE = str(Path(__file__).with_name("use_uri.py"))


@pytest.fixture(autouse=True)
def _pin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFIANT_PKCS11_PIN", PIN)


def _import(hsm: softhsm.SoftHsm, key: PrivateKey, folder: Path, label: str, id_: str, *more: str) -> None:
    tool = shutil.which("softhsm2-util")
    assert tool is not None
    path = folder / "key.pem"
    pkcs8, bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.key.private_bytes(serialization.Encoding.PEM, pkcs8, bare))
    words = ("--import", str(path), "--token", LABEL, "--label", label, "--id", id_, "--pin", PIN, *more)
    environment = {**os.environ, softhsm.CONFIGURATION: str(hsm.configuration)}
    subprocess.run([tool, *words], env=environment, check=True, capture_output=True)


@pytest.fixture
def make(hsm: softhsm.SoftHsm, tmp_path: Path, request: pytest.FixtureRequest) -> Make:
    """Let the tool of SoftHSM import a key; return its URI, and the key."""
    number = iter(range(1, 100))

    def made(alg: str = "ES256", *more: str, **query: str) -> tuple[str, PrivateKey]:
        key, label = keys.generate(alg), f"{request.node.name}-{next(number)}"
        id_ = os.urandom(4)
        _import(hsm, key, tmp_path, label, id_.hex(), *more)
        asked = {"module-path": str(hsm.module), **query}
        named = "&".join(f"{name}={quote(value, safe='/:')}" for name, value in asked.items())
        return f"pkcs11:token={LABEL};object={quote(label)};id={quote(id_)}?{named}", key

    return made


@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512", "RS256", "PS256", "Ed25519"])
@pytest.mark.rfc(7512, "2.3")
def test_key_that_others_made_signs_for_its_uri(make: Make, alg: str) -> None:
    """Its public part, its algorithm and its kid are read from the token."""
    uri, key = make(alg)
    signer = open_signer(uri, alg=alg if alg == "PS256" else None)
    unverified = compact.parse(compact.sign({"typ": "JWT"}, {"iss": "x"}, signer))
    assert (unverified.alg, unverified.kid) == (alg, key.public().thumbprint)
    assert compact.verify(unverified, key.public()).claims == {"iss": "x"}


def test_either_label_or_id_is_enough(make: Make) -> None:
    uri, key = make()
    place, _, query = uri.partition("?")
    token, label, id_ = place.split(";")
    for part in (label, id_):
        assert open_signer(f"{token};{part}?{query}").kid == key.kid
    assert open_signer(f"{token};{label};type=private?{query}", kid="named").kid == "named"


def test_algorithm_must_be_one_of_the_key(make: Make) -> None:
    uri, _ = make()
    with pytest.raises(
        LocalError, match=f"the private key with the label .* in the PKCS #11 token {LABEL} is a key for ES256"
    ):
        open_signer(uri, alg="RS256").sign(b"x")


def test_service_takes_a_uri_and_a_credentials_file_too(make: Make, tmp_path: Path) -> None:
    uri, key = make()
    service = Service("https://as.example", "c1", key=uri)
    text = service.assertion()
    assert compact.verify(compact.parse(text), key.public()).claims["sub"] == "c1"
    assert PIN not in repr(service)
    path = tmp_path / "c1.affiant.json"
    Credentials("https://as.example", "c1", "private_key_jwt", signer=uri, kid="k1").write(path)
    unverified = compact.parse(Service.from_credentials(path).assertion())
    assert unverified.kid == "k1"
    with pytest.raises(TypeError):
        pickle.dumps(open_signer(uri))


def test_page_runs_as_it_is_there(make: Make, tmp_path: Path) -> None:
    """With the key of this test in place of the token, the object and the module of the page."""
    uri, key = make()
    pin = tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o600)
    page = (Path(__file__).parents[3] / "docs/how-to/pkcs11.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    shown = "pkcs11:token=affiant;object=billing?module-path=/usr/lib/softhsm/libsofthsm2.so"
    assert shown in code
    names: dict[str, Any] = {"Service": Service, "issuer": "https://as.example"}
    exec(code.replace(shown, uri).replace("/run/secrets/pkcs11-pin", str(pin)), names)
    assert compact.verify(compact.parse(names["service"].assertion()), key.public()).claims["sub"] == "billing"


def test_public_part_is_that_of_a_certificate_where_there_is_no_other(make: Make, hsm: softhsm.SoftHsm) -> None:
    uri, key = make("ES256", "--no-public-key")
    with pytest.raises(LocalError, match="is not in the token: import it, or a certificate, with the same id"):
        open_signer(uri).sign(b"x")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "c1")])
    now = datetime.datetime.now(datetime.UTC)
    unsigned = x509.CertificateBuilder(name, name, key.public().key, 1, now, now + datetime.timedelta(days=1))
    held = unsigned.sign(key.key, SHA256())
    found = uri_parts.parse(uri.removeprefix("pkcs11:"))
    attributes: dict[Attribute, Any] = {
        Attribute.CLASS: ObjectClass.CERTIFICATE,
        Attribute.CERTIFICATE_TYPE: 0,
        Attribute.ID: found.id,
        Attribute.TOKEN: True,
        Attribute.SUBJECT: name.public_bytes(),
        Attribute.VALUE: held.public_bytes(serialization.Encoding.DER),
    }
    Token(hsm.module, LABEL, PIN).wait(lambda session: session.create_object(attributes), 5)
    assert open_signer(uri).kid == key.kid


def test_public_part_of_another_key_is_found_out_with_the_first_signature(
    make: Make, hsm: softhsm.SoftHsm, tmp_path: Path
) -> None:
    """A server would answer invalid_client, and give no reason."""
    uri, _ = make("ES256", "--no-public-key")
    label = uri.partition("object=")[2].partition(";")[0]
    id_ = uri_parts.parse(uri.removeprefix("pkcs11:")).id
    assert id_ is not None
    _import(hsm, keys.generate("ES256"), tmp_path, f"{label}-other", id_.hex(), "--force")
    signer = open_signer(uri)
    with pytest.raises(
        LocalError, match="made a signature that does not verify with its public key: another key made it"
    ):
        signer.sign(b"x")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("object=", "object=no-"),
            "there is no private key with the label no-.* in the PKCS #11 token .*correct object= or id=",
        ),
        ((f"token={LABEL}", "token=nobody"), f"there is no PKCS #11 token nobody .*{LABEL}.*correct token= in the URI"),
        (("libsofthsm2", "libnothing"), "the PKCS #11 module .*libnothing.so cannot be used .*module-path="),
    ],
)
def test_what_is_not_there_is_named(make: Make, change: tuple[str, str], says: str) -> None:
    uri, _ = make()
    with pytest.raises(LocalError, match=says) as told:
        open_signer(uri.replace(*change)).sign(b"x")
    assert "\n" not in str(told.value)


def test_of_two_keys_with_one_label_none_signs(make: Make, hsm: softhsm.SoftHsm, tmp_path: Path) -> None:
    uri, _ = make()
    place, _, query = uri.partition("?")
    token, label, _ = place.split(";")
    _import(hsm, keys.generate("ES256"), tmp_path, label.removeprefix("object="), "77", "--force")
    with pytest.raises(LocalError, match=r"2 keys of the token fit .*give object= and id= in the URI"):
        open_signer(f"{token};{label}?{query}").sign(b"x")
    assert open_signer(uri).sign(b"x")


def test_wrong_pin_is_tried_once_by_all_services_of_a_process(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token locks itself after a few; each service would try once."""
    uri, _ = make()
    for session in token_key._sessions.values():  # a token of which one session is open opens others without a PIN
        session._thread().wait(session._leave, seconds=5)
    asked: list[str] = []
    real = Session._log_in

    def counted(self: Any, token: Any) -> Any:
        asked.append(self._refused)
        return real(self, token)

    monkeypatch.setattr(Session, "_log_in", counted)
    monkeypatch.setenv("AFFIANT_PKCS11_PIN", "not-the-pin")
    for _ in range(20):
        with pytest.raises(LocalError, match=r"refuses the PIN \(PinIncorrect\): correct") as told:
            open_signer(uri).sign(b"x")
        assert "not-the-pin" not in str(told.value)
    assert asked.count("") == 1
    monkeypatch.setenv("AFFIANT_PKCS11_PIN", PIN)
    assert open_signer(uri).sign(b"x")


def test_pin_comes_from_a_file_that_others_cannot_read(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AFFIANT_PKCS11_PIN")
    path = tmp_path / "the pin"
    path.write_text(f"{PIN}\n")
    path.chmod(0o644)
    uri, _ = make(**{"pin-source": f"file:{path}"})
    with pytest.raises(LocalError, match="chmod 600"):
        open_signer(uri)
    path.chmod(0o600)
    assert open_signer(uri).sign(b"x")
    path.unlink()
    with pytest.raises(LocalError, match=r"the PIN file .* cannot be read"):
        open_signer(uri)
    with pytest.raises(LocalError, match="needs a PIN: add  pin-source=file:/PATH"):
        open_signer(uri.partition("&pin-source")[0])


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("object=a", "does not name a token"),
        ("token=t", "does not name a key"),
        ("token=t;object=a;object=b", "is given once"),
        ("token=t;object", "each attribute is NAME=VALUE"),
        ("token=t;id=%0", "% is not followed by two digits"),
        ("token=t;object=%ff", "'object' is not UTF-8"),
        ("token=t;object=a;type=public", "names a private key"),
        ("token=t;object=a;slot-id=1", "'slot-id' is not read: it may have token"),
        ("token=t;object=a;x-vendor=1", "'x-vendor' is not read"),
        ("token=t;object=a?module-name=softhsm2", "'module-name' is not read: it may have module-path, pin-source"),
        ("token=t;object=a?pin-source=%7Ccat%20/pin", "is not a file of this machine"),
        ("token=t;object=a?pin-source=https://x/pin", "is not a file of this machine"),
        ("token=t;object=a", "needs the library of the token: add  .module-path=FILE"),
    ],
)
@pytest.mark.rfc(7512, "2.4")
def test_uri_that_is_not_read_whole_is_refused(monkeypatch: pytest.MonkeyPatch, uri: str, says: str) -> None:
    """An ignored attribute could mean another key, or run a program."""
    monkeypatch.delenv("AFFIANT_PKCS11_MODULE", raising=False)
    with pytest.raises(LocalError, match=says) as told:
        open_signer(f"pkcs11:{uri}")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "uri", ["token=t;object=a?pin-value=s3cret", "token=t;object=a;pin-value=s3cret", "?pin-value=s3cret"]
)
def test_pin_in_a_uri_is_refused_and_not_repeated(uri: str, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"pin-value= is not read.*pin-source=file:/PATH") as told:
        Service("https://as.example", "c1", key=f"pkcs11:{uri}")
    assert "s3cret" not in str(told.value)
    found = Credentials("https://as.example", "c1", "private_key_jwt", signer=f"pkcs11:{uri}")
    assert "s3cret" not in repr(found)


def test_token_that_is_pulled_out_is_unreachable_and_heals(make: Make, hsm: softhsm.SoftHsm) -> None:
    uri, key = make()
    signer = open_signer(uri)
    signer.sign(b"x")
    session = next(one for one in token_key._sessions.values() if one.handles)
    held = hsm.configuration.parent / "tokens"
    held.rename(held.with_name("away"))
    session._thread().wait(session._renew, seconds=5)
    try:
        with pytest.raises(Error, match=r"the PKCS #11 (module|token) .*"):
            signer.sign(b"x")
    finally:
        held.with_name("away").rename(held)
    again = open_signer(uri)
    key.public().verify("ES256", b"x", again.sign(b"x"))


def test_token_that_hangs_is_unreachable(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, _ = make()
    signer, end = open_signer(uri), threading.Event()
    signer.sign(b"x")
    monkeypatch.setattr(token_key, "SECONDS", 0.2)
    session = next(one for one in token_key._sessions.values() if one.handles)
    with pytest.raises(Error, match="did not answer within"):
        session.wait(lambda _: end.wait(20), 0.2)
    with pytest.raises(Unreachable, match=r"(does|did) not answer"):
        signer.sign(b"x")
    end.set()


def test_child_that_was_forked_signs_in_a_session_of_its_own(make: Make) -> None:
    uri, key = make()
    signer = open_signer(uri)
    signer.sign(b"x")
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that threads are left behind is what is tested
        child = os.fork()
    if child == 0:
        try:
            os.write(write, signer.sign(b"child"))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        signature = pipe.read()
    os.waitpid(child, 0)
    key.public().verify("ES256", b"child", signature)
    key.public().verify("ES256", b"x", signer.sign(b"x"))


def test_threads_share_the_one_thread_of_the_module(make: Make) -> None:
    uri, key = make()
    signer = open_signer(uri)
    assert isinstance(signer, Checked)
    with ThreadPoolExecutor(16) as pool:
        for number, signature in enumerate(pool.map(lambda n: signer.sign(b"%d" % n), range(64))):
            key.public().verify("ES256", b"%d" % number, signature)


@pytest.mark.parametrize("foreign", [tokens.NSS, tokens.OPENCRYPTOKI, tokens.TPM], ids=["NSS", "openCryptoki", "TPM"])
def test_keys_in_tokens_that_others_wrote_sign(tmp_path: Path, foreign: tokens.Foreign) -> None:
    if foreign.missing:
        pytest.skip(foreign.missing)
    done = foreign.run(tmp_path, sys.executable, USE, "RS256" if foreign is tokens.OPENCRYPTOKI else "ES256")
    assert done.returncode == 0, done.stdout + done.stderr
