"""The presets by name."""

from __future__ import annotations

from affiant.server.registry.federation.platforms import builds, clouds, code_hosts, servers, workloads
from affiant.server.registry.federation.platforms.platform import Platform

PLATFORMS: dict[str, Platform] = {
    platform.name: platform
    for platform in (
        code_hosts.GITHUB,
        code_hosts.GITLAB,
        workloads.KUBERNETES,
        clouds.AWS,
        clouds.GOOGLE,
        clouds.ENTRA,
        builds.TERRAFORM,
        builds.CIRCLECI,
        builds.BUILDKITE,
        code_hosts.BITBUCKET,
        builds.VERCEL,
        workloads.SPIFFE,
        servers.AFFIANT,
        workloads.GENERIC,
    )
}


def find_owner(issuer: str) -> Platform | None:
    """Return the platform to which the host of this issuer belongs, or None."""
    return next((platform for platform in PLATFORMS.values() if platform.owns_host_of(issuer)), None)
