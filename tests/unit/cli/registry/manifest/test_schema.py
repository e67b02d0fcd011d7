"""The JSON Schema that is shipped is the one that the file is read by."""

from __future__ import annotations

import json
from pathlib import Path

from affiant.cli.registry.manifest import registry_file

SHIPPED = Path(__file__).parents[5] / "docs" / "reference" / "registry.schema.json"


def test_the_shipped_schema_is_of_today() -> None:
    """Made by `affiant apply --schema`."""
    assert json.loads(SHIPPED.read_text("utf-8")) == registry_file.schema()


def test_it_names_what_the_admin_api_takes() -> None:
    """A member that could be changed, and not be written down, would be drift that nobody sees."""
    from affiant.server.admin.documents import ApiChanges, ClientChanges

    assert set(ClientChanges.model_fields) - {"enforce"} <= set(registry_file.DesiredClient.model_fields)
    assert set(ApiChanges.model_fields) <= set(registry_file.DesiredApi.model_fields)
