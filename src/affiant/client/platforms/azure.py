"""Azure: the token of a managed identity (a machine, App Service, Functions, Container Apps), or of a pod of AKS.

`AZURE_CLIENT_ID` chooses among several identities. Azure Arc is not served: its key file needs azure-identity.
"""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from affiant.client.platforms import asking, files
from affiant.client.platforms.failure import PlatformError
from affiant.jose.strict_json import parse_object
from affiant.system.urls import is_safe_url

_ENDPOINT, _HEADER, _FILE = "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "AZURE_FEDERATED_TOKEN_FILE"
_IMDS = "AZURE_POD_IDENTITY_AUTHORITY_HOST"  # as azure-identity reads it
_IMDS_SECONDS = 2.0


def fetch(audience: str, where: str) -> str:  # noqa: ARG001 - every platform has both
    """Return a token for this audience: the identifier of an app registration, except on AKS."""
    environment = os.environ
    client_id = environment.get("AZURE_CLIENT_ID")
    chosen = {"client_id": client_id} if client_id else {}
    endpoint, header = environment.get(_ENDPOINT), environment.get(_HEADER)
    if endpoint and header:
        if not _is_own(endpoint):  # Attack: the header is a secret of this machine
            raise PlatformError(f"azure: {_ENDPOINT} is neither an https URL nor on this machine")
        return _ask(endpoint, {"x-identity-header": header}, {"api-version": "2019-08-01", **chosen}, audience)
    if path := environment.get(_FILE):
        return files.read(path, who="azure", advice="is the pod labelled azure.workload.identity/use: true?")
    host = environment.get(_IMDS) or "http://169.254.169.254"
    if not _is_own(host):
        raise PlatformError(f"azure: {_IMDS} is neither an https URL nor on this machine")
    url = f"{host.rstrip('/')}/metadata/identity/oauth2/token"
    try:
        return _ask(url, {"metadata": "true"}, {"api-version": "2018-02-01", **chosen}, audience, _IMDS_SECONDS)
    except PlatformError as error:
        raise PlatformError(
            f"{error} ({_ENDPOINT} and {_FILE} are not set, so the metadata service was asked)"
        ) from None


def _is_own(url: str) -> bool:
    if is_safe_url(url):
        return True
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_link_local
    except ValueError:
        return False


def _ask(url: str, headers: dict[str, str], query: dict[str, str], audience: str, seconds: float | None = None) -> str:
    asked = asking.with_query(url, **query, resource=audience)
    reply = asking.get(asked, headers, who="azure", seconds=seconds)
    asking.check_ok(
        reply,
        who="azure",
        refused="is an identity assigned (AZURE_CLIENT_ID names one of several), and the audience the identifier of an"
        " app registration?",
    )
    try:
        value = parse_object(reply.body).get("access_token")
    except ValueError:
        value = None
    if not isinstance(value, str):
        raise PlatformError('azure: the answer has no "access_token"')
    return value
