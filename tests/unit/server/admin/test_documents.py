"""Documents: requests are checked member by member, and no answer has a place for a stored secret."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from tests.admin import NOW, member

from affiant.cli.registry.manifest import registry_file
from affiant.server.admin import changes, documents, views
from affiant.server.admin.documents import ApiNew, ClientChanges, ClientNew, RevocationNew
from affiant.server.admin.models import In, Out, page
from affiant.storage.records import Api, InitialAccessToken

SECRETS = {"client_secret", "initial_access_token"}  # each in the one answer that made it


def every(of: type[BaseModel]) -> set[type[BaseModel]]:
    return {of, *(found for each in of.__subclasses__() for found in every(each))}


def test_secrets_have_a_place_in_two_answers() -> None:
    holding = {
        model.__name__: name
        for model in every(Out)
        for name in model.model_fields
        if any(word in name for word in ("secret", "token", "digest", "sealed", "key"))
        and name not in ("keys", "secrets", "token_endpoint_auth_method", "token_endpoint_auth_signing_alg")
        and not name.startswith(("tls_client", "dpop_bound"))
    }
    assert {name for name in holding.values() if name in SECRETS} == SECRETS
    assert sorted(model for model, name in holding.items() if name in SECRETS) == [
        "IssuedInitialAccessToken",
        "RegisteredClient",
    ]


def test_unknown_members_are_rejected() -> None:
    assert all(model.model_config.get("extra") == "forbid" for model in every(In))


@pytest.mark.parametrize(
    ("model", "members"),
    [
        (ClientNew, {"client_id": "a", "enabled": True}),
        (ClientNew, {"client_id": "a", "scope": "r"}),
        (ClientNew, {"client_id": "a", "scope": ["r"] * 65}),
        (ClientNew, {"client_id": "a", "scope": ["r w"]}),
        (ClientNew, {"client_id": "a", "scope": ["r\n"]}),
        (ClientNew, {"client_id": "a", "scope": [1]}),
        (ClientNew, {}),
        (ClientChanges, {"client_id": "b"}),
        (ClientChanges, {"registration_token": "x"}),
        (ClientChanges, {"registered_by": None}),
        (ApiNew, {"identifier": "https://a.example", "name": "a\u0085b"}),
        (ApiNew, {"identifier": "https://a.example", "name": ""}),
        (ApiNew, {"identifier": "https://a.example", "name": "x" * 101}),
        (RevocationNew, {"kind": "everything"}),
        (RevocationNew, {"kind": "jti", "value": "x\u0000"}),
    ],
)
def test_wrong_values_are_rejected(model: type[BaseModel], members: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(members)


def test_answers_have_no_secret() -> None:
    token = InitialAccessToken("i", b"digest", ("r",), (), NOW, NOW + 1, 1)
    told = documents.InitialAccessToken.of(token).model_dump()
    assert "digest" not in told
    assert "secret" not in str(views.client(member("a"), NOW).model_dump_json()).replace('"secrets"', "").replace(
        "client_secret_basic", ""
    )


def test_tag_changes_with_the_document() -> None:
    one = views.api(Api("https://a.example", "a", ("r",), is_default=True, created_at=NOW))
    tags = {changes.etag(one), changes.etag(one.model_copy(update={"name": "b"})), changes.etag(one.model_copy())}
    assert len(tags) == 2
    assert all(tag.startswith('"') and len(tag) == 24 for tag in tags)
    assert page(documents.Api).model_validate({"items": [one], "next": None}).next is None


MODELS: list[type[BaseModel]] = [
    *sorted(every(In), key=lambda model: model.__name__),
    registry_file.DesiredApi,
    registry_file.DesiredClient,
]


def _flags(model: type[BaseModel]) -> list[str]:
    """The members that take true or false, by what the schema says of them."""

    def is_flag(schema: dict[str, Any]) -> bool:
        return (
            schema.get("type") == "boolean" or schema.get("const") is True or any(map(is_flag, schema.get("anyOf", ())))
        )

    return [name for name, schema in model.model_json_schema().get("properties", {}).items() if is_flag(schema)]


@pytest.mark.parametrize("value", ["yes", "true", "True", "on", 1, 0, 1.0, "", [True]])
def test_a_boolean_is_true_or_false_alone(value: object) -> None:
    flags = [(model, name) for model in MODELS for name in _flags(model)]
    assert len(flags) >= 10
    for model, name in flags:
        with pytest.raises(ValidationError) as found:
            model.model_validate({name: value})
        assert any(error["loc"][0] == name for error in found.value.errors()), (model, name)


def test_a_number_is_no_text() -> None:
    for model, name in ((ClientNew, "access_token_lifetime"), (documents.KeyCompleted, "overlap")):
        with pytest.raises(ValidationError) as found:
            model.model_validate({name: "5"})
        assert name in {error["loc"][0] for error in found.value.errors()}
