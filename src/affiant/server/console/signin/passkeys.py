"""Passkeys: discoverable credentials of WebAuthn with user verification. The package `webauthn` verifies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import webauthn
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import base64url, strict_json
from affiant.server.console.origins import Origins
from affiant.server.console.signin.challenges import SECONDS, SIGN_IN, Challenges, challenge_of
from affiant.server.keys.master_key import MasterKey
from affiant.storage.records import Passkey, UsedChallenge, User

_RP_NAME = "affiant"
_MILLISECONDS = SECONDS * 1000
_MAX_DETAIL = 200  # characters
_MAX_ID = 1364  # characters of a credential id: 1023 bytes (WebAuthn section 6.5.1)


class Passkeys:
    """Makes options and verifies answers, for the console at these origins."""

    def __init__(self, master_key: MasterKey, origins: Origins) -> None:
        self._challenges = Challenges(master_key)
        self._origins = origins

    def registration(self, user: User, session: str, known: list[Passkey], now: float) -> dict[str, Any]:
        """Return the options for a new passkey of this user (PublicKeyCredentialCreationOptionsJSON)."""
        options = webauthn.generate_registration_options(
            rp_id=self._rp_id,
            rp_name=_RP_NAME,
            user_name=user.name,
            user_id=base64url.decode(user.handle),
            challenge=self._challenges.make(session, now),
            timeout=_MILLISECONDS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
            ),
            exclude_credentials=[PublicKeyCredentialDescriptor(id=base64url.decode(passkey.id)) for passkey in known],
        )
        return strict_json.parse_object(webauthn.options_to_json(options).encode())

    def sign_in(self, now: float) -> dict[str, Any]:
        """Return the options for a sign-in with any passkey of this server (PublicKeyCredentialRequestOptionsJSON)."""
        options = webauthn.generate_authentication_options(
            rp_id=self._rp_id,
            challenge=self._challenges.make(SIGN_IN, now),
            timeout=_MILLISECONDS,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return strict_json.parse_object(webauthn.options_to_json(options).encode())

    def verify_new(
        self, credential: dict[str, Any], user: User, session: str, label: str, now: float
    ) -> tuple[Passkey, UsedChallenge]:
        """Return the new passkey and its challenge; raise CONSOLE_PASSKEY for an answer that is not accepted."""
        try:
            challenge = challenge_of(_response(credential).get("clientDataJSON"))
            used = self._challenges.check(challenge, session, now)
            made = webauthn.verify_registration_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=list(self._origins.all),
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, TypeError, LookupError, RecursionError) as error:
            raise _refused(error) from None
        id = base64url.encode(made.credential_id)  # noqa: A001 - its name
        return Passkey(id, user.name, made.credential_public_key, made.sign_count, label, int(now)), used

    def verify(
        self, credential: dict[str, Any], passkey: Passkey, user: User, now: float
    ) -> tuple[Passkey, UsedChallenge]:
        """Return the passkey with its new count, and the challenge; raise CONSOLE_PASSKEY for another answer."""
        try:
            response = _response(credential)
            challenge = challenge_of(response.get("clientDataJSON"))
            used = self._challenges.check(challenge, SIGN_IN, now)
            # WebAuthn section 7.2 step 6: without a user name, the authenticator says whose passkey it is.
            if response.get("userHandle") != user.handle:
                raise ValueError("the passkey names another user")
            verified = webauthn.verify_authentication_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=list(self._origins.all),
                credential_public_key=passkey.public_key,
                credential_current_sign_count=passkey.sign_count,
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, TypeError, LookupError, RecursionError) as error:
            raise _refused(error) from None
        return replace(passkey, sign_count=verified.new_sign_count), used

    @property
    def _rp_id(self) -> str:
        if self._origins.rp_id is None:
            raise Rejected(Reason.CONSOLE_PASSKEY, detail="this server has no host name")
        return self._origins.rp_id


def credential_id(credential: dict[str, Any]) -> str:
    """Return the id of the credential that answers, or a text that is the id of none."""
    found = credential.get("id")
    return found if isinstance(found, str) and len(found) <= _MAX_ID else ""


def _response(credential: dict[str, Any]) -> dict[str, Any]:
    found = credential.get("response")
    if not isinstance(found, dict):
        raise ValueError("the answer has no response")  # noqa: TRY004 - callers catch one kind
    return found


def _refused(error: Exception) -> Rejected:
    return Rejected(Reason.CONSOLE_PASSKEY, detail=str(error)[:_MAX_DETAIL])
