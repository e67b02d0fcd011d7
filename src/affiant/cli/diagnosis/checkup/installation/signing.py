"""Checks of the keys that sign access tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from affiant.cli.diagnosis.checkup.finding import BAD, GOOD, WARNING, Finding
from affiant.cli.diagnosis.checkup.installation.inspected import DAY
from affiant.errors import Error
from affiant.server.keys import calendar
from affiant.server.keys.kms import KmsKey
from affiant.server.keys.vault import TokenKey, Vault
from affiant.server.settings import Settings
from affiant.storage.records import SigningKey
from affiant.system.text import instant, one_line

_LATE = 2 * DAY  # after a successor was due: a server that runs makes it within a minute
_KMS_SOON = 30 * DAY


async def look(keys: Sequence[SigningKey], vault: Vault, chosen: Settings, now: float) -> AsyncIterator[Finding]:
    """Yield a finding for the key that signs in each line."""
    for line in sorted({"", *(key.line for key in calendar.live(keys, now))}):
        mine = calendar.of_line(keys, line)
        signer = calendar.find_signer(mine, now)
        if signer is None:
            yield Finding("signing key", BAD, "there is none", "affiant signing-key rotate, or start the server")
            continue
        yield await _use(signer, vault)
        if calendar.find_announced(mine, now) is None:
            yield _successor(signer, calendar.due_at(signer, chosen.calendar), now)


async def _use(signer: SigningKey, vault: Vault) -> Finding:
    """Sign once where the key is not in the database."""
    what = f"{signer.kid} ({signer.alg}) signs since {instant(signer.active_at or signer.created_at)}"
    try:
        await vault.check(signer)
        key = vault.open(signer).signer
        if isinstance(key, TokenKey | KmsKey):
            await key.prove()
            what += f", in {'a KMS' if isinstance(key, KmsKey) else f'the PKCS #11 token {key.label}'}"
    except Error as error:
        return Finding("signing key", BAD, f"{signer.kid} cannot sign: {one_line(error)}", "affiant signing-key list")
    return Finding("signing key", GOOD, what)


def _successor(signer: SigningKey, due_at: int, now: float) -> Finding:
    if signer.kms and due_at - now < _KMS_SOON:
        text = f"{signer.kid} is in a KMS, and its successor is due at {instant(due_at)}: the server cannot make it"
        return Finding("next key", WARNING, text, "affiant signing-key rotate --key NAME")
    if now - due_at > _LATE:
        text = f"the successor of {signer.kid} was due at {instant(due_at)}: no server has run since"
        return Finding("next key", WARNING, text, "start the server, which makes it")
    return Finding("next key", GOOD, f"it will be announced at {instant(due_at)}")
