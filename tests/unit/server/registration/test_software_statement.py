import json
from pathlib import Path

import pytest

from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.server import settings
from affiant.server.registration import software_statement

ISSUER, KEY = "https://publisher.example", keys.generate("ES256")


def _file(folder: Path, document: object) -> Path:
    path = folder / "publisher.jwks.json"
    path.write_text(json.dumps(document))
    return path


def test_an_issuer_is_trusted_with_the_keys_of_its_file(tmp_path: Path) -> None:
    path = _file(tmp_path, {"keys": [KEY.public().to_jwk()]})
    assert software_statement.load({ISSUER: path})[ISSUER].keys == (KEY.public(),)
    assert software_statement.load({}) == {}


@pytest.mark.parametrize(
    "document", [{"keys": []}, [], {"keys": [KEY.to_jwk()]}, {"keys": [{"kty": "oct", "k": "AA"}]}]
)
def test_a_file_with_anything_else_is_refused(tmp_path: Path, document: object) -> None:
    with pytest.raises(ConfigError, match=ISSUER) as caught:
        software_statement.load({ISSUER: _file(tmp_path, document)})
    assert KEY.to_jwk()["d"] not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing"):
        software_statement.load({ISSUER: tmp_path / "nothing"})


def test_the_setting_is_a_table_and_is_checked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, {"keys": [KEY.public().to_jwk()]})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "affiant.toml").write_text(f'[software_statement_issuers]\n"{ISSUER}" = "{path.name}"\n')
    assert settings.load().options.software_statement_issuers[ISSUER].keys == (KEY.public(),)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="software_statement_issuers"):
        settings.load()


def test_the_setting_can_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, {"keys": [KEY.public().to_jwk()]})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFFIANT_SOFTWARE_STATEMENT_ISSUERS", json.dumps({ISSUER: str(path)}))
    loaded = settings.load()
    assert list(loaded.options.software_statement_issuers) == [ISSUER]
    again = settings.Settings.model_validate_json(loaded.model_dump_json())  # how a worker process gets it
    assert again.options.software_statement_issuers == loaded.options.software_statement_issuers
