"""Google Cloud: the identity token of the machine's service account, from the metadata server.

Not from google-auth: of an application default credential that it cannot use, it takes the machine's token instead.
"""

from __future__ import annotations

import os
import re

from affiant.client.platforms import asking
from affiant.client.platforms.failure import PlatformError

_HOST = "GCE_METADATA_HOST"  # as Google's own libraries read it
_PATH = "/computeMetadata/v1/instance/service-accounts/default/identity"
_FLAVOR = {"metadata-flavor": "Google"}


def fetch(audience: str, where: str) -> str:  # noqa: ARG001 - every platform has both
    """Return a token for this audience."""
    host = os.environ.get(_HOST) or "metadata.google.internal"
    if re.fullmatch(r"[A-Za-z0-9.-]+(:[0-9]+)?", host) is None:
        raise PlatformError(f"google: {_HOST} is not the name of a host")
    url = asking.with_query(f"http://{host}{_PATH}", audience=audience, format="full")
    try:
        reply = asking.get(url, _FLAVOR, who="google")
    except PlatformError as error:
        raise PlatformError(f"{error} This is the metadata server of a machine of Google Cloud") from None
    asking.check_ok(reply, who="google", refused="this machine has no service account that may have identity tokens")
    if reply.headers.get("metadata-flavor") != "Google":
        raise PlatformError(f"google: what answers at {host} is not Google's metadata server")
    return reply.body.decode("ascii", "replace").strip()
