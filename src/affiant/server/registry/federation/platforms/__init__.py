"""Presets: what is known of each platform, and the checks on trusts and rules for it."""

from affiant.server.registry.federation.platforms.checks import check_rule, check_trust, usual, warnings

GENERIC = "generic"  # the preset of a trust that names none

__all__ = ["GENERIC", "check_rule", "check_trust", "usual", "warnings"]
