"""Make a key in the token that the environment names, then sign with it by its URI: `use_uri.py ALG`."""

import asyncio
import os
import sys
from pathlib import Path
from urllib.parse import quote

from affiant.jose import compact, jwk, keys
from affiant.signers.opening import open_signer
from affiant.signers.pkcs11.token import load


async def main(alg: str) -> None:
    label = os.environ["AFFIANT_PKCS11_TOKEN"]
    token = load(Path(os.environ["AFFIANT_PKCS11_MODULE"]), label, None)
    made = await token.generate("by-uri", alg)
    signer = open_signer(f"pkcs11:token={quote(label)};id=by-uri", alg=alg)
    unverified = compact.parse(compact.sign({"typ": "JWT"}, {"iss": "x"}, signer))
    compact.verify(unverified, keys.parse_public_jwk({**jwk.build(made), "alg": alg}))
    assert unverified.kid == keys.parse_public_jwk(jwk.build(made)).thumbprint
    await token.erase(["by-uri"])


asyncio.run(main(*sys.argv[1:]))
