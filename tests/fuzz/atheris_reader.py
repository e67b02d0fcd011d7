"""Coverage-guided fuzzing of the compact reader: `python tests/fuzz/atheris_reader.py -max_total_time=60`.

Atheris is no dependency of affiant: `pip install atheris` into an environment that has affiant too. Arguments are
libFuzzer's: -max_total_time=SECONDS, -runs=NUMBER, a folder for the corpus.
"""

import importlib
import sys
from typing import Any

try:
    atheris: Any = importlib.import_module("atheris")
except ImportError:
    sys.exit("atheris is missing: python -m pip install atheris (Linux or macOS, CPython 3.11 or newer)")

with atheris.instrument_imports(include=["affiant.jose", "affiant.oauth", "json"]):
    from affiant.errors import Rejected
    from affiant.jose import base64url, compact
    from affiant.jose.keys import SecretKey
    from affiant.oauth import assertion

ISSUER, NOW = "https://as.example", 1_800_000_000
KEY = SecretKey(b"x" * 32)
RULES = assertion.Rules(ISSUER, f"{ISSUER}/token")
SEEDS = (
    b'\x00{"alg":"HS256","typ":"JWT"}\x00{"iss":"c","sub":"c","aud":"https://as.example","exp":1800000060,"jti":"j"}',
    b'\x00{"alg":"HS256","kid":"k","crit":["x"]}\x00{"exp":1e3,"nbf":-1,"iat":0.5,"aud":["https://as.example"]}',
    b"\x01eyJhbGciOiJIUzI1NiJ9.e30.AAAA",
)


def try_one(data: bytes) -> None:
    """Read what a stranger made of these bytes: raw text, or a header and a payload that are rightly signed."""
    text = data[1:].decode("utf-8", "replace") if data[:1] == b"\x01" else _signed(data[1:])
    try:
        unverified = compact.parse(text)
    except Rejected:
        return
    # One value has one spelling: whoever encodes what was read gets the same characters.
    assert text.split(".")[2] == base64url.encode(unverified.signature)
    assert text.rpartition(".")[0].encode("ascii") == unverified.signing_input
    try:
        assertion.check_names(unverified, client_id=None)
        verified = compact.verify(unverified, KEY)
        statement = assertion.verify(verified, rules=RULES, now=NOW, whole=text.encode("ascii"))
    except Rejected:
        return
    assert statement.live_until > NOW
    assert unverified.alg == KEY.alg


def _signed(data: bytes) -> str:
    header, _, payload = data.partition(b"\x00")
    signing_input = f"{base64url.encode(header)}.{base64url.encode(payload)}"
    return f"{signing_input}.{base64url.encode(KEY.sign(signing_input.encode('ascii')))}"


if __name__ == "__main__":
    for seed in SEEDS:
        try_one(seed)
    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()
