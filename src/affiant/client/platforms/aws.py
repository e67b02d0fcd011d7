"""AWS: a web identity token of the role of this process (sts:GetWebIdentityToken), by boto3."""

from __future__ import annotations

import os
from typing import Any

from affiant.client.platforms.failure import PlatformError
from affiant.system.text import printable

try:
    import boto3.session
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import ClientError, NoCredentialsError
except ImportError:
    raise PlatformError("aws: this platform needs boto3:  pip install 'affiant[aws]'") from None

_SECONDS = 300  # of the token
_TIMEOUTS = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
# By the code of an error; the service writes some with "Exception" at the end.
_FAULTS = {
    "OutboundWebIdentityFederationDisabled": "the account has no outbound federation yet: an administrator turns it on"
    " with  aws iam enable-outbound-web-identity-federation",
    "JWTPayloadSizeExceeded": "the token would be too large: give the role's session fewer tags",
    "SessionDurationEscalation": f"the session of the role ends in less than {_SECONDS} seconds: renew it",
    "AccessDenied": "AWS refuses it: allow sts:GetWebIdentityToken for the role, and this audience",
    "ExpiredToken": "the credentials for AWS have expired: renew them",
}


def fetch(audience: str, where: str) -> str:  # noqa: ARG001 - every platform has both
    """Return a new token for this audience."""
    try:
        inner = botocore.session.get_session()
        inner.set_config_variable("sts_regional_endpoints", "regional")  # the global one does not issue such tokens
        session = boto3.session.Session(botocore_session=inner)
        # boto3 does not read AWS_REGION, which Lambda and ECS have.
        region = session.region_name or os.environ.get("AWS_REGION")
        if region is None:
            raise PlatformError("aws: the region is missing: set AWS_REGION")
        client = session.client("sts", region_name=region, config=_TIMEOUTS)
        try:
            answer = _ask(client, audience)
        finally:
            client.close()
    except ClientError as error:
        raise _refusal(error) from None
    except NoCredentialsError:
        raise PlatformError("aws: there are no credentials for AWS: give this process a role") from None
    except PlatformError:
        raise
    except Exception as error:  # noqa: BLE001 - botocore's parser raises what it stumbles over
        raise PlatformError(f"aws: there is no token ({type(error).__name__})") from None
    value = answer.get("WebIdentityToken")
    if not isinstance(value, str):
        raise PlatformError("aws: the answer has no WebIdentityToken")
    return value


def _ask(client: Any, audience: str) -> dict[str, Any]:
    if not hasattr(client, "get_web_identity_token"):
        raise PlatformError("aws: this boto3 is too old for sts:GetWebIdentityToken:  pip install -U boto3")
    answer: dict[str, Any] = client.get_web_identity_token(
        Audience=[audience], SigningAlgorithm="RS256", DurationSeconds=_SECONDS
    )
    return answer


def _refusal(error: ClientError) -> PlatformError:
    code = printable(error.response.get("Error", {}).get("Code"), 80)
    fault = _FAULTS.get(code.removesuffix("Exception"), "AWS gives no token")
    return PlatformError(f"aws: {fault} ({code})")
