"""The options of a guard: what is wrong with them is an error when they are written."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from affiant.errors import ConfigError
from affiant.jose.algorithms import ASYMMETRIC
from affiant.oauth import bearer
from affiant.oauth.binding.dpop import Nonces, normalise
from affiant.oauth.binding.forwarded import Proxies
from affiant.oauth.resource_request import Rules
from affiant.resource.answers import Challenges
from affiant.resource.credentials.api_keys import ApiKeys
from affiant.resource.metadata import ResourceMetadata, publish
from affiant.resource.replays.store import ReplayStore

MOST_LEEWAY = 300  # seconds
DPOP_POLICIES = ("optional", "required")


def check_audiences(audience: str | Sequence[str]) -> tuple[str, ...]:
    """Return the identifiers of the API, of which the first is in challenges and in its metadata."""
    given = (audience,) if isinstance(audience, str) else audience
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise ConfigError("audience= is the identifier of this API, a str, or a list of all that it has")
    if not given or "" in given:
        raise ConfigError("a guard needs its audience: the identifier that this API is registered with")
    return tuple(dict.fromkeys(given))


def check_api_keys(api_keys: ApiKeys | None, rules: Rules) -> ApiKeys | None:
    """Attack: a key works for any sender that has it, so it would undo that tokens must be bound."""
    if api_keys is not None and bearer.BEARER not in rules.schemes:
        raise ConfigError('api_keys= and dpop="required" exclude each other: an API key is bound to nothing')
    return api_keys


def challenges(
    rules: Rules,
    realm: str | None,
    metadata: ResourceMetadata | None,
    api_keys: ApiKeys | None = None,
    *,
    is_development: bool,
) -> Challenges:
    if realm is not None and not isinstance(realm, str):
        raise ConfigError(f"realm= is a str, not {type(realm).__name__}")
    if not isinstance(is_development, bool):  # the text "false" of an environment variable must not turn it on
        raise ConfigError(f"development= is True or False, not {is_development!r}")
    page = api_keys.page if api_keys is not None else None
    published = publish(metadata, rules) if metadata else None
    return Challenges(rules, realm or rules.audience, published, is_development=is_development, page=page)


def check_leeway(seconds: int) -> int:
    """Attack: a large leeway keeps expired tokens alive. Past a few minutes the clock is what must be mended."""
    if type(seconds) is not int or not 0 <= seconds <= MOST_LEEWAY:
        raise ConfigError(f"leeway= is a whole number of seconds from 0 to {MOST_LEEWAY}")
    return seconds


def rules(
    issuers: Sequence[str],
    audience: str,
    leeway: int,
    dpop: str,
    proof_algorithms: Sequence[str],
    nonce_key: bytes | None,
) -> Rules:
    if dpop not in DPOP_POLICIES:
        raise ConfigError(f"dpop= is one of: {', '.join(DPOP_POLICIES)}")
    return Rules(
        issuers[0],
        audience,
        leeway=check_leeway(leeway),
        schemes=(bearer.BEARER, bearer.DPOP) if dpop == "optional" else (bearer.DPOP,),
        proof_algorithms=check_algorithms("proof_algorithms", proof_algorithms),
        nonces=_nonces(nonce_key) if nonce_key is not None else None,
        other_issuers=tuple(issuers[1:]),
    )


def _nonces(key: bytes) -> Nonces:
    if not isinstance(key, bytes):
        raise ConfigError(f"nonce_key= is bytes, not {type(key).__name__}")
    return Nonces(key)


def check_algorithms(name: str, given: Sequence[str]) -> tuple[str, ...]:
    """Return the algorithms in their order, in which the challenge lists them."""
    check_list(name, given)
    if not given or not set(given) <= set(ASYMMETRIC):
        raise ConfigError(f"{name}= takes one or more of: {', '.join(ASYMMETRIC)}")
    return tuple(dict.fromkeys(given))


def check_list(name: str, value: object) -> None:
    """Reject a str, which would be read letter by letter, and anything but a collection of str."""
    if isinstance(value, str):
        raise ConfigError(f"{name}= takes a list of str: write [{value!r}]")
    if not isinstance(value, Collection) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{name}= takes a list of str")


def proxies(addresses: Sequence[str], header: str) -> Proxies:
    check_list("certificate_proxies", addresses)
    if not isinstance(header, str):
        raise ConfigError(f"certificate_header= is the name of a format, not {type(header).__name__}")
    return Proxies.parse(",".join(addresses), header)


def check_store(replays: ReplayStore | None) -> ReplayStore | None:
    if replays is not None and (isinstance(replays, type) or not callable(getattr(replays, "claim", None))):
        raise ConfigError(f"replays= is a store such as SqliteReplays(path), not {type(replays).__name__}")
    return replays


def base(url: str | None) -> str | None:
    try:
        return normalise(url).rstrip("/") if url is not None else None
    except (TypeError, ValueError):
        raise ConfigError(f"url={url!r} is not where an API listens: write it like https://api.example") from None
