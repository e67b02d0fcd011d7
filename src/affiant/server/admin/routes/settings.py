"""Settings and their sources. They are changed at the source, and take effect when the server starts."""

from typing import Any

from affiant.server.admin import documents
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.operation import Call, Routes

ROUTES = Routes("settings")


@ROUTES("GET /settings", Role.VIEWER, answers=list[documents.Setting])
async def list_settings(call: Call) -> Any:
    """List the settings, each with its value and its source; the values of secrets are not shown."""
    return [documents.Setting.model_validate(setting, from_attributes=True) for setting in call.desk.settings]
