"""The shipped JSON Schema is the one that reads the file."""

import json
from pathlib import Path

from affiant.cli.registry.manifest import registry_file

SHIPPED = Path(__file__).parents[5] / "docs" / "reference" / "registry.schema.json"


def test_shipped_schema_is_current() -> None:
    """Made by `affiant apply --schema`."""
    assert json.loads(SHIPPED.read_text("utf-8")) == registry_file.schema()


def test_schema_names_the_members_of_the_admin_api() -> None:
    """A member that the file could not name would be drift that no plan finds."""
    from affiant.server.admin.documents import ApiChanges, ClientChanges
    from affiant.server.admin.routes.federation.documents import RuleChanges, TrustChanges

    assert set(ClientChanges.model_fields) - {"enforce"} <= set(registry_file.DesiredClient.model_fields)
    assert set(ApiChanges.model_fields) <= set(registry_file.DesiredApi.model_fields)
    assert set(TrustChanges.model_fields) <= set(registry_file.DesiredTrust.model_fields)
    assert set(RuleChanges.model_fields) <= set(registry_file.DesiredRule.model_fields)
