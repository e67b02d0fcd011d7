"""The guard in the OpenAPI of FastAPI: the scheme, the scopes of each route and the refusals."""

from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, Security
from tests.unit.resource.issuer import API, ISSUER

from affiant.resource import Caller, Guard, any_of


async def _fail(request: httpx2.Request) -> httpx2.Response:
    pytest.fail(f"{request.url} was fetched")


HTTP = httpx2.AsyncClient(transport=httpx2.MockTransport(_fail))
guard = Guard(ISSUER, audience=API, http=HTTP)
bound = Guard(ISSUER, audience="https://other.example/v1", http=HTTP, dpop="required")


def _schema(*, is_installed: bool = True) -> dict[str, Any]:
    app = FastAPI()
    router = APIRouter(dependencies=[guard("orders.read")])

    @app.get("/annotated")
    async def annotated(_: Annotated[Caller, guard("orders.read", "orders.list")]) -> None: ...

    async def without_parameters() -> None: ...

    app.get("/depends", dependencies=[Depends(guard("orders.read"))])(without_parameters)
    app.get("/security", dependencies=[Security(guard(), scopes=["orders.read"])])(without_parameters)
    app.get("/any", dependencies=[guard(any_of("orders.read", "orders.admin"))])(without_parameters)
    app.get("/bound", dependencies=[bound()])(without_parameters)
    app.get("/public")(without_parameters)
    described: dict[int | str, Any] = {401: {"description": "mine"}}
    router.post("/router", dependencies=[guard("orders.write")], responses=described)(without_parameters)
    app.include_router(router)
    if is_installed:
        guard.install(app)
        bound.install(app)
    return app.openapi()


@pytest.mark.parametrize("is_installed", [False, True])
def test_scopes_of_each_route_are_listed(is_installed: bool) -> None:
    paths = _schema(is_installed=is_installed)["paths"]
    found = {path: operation.get("security") for path, by_method in paths.items() for operation in by_method.values()}
    assert found == {
        "/annotated": [{"api.example": ["orders.read", "orders.list"]}],
        "/depends": [{"api.example": ["orders.read"]}],
        "/security": [{"api.example": ["orders.read"]}],
        "/any": [{"api.example": ["orders.read"]}],
        "/router": [{"api.example": ["orders.read", "orders.write"]}],
        "/bound": [{"other.example-v1": []}],
        "/public": None,
    }


def test_schemes_are_known_without_asking_the_issuer() -> None:
    schemes = _schema()["components"]["securitySchemes"]
    assert schemes == {
        "api.example": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": f"An access token for {API}",
        },
        "other.example-v1": {
            "type": "http",
            "scheme": "DPoP",
            "description": "An access token for https://other.example/v1",
        },
    }


def test_refusals_are_described_once_installed() -> None:
    paths = _schema()["paths"]
    for path in ("/annotated", "/depends", "/security", "/bound"):
        responses = paths[path]["get"]["responses"]
        assert set(responses) == {"200", "401", "403", "503"}
        schema = responses["401"]["content"]["application/json"]["schema"]
        assert set(schema["properties"]) == {"error", "error_description"}
    assert paths["/router"]["post"]["responses"]["401"]["description"] == "mine"
    assert set(paths["/public"]["get"]["responses"]) == {"200"}


def test_routes_that_are_added_later_are_described() -> None:
    app = FastAPI()
    guard.install(app)
    assert app.openapi()["paths"] == {}

    @app.get("/")
    async def route(_: Annotated[Caller, guard("orders.read")]) -> None: ...

    app.openapi_schema = None
    assert "401" in app.openapi()["paths"]["/"]["get"]["responses"]
