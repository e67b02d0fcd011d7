"""The settings of the server: declared once; from the command line, the environment or a TOML file, in that order."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from affiant.errors import ConfigError
from affiant.jose.algorithms import ASYMMETRIC
from affiant.oauth.metadata import check_issuer
from affiant.server.keys.calendar import DAY, Calendar

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8377


class Settings(BaseSettings):
    """What an operator can set. The environment names are those of the fields, as in AFFIANT_ACCESS_TOKEN_LIFETIME."""

    model_config = SettingsConfigDict(env_prefix="AFFIANT_", extra="forbid", frozen=True, toml_file="affiant.toml")

    data: Path = Field(default=Path("affiant-data"), description="folder of the database and the master key")
    database: str | None = Field(
        default=None, repr=False, description="postgresql://USER@HOST/NAME instead of SQLite in the data folder"
    )
    issuer: str | None = Field(default=None, description="issuer identifier; default: what the data folder remembers")
    host: str = Field(default=DEFAULT_HOST, description="address to listen on")
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    workers: int = Field(default=1, ge=1, le=64, description="processes")
    trusted_proxies: str = Field(
        default="", description="addresses whose X-Forwarded-For and -Proto are believed, with commas; none by default"
    )
    signing_alg: str = Field(
        default="ES256", description="algorithm of the first key that signs access tokens; made when there is none"
    )
    signing_key_days: int = Field(
        default=90, ge=2, le=3650, description="days that a key signs before the next one does"
    )
    signing_key_announce_days: int = Field(
        default=7, ge=1, le=365, description="days that the next key is published before it signs"
    )
    dpop_nonces: Literal["off", "on"] = Field(
        default="off", description="on: DPoP proofs must have a nonce of this server (one more trip for a client)"
    )
    failure_burst: int = Field(
        default=100, ge=0, description="failed requests at once, of an address or in a client's name; 0: no limit"
    )
    failure_rate: float = Field(default=1.0, gt=0, description="failed requests a second after that")
    token_burst: int = Field(default=10_000, ge=0, description="tokens of one client at once; 0: no limit")
    token_rate: float = Field(default=50.0, gt=0, description="tokens of one client a second after that")
    access_token_lifetime: int = Field(default=600, ge=10, le=3600, description="seconds that an access token lives")

    @field_validator("signing_alg")
    @classmethod
    def _check_signing_alg(cls, value: str) -> str:
        if value not in ASYMMETRIC:
            raise ValueError(f"one of: {', '.join(ASYMMETRIC)}")
        return value

    @field_validator("database")
    @classmethod
    def _check_database(cls, value: str | None) -> str | None:
        # The value holds a password: no message repeats it.
        if value is not None and not value.startswith(("postgresql://", "postgres://", "sqlite:///")):
            raise ValueError("one of: postgresql://USER@HOST/NAME, sqlite:///FOLDER")
        return value

    @field_validator("issuer")
    @classmethod
    def _check_issuer(cls, value: str | None) -> str | None:
        return value if value is None else check_issuer(value)

    @field_validator("signing_key_announce_days")
    @classmethod
    def _check_announcement(cls, value: int, info: ValidationInfo) -> int:
        if value >= info.data.get("signing_key_days", value + 1):
            raise ValueError("fewer than signing_key_days")
        return value

    @property
    def calendar(self) -> Calendar:
        """When signing keys follow each other."""
        return Calendar(period=self.signing_key_days * DAY, announcement=self.signing_key_announce_days * DAY)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options before environment before file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(**options: object) -> Settings:
    """The settings; an option that is None counts as not given.

    Raises:
        ConfigError: every mistake, in one message.
    """
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        mistakes = [f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
        raise ConfigError("; ".join(mistakes)) from None
