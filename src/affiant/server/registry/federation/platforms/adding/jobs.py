"""The lines that a job needs to get its token and to use it, for each platform."""

from __future__ import annotations

import re

_FILE = "file:PATH"  # a file that a program of the issuer writes
_CLIENTS = {"entra": "azure"}  # presets with another name in `affiant token --from`

_LINES = {
    "github": """\
permissions: {{id-token: write, contents: read}}
steps:
  - run: {curl}""",
    "gitlab": """\
deploy:
  id_tokens:
    {variable}: {{aud: "{audience}"}}
  script:
    - {curl}""",
    "kubernetes": """\
volumes:
  - name: token
    projected:
      sources:
        - serviceAccountToken: {{path: affiant, audience: "{audience}", expirationSeconds: 3600}}
containers:
  - volumeMounts: [{{name: token, mountPath: /var/run/secrets/tokens}}]
    # in the pod: {curl}""",
    "terraform": """\
# an environment variable of the workspace
TFC_WORKLOAD_IDENTITY_AUDIENCE={audience}
# in the run
{curl}""",
    "buildkite": """\
steps:
  - command: |
      buildkite-agent oidc request-token --audience {audience} --claim pipeline_id --claim organization_id > job.jwt
      {curl}""",
    "bitbucket": """\
- step:
    oidc: {{audiences: ["{audience}"]}}
    script:
      - {curl}""",
    "vercel": """\
import {{ getVercelOidcToken }} from "@vercel/oidc";

const answer = await fetch("{issuer}/token", {{
  method: "POST",
  body: new URLSearchParams({{
    grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
    assertion: await getVercelOidcToken(),
  }}),
}});""",
}
_FROM = {
    "terraform": "env:TFC_WORKLOAD_IDENTITY_TOKEN",
    "buildkite": "file:job.jwt",
    "bitbucket": "env:BITBUCKET_STEP_OIDC_TOKEN",
    "generic": _FILE,
}


def lines(preset: str, issuer: str, audience: str) -> list[str]:
    """Return the lines for a job whose tokens are for this audience."""
    source = _FROM.get(preset, _CLIENTS.get(preset, preset))
    command = f"affiant token --from {source} --issuer {issuer}"
    if audience != issuer:
        command += f" --audience {audience}"
    curl = f'curl -H "$({command} --header)" https://orders.example/orders'
    text = _LINES.get(preset, "{curl}")
    return text.format(curl=curl, issuer=issuer, audience=audience, variable=variable(audience)).splitlines()


def variable(audience: str) -> str:
    """Return the name of the variable in which a GitLab job has the token for an audience."""
    return re.sub(r"[^A-Z0-9]", "_", audience.upper()) + "_ID_TOKEN"
