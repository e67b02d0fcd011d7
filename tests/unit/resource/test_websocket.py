"""A WebSocket is checked before it is accepted, by the dependency and by the middleware."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, WebSocket
from starlette.testclient import TestClient, WebSocketDenialResponse
from tests.unit.resource.test_guard import Issuer, _token

from affiant.resource import Caller, GuardMiddleware

GUARD = Issuer().guard()
GOOD, OTHER = _token().decode(), _token(scope="other").decode()


def _dependent() -> Any:
    app = FastAPI()

    @app.websocket("/ws")
    async def accept(socket: WebSocket, caller: Annotated[Caller, Depends(GUARD("a"))]) -> None:
        await socket.accept()
        await socket.send_text(caller.client_id)

    return app


def _wrapped() -> Any:
    app = FastAPI()

    @app.websocket("/ws")
    async def accept(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(socket.scope["affiant.caller"].client_id)

    return GuardMiddleware(app, GUARD, need=["a"])


@pytest.mark.parametrize("build", [_dependent, _wrapped])
def test_websocket_with_a_good_token_is_accepted(build: Any) -> None:
    with TestClient(build()).websocket_connect("/ws", headers={"Authorization": GOOD}) as socket:
        assert socket.receive_text() == "c"


@pytest.mark.parametrize("build", [_dependent, _wrapped])
@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), ({"Authorization": OTHER}, 403), ({"Authorization": GOOD[:-4] + "AAAA"}, 401)]
)
def test_another_is_refused_with_its_challenge(build: Any, headers: dict[str, str], status: int) -> None:
    """As HTTP, where the server knows how (the extension websocket.http.response)."""
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        TestClient(build()).websocket_connect("/ws", headers=headers),
    ):
        pass
    assert denied.value.status_code == status
    assert denied.value.headers["www-authenticate"].startswith("Bearer ")


async def _closed_without_the_extension() -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await _wrapped()({"type": "websocket", "path": "/ws", "headers": [], "client": None}, receive, send)
    return sent


async def test_middleware_closes_where_the_server_knows_no_refusal() -> None:
    assert await _closed_without_the_extension() == [{"type": "websocket.close", "code": 1008}]
