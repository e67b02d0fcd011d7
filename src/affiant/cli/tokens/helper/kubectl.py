"""`affiant helper kubectl`: a credential plugin of client-go (client.authentication.k8s.io)."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

import click

from affiant.cli.tokens.helper.holder import Holder, holder_options
from affiant.errors import ConfigError

_ENVIRONMENT = "KUBERNETES_EXEC_INFO"
_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


@click.command()
@holder_options
def kubectl(holder: Holder) -> None:
    """Answer kubectl, as its exec plugin.

    It serves every program with a kubeconfig. The user there:

    \b
    exec: {apiVersion: client.authentication.k8s.io/v1, command: affiant,
    args: [helper, kubectl, -c, billing.affiant.json, --host, k8s.example],
    provideClusterInfo: true, interactiveMode: Never}
    """
    version, server = _asked(os.environ.get(_ENVIRONMENT, ""))
    if not holder.serves(server):
        raise ConfigError("this cluster gets no token: its server is not the host of --host or --resource")
    token = holder.token()
    end = datetime.fromtimestamp(int(token.expires_at), UTC).isoformat().replace("+00:00", "Z")
    status = {"token": token.value, "expirationTimestamp": end}
    click.echo(json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status}))


def _asked(text: str) -> tuple[str, str]:
    """Return the version of the question, and the URL of the cluster."""
    try:
        question: Any = json.loads(text)
        version, server = question["apiVersion"], question["spec"]["cluster"]["server"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError(
            f"{_ENVIRONMENT} names no cluster: run this from a kubeconfig, with  provideClusterInfo: true"
        ) from None
    if version not in _VERSIONS or not isinstance(server, str):
        raise ConfigError(f"{_ENVIRONMENT} is of another version: in the kubeconfig, write  apiVersion: {_VERSIONS[0]}")
    return version, server
