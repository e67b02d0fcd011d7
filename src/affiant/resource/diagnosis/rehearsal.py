"""A rehearsal: the check of a token alone, by the functions of a real check, which admits nothing."""

from __future__ import annotations

from dataclasses import dataclass

from affiant.errors import Rejected, RemoteError
from affiant.errors.reasons import Reason
from affiant.oauth import bearer, resource_request
from affiant.oauth.access_token import AccessToken, JudgedToken
from affiant.oauth.binding.dpop import DpopProof
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.resource_request import Proved, Rules
from affiant.resource.diagnosis import explanation
from affiant.resource.diagnosis.explanation import BINDING, CLAIMS, KEY, REVOCATION, SCOPE, Explanation, Stop


@dataclass(slots=True)
class Rehearsal:
    """The results of one check, for its explanation.

    Attributes:
        judged: the token, if its signature and its claims are valid.
        held: why it is not admitted.
        ended: what ended the check.
    """

    judged: JudgedToken | None = None
    held: Stop | None = None
    ended: Stop | None = None

    def admit(
        self,
        judged: JudgedToken,
        scheme: str,
        text: bytes,
        *,
        rules: Rules,
        now: float,
        proved: Proved | None,
        certificate: Certificate | None,
    ) -> tuple[AccessToken, DpopProof | None]:
        """Judge times and binding as a check does, and let it go on to the revocation and the scope in any case."""
        self.judged = judged
        if judged.jkt is not None:  # the token itself says by which scheme it has to come
            scheme = bearer.DPOP
        try:
            return resource_request.admit(
                judged, scheme, text, rules=rules, now=now, proved=proved, certificate=certificate
            )
        except Rejected as refusal:
            is_other = certificate is not None and judged.certificate not in (None, certificate.thumbprint)
            is_open = refusal.reason is Reason.TOKEN_BINDING and judged.is_bound and not is_other
            self.held = Stop(explanation.step_of(refusal.reason), refusal, is_open=is_open)
        return judged.token, None

    def end(self, error: Rejected | RemoteError) -> None:
        """Note what ended the check."""
        is_open = not isinstance(error, Rejected)
        if self.judged is not None:
            is_scope = isinstance(error, Rejected) and error.reason is Reason.SCOPE_INSUFFICIENT
            self.ended = Stop(SCOPE if is_scope else REVOCATION, error, is_open=is_open)
        else:
            step = explanation.step_of(error.reason) if isinstance(error, Rejected) else KEY
            self.ended = Stop(CLAIMS if step == BINDING else step, error, is_open=is_open)  # a `cnf` of no known kind

    def explain(self, text: str, *, several: bool) -> Explanation:
        """Return what was said about the token with this text. `several`: the guard has several issuers."""
        return explanation.build(text, self.held, self.ended, is_issuer_first=several)
