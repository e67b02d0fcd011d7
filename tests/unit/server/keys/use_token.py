"""Make, use and erase keys in the token that the environment names: `use_token.py ALG...`; prints what came of each."""

import asyncio
import json
import os
import sys
from pathlib import Path

from affiant.errors import Error
from affiant.jose import compact
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault
from affiant.signers.pkcs11.token import load


async def main(algorithms: list[str]) -> dict[str, str]:
    token = load(Path(os.environ["AFFIANT_PKCS11_MODULE"]), os.environ["AFFIANT_PKCS11_TOKEN"], None)
    vault, found = Vault(MasterKey.from_bytes(bytes(32)), token), {}
    for alg in algorithms:
        try:
            opened = vault.open(await vault.generate(alg, now=1_800_000_000))
            text = await compact.sign_with("at+jwt", {"iss": "x"}, opened.signer)
            compact.verify(compact.parse(text), opened.public)
            assert await token.list() == {opened.public.kid}
            await token.erase(await token.list())
            found[alg] = "" if await token.list() == set() else "it is still there"
        except Error as error:
            found[alg] = str(error)
    await token.close()
    return found


print(json.dumps(asyncio.run(main(sys.argv[1:]))))
