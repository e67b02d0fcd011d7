"""`affiant verify`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from affiant.cli.arguments import FILE, read_given
from affiant.cli.output import json_option, show
from affiant.errors import ConfigError, Rejected
from affiant.jose.claims import LEEWAY
from affiant.oauth.binding import mtls
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.resource_request import Proved
from affiant.resource import Guard, Issuer
from affiant.resource.diagnosis.explanation import FAILED, Explanation, Step
from affiant.resource.issuer.revocations import POLICIES
from affiant.resource.options import MOST_LEEWAY

_REFUSED, _NOT_KNOWN = 4, 5  # as the exit codes of main.py
_LONGEST = 65_536  # bytes


@click.command()
@click.argument("token", metavar="TOKEN|FILE|-")
@click.option("--issuer", required=True, metavar="URL", help="issuer that the API trusts")
@click.option("--audience", required=True, multiple=True, metavar="URL", help="identifier of the API; one or more")
@click.option("--scope", default="", help="scopes that the request needs, separated by spaces")
@click.option("--reach", metavar="URL", help="where to reach the issuer, if its identifier is another address")
@click.option("--revocations", type=click.Choice(POLICIES), default="optional", help="whether they must be known")
@click.option(
    "--leeway",
    type=click.IntRange(0, MOST_LEEWAY),
    default=LEEWAY,
    metavar="SECONDS",
    help="by which clocks may differ",
)
@click.option("--dpop-proof", "proof", type=FILE, help="file of the DPoP header, for a token that is bound to a key")
@click.option("--method", default="GET", show_default=True, help="of the request that the proof is for")
@click.option("--url", metavar="URL", help="of the request that the proof is for")
@click.option("--certificate", type=FILE, help="PEM file of the client's certificate, for a token bound to it")
@json_option()
def verify(
    token: str, proof: Path | None, method: str, url: str | None, certificate: Path | None, scope: str, **options: Any
) -> None:
    """It is checked by the guard itself, with the issuer's keys and revocations of this moment.

    TOKEN is the name of a file, or "-" for standard input, or the access token or Authorization header itself, which
    other users of this machine can then see. Every check is printed, and for the one that fails what to change.

    \b
    affiant token | affiant verify - --issuer https://as.example --audience https://orders.example
    affiant verify run/token --issuer https://as.example --audience https://orders.example --scope orders.read

    The exit code is 0 for a valid token, 4 for a refused one, and 5 where the issuer does not answer.
    """
    if (proof is None) != (url is None):
        raise click.UsageError("--dpop-proof and --url belong together: a proof is for one request")
    text = _read_token(token)
    shown = _read_certificate(certificate)
    guard = _guard(**options)
    found = guard.explain_sync(text, scope or (), certificate=shown)
    refusal = None
    if proof is not None and url is not None and found.is_valid:
        proved = Proved(method, url, (_head(proof).strip(),))
        refusal = _refusal(guard, text, scope, proved, shown)
    _show(found, refusal, has_proof=proof is not None)


def _guard(issuer: str, audience: Sequence[str], reach: str | None, revocations: str, leeway: int) -> Guard:
    trusted = Issuer(issuer, reach=reach, revocations=revocations)
    return Guard(trusted, audience=list(audience), development=True, leeway=leeway)


def _refusal(guard: Guard, text: str, scope: str, proved: Proved, certificate: Certificate | None) -> Rejected | None:
    """Return why the guard refuses the request with this proof."""
    header = f"DPoP {text.rpartition(' ')[2]}".encode()
    try:
        guard.check_sync([header], need=scope or (), proved=proved, certificate=certificate)
    except Rejected as refusal:
        return refusal
    return None


def _show(found: Explanation, refusal: Rejected | None, *, has_proof: bool) -> None:
    reason = refusal.reason if refusal is not None else found.reason
    verdict = "refused" if reason is not None else "valid" if found.is_valid else "not known"
    step = _proof_step(refusal) if refusal is not None else next((s for s in found.steps if s.mark == FAILED), None)
    data = {
        "verdict": verdict,
        "reason": reason.code if reason is not None else None,
        "why": step.note if step is not None else None,
        "expected": step.expected if step is not None else None,
        "got": step.seen if step is not None else None,
        "fix": reason.value.fix if reason is not None else None,
        "steps": [asdict(one) for one in found.steps],
    }
    lines = str(found).splitlines()
    if has_proof and found.is_valid:
        lines += _proof_lines(refusal)
    show(data, *lines)
    if verdict != "valid":
        sys.exit(_REFUSED if reason is not None else _NOT_KNOWN)


def _proof_step(refusal: Rejected) -> Step:
    row = refusal.reason.value
    note = f"{row.sentence}: {refusal.detail}" if refusal.detail else row.sentence
    return Step("proof", FAILED, refusal.got, refusal.expected, note, row.source)


def _proof_lines(refusal: Rejected | None) -> list[str]:
    if refusal is None:
        return [" \u2713    proof"]
    step, row = _proof_step(refusal), refusal.reason.value
    parts = (("why", step.note), ("expected", step.expected), ("got", step.seen), ("rule", step.rule))
    lines = [" \u2717    proof", *(f"      {name:<12} {text}" for name, text in parts if text)]
    return [f"refused: {row.code}", *lines, "", f"   fix         {row.fix}"]


def _read_token(given: str) -> str:
    text = read_given(given, longest=_LONGEST)
    if not text:
        raise ConfigError("there is no token: give it by standard input, as in  affiant token | affiant verify - …")
    return text.removeprefix("Authorization:").strip()


def _read_certificate(path: Path | None) -> Certificate | None:
    if path is None:
        return None
    try:
        return mtls.parse_pem(_head(path).decode("ascii", "replace"))
    except ValueError:
        raise ConfigError(f"{path} has no certificate: name a PEM file with the client's own first") from None


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
