"""Presets: one for each platform, with the checks on its trusts and rules."""

from affiant.server.registry.federation.platforms.checks import check_rule, check_trust, usual, warnings

GENERIC = "generic"  # the preset of a trust that names none

__all__ = ["GENERIC", "check_rule", "check_trust", "usual", "warnings"]
