"""Kubernetes, SPIFFE, and every other issuer."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from affiant.errors import ConfigError
from affiant.oauth.federation import conditions, trusted_token
from affiant.server.registry.federation.platforms.platform import IssuerForm, Need, Platform, Question, Shape, is_one_of
from affiant.storage.records import Rule, Trust

_ACCOUNT = "system:serviceaccount:"
_IN_CLUSTER = re.compile(r"(?:kubernetes(?:\.default)?|.*\.svc|.*\.svc\.cluster\.local|.*\.cluster\.local)\.?")
# A condition on these identifies no workload: every token has them, or they do not depend on the workload.
_OF_EVERY_TOKEN = (
    "iss", "aud", "exp", "nbf", "iat", "jti", "nonce", "auth_time", "acr", "amr", "at_hash", "c_hash", "sid", "typ",
    "ver", "scope", "scp", "email_verified", "token_type", "idtyp",
)  # fmt: skip
_LEAST_STEM = 3  # characters before the * of a condition that can identify


def _is_in_cluster(url: str) -> bool:
    try:
        return _IN_CLUSTER.fullmatch(urlsplit(url).hostname or "") is not None
    except ValueError:
        return False


def _check_cluster(trust: Trust) -> None:
    for audience in trust.audiences:
        if audience == trust.issuer or _is_in_cluster(audience):
            raise ConfigError(
                f"the audience {audience} is that of the API server: every pod has such a token already, and it may"
                " live a year; project one for this server (serviceAccountToken with audience)"
            )
    has_keys = trust.jwks is not None or trust.jwks_uri is not None or trust.discovery_url is not None
    if _is_in_cluster(trust.issuer) and not has_keys:
        raise ConfigError(
            f"no server outside the cluster reaches {trust.issuer}: give its keys (jwks, the output of  kubectl"
            " get --raw /openid/v1/jwks), or the address at which this server reaches them (jwks_uri or discovery_url)"
        )


def _check_account(_: Trust, rule: Rule) -> None:
    for claim, values in rule.conditions:
        if not is_one_of(claim, ("sub",)):
            continue
        for value in map(str, values):
            namespace = value.removeprefix(_ACCOUNT).partition(":")[0]
            if conditions.matches(f"{_ACCOUNT}{namespace}:default", value):
                raise ConfigError(
                    f"sub must not cover the service account default of {namespace}: every pod that names no account"
                    " has it; make one for this workload (kubectl create serviceaccount NAME)"
                )


KUBERNETES = Platform(
    name="kubernetes",
    title="Kubernetes",
    issuers=(
        IssuerForm("https://oidc.eks.{domain}/id/{slug}"),
        IssuerForm("https://container.googleapis.com/v1/projects/{path}"),
        IssuerForm("https://{slug}.oic.prod-aks.azure.com/{path}"),
        IssuerForm("https://{host}"),
        IssuerForm("https://{host}/"),
        IssuerForm("https://{host}/{path}"),
    ),
    needs=(
        Need(
            ("sub",),
            f"sub={_ACCOUNT}shop:orders",
            "all pods of the cluster have the same issuer",
            is_exact=False,
        ),
    ),
    shapes={
        "sub": Shape(
            f"{_ACCOUNT}NAMESPACE:NAME",
            rf"{_ACCOUNT}[a-z0-9.-]+:[a-z0-9.-]+",
            rf"{_ACCOUNT}[a-z0-9.-]+:[a-z0-9.-]+",
        ),
    },
    replays=(trusted_token.REUSED, trusted_token.IF_PRESENT),
    questions=(
        Question("ACCOUNT", "NAMESPACE/NAME of the service account", claim="sub", form=f"{_ACCOUNT}{{}}", slash=":"),
        Question("issuer", "of the cluster:  kubectl get --raw /.well-known/openid-configuration", is_issuer=True),
        Question(
            "uid",
            "of the service account, so that a later one of its name is refused",
            claim="/kubernetes.io/serviceaccount/uid",
            is_asked=False,
        ),
    ),
    example="shop/orders --issuer https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53 --client orders",
    check_trust=_check_cluster,
    check_rule=_check_account,
)


def _check_domain(trust: Trust) -> None:
    if trust.jwks is None and trust.jwks_uri is None and trust.discovery_url is None:
        raise ConfigError(
            f"the keys of {trust.issuer} are not derived from its name: give the bundle endpoint (jwks_uri), the"
            " discovery_url of SPIRE's OIDC provider, or the bundle itself (jwks)"
        )


def _check_id(trust: Trust, rule: Rule) -> None:
    for claim, values in rule.conditions:
        for value in values if is_one_of(claim, ("sub",)) else ():
            if not str(value).startswith(f"{trust.issuer}/"):
                raise ConfigError(f"sub must begin with {trust.issuer}/: the trust is for that trust domain alone")


SPIFFE = Platform(
    name="spiffe",
    title="SPIFFE",
    issuers=(IssuerForm("spiffe://{domain}"),),
    needs=(
        Need(
            ("sub",),
            "sub=spiffe://example.org/orders",
            "all workloads of the trust domain have its keys",
            is_exact=False,
        ),
    ),
    shapes={
        "sub": Shape(
            "a SPIFFE ID, spiffe://DOMAIN/PATH, or one that ends in /*",
            "spiffe://[^/]+/[A-Za-z0-9._/-]+",
            "spiffe://[^/]+/[A-Za-z0-9._-]+/[A-Za-z0-9._/-]*",
        )
    },
    replays=(trusted_token.REUSED, trusted_token.IF_PRESENT),
    questions=(
        Question("ID", "SPIFFE ID of the workload", claim="sub", is_issuer=True, part="(?:spiffe://)?([^/]+)(?:/.*)?"),
        Question("bundle", "https URL of the bundle endpoint of the trust domain", member="jwks_uri"),
    ),
    example="spiffe://example.org/orders --bundle https://spire.example.org/bundle --client orders",
    check_trust=_check_domain,
    check_rule=_check_id,
)


def _check_identifies(_: Trust, rule: Rule) -> None:
    for claim, values in rule.conditions:
        if not is_one_of(claim, _OF_EVERY_TOKEN) and all(_identifies(value) for value in values):
            return
    raise ConfigError(
        "the rule does not identify a workload: give a condition on sub, or on another claim that only the right"
        " workload has, such as sub=build:42"
    )


def _identifies(value: conditions.Scalar) -> bool:
    if isinstance(value, bool):
        return False
    if not conditions.is_prefix(value):
        return True
    stem = str(value).rstrip("*")
    # `repo:*` or `https://*` is every token of an issuer that writes all of them so.
    return len(stem) >= _LEAST_STEM and re.fullmatch(r"[A-Za-z0-9_-]*[:/]+", stem) is None


GENERIC = Platform(
    name="generic",
    title="any other issuer",
    replays=trusted_token.REPLAYS,
    questions=(
        Question("ISSUER", "iss of its tokens", is_issuer=True),
        Question("sub", "sub of its tokens", claim="sub"),
    ),
    example="https://issuer.example --sub build:42 --client deploy",
    check_rule=_check_identifies,
)
