"""Presets: what is known of each platform, and the checks on trusts and rules for it."""

from affiant.server.registry.federation.platforms.checks import check_rule, check_trust, usual, warnings

__all__ = ["check_rule", "check_trust", "usual", "warnings"]
