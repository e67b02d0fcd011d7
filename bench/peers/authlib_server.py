"""Authlib on Flask and SQLAlchemy, after Authlib's own example: private_key_jwt and RFC 9068 tokens, ES256.

A jti is claimed by a primary key: the example reads first and then writes, which accepts one assertion twice.
"""

import json
import os
import time
from pathlib import Path

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.integrations.sqla_oauth2 import (
    OAuth2ClientMixin,
    OAuth2TokenMixin,
    create_query_client_func,
    create_save_token_func,
)
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask, Response
from flask_sqlalchemy import SQLAlchemy
from joserfc.jwk import KeySet
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

GIVEN = json.loads(Path(os.environ["CONFIGURATION"]).read_text())
app = Flask(__name__)
app.config.update(
    SQLALCHEMY_DATABASE_URI=f"sqlite:///{os.environ['DATABASE']}",
    SQLALCHEMY_ENGINE_OPTIONS={"connect_args": {"timeout": 30}},
    OAUTH2_TOKEN_EXPIRES_IN={"client_credentials": 600},
)
db = SQLAlchemy(app)


@event.listens_for(Engine, "connect")
def durable(connection, _record):
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


class Client(db.Model, OAuth2ClientMixin):
    id = db.Column(db.Integer, primary_key=True)


class Token(db.Model, OAuth2TokenMixin):
    id = db.Column(db.Integer, primary_key=True)
    user_id = db.Column(db.Integer)
    access_token = db.Column(db.String(2000), unique=True, nullable=False)  # a JWT is longer than the mixin allows


class Jti(db.Model):
    id = db.Column(db.String(200), primary_key=True)
    expires_at = db.Column(db.Integer)


class Assertion(JWTBearerClientAssertion):
    def get_audiences(self):
        return [GIVEN["issuer"], f"{GIVEN['issuer']}/token"]

    def validate_jti(self, claims, jti):
        db.session.add(Jti(id=f"{claims['sub']}:{jti}", expires_at=claims["exp"]))
        try:
            db.session.commit()
        except IntegrityError:
            db.session.rollback()
            return False
        return True

    def resolve_client_public_key(self, client):
        return KeySet.import_key_set(client.jwks)


class Generator(JWTBearerTokenGenerator):
    keys = KeySet.import_key_set(GIVEN["server_keys"])

    def get_jwks(self):
        return self.keys

    def get_audiences(self, _client, _user, _scope):
        return GIVEN["api"]


class ClientCredentials(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", Assertion.CLIENT_AUTH_METHOD]


server = AuthorizationServer(
    app,
    query_client=create_query_client_func(db.session, Client),
    save_token=create_save_token_func(db.session, Token),
)
server.register_grant(ClientCredentials)
server.register_client_auth_method(Assertion.CLIENT_AUTH_METHOD, Assertion())
server.register_token_generator("default", Generator(GIVEN["issuer"], alg="ES256"))


@app.get("/health")
def health():
    return Response("ok")


@app.post("/token")
def token():
    return server.create_token_response()


def add(client_id, method, **metadata):
    client = Client(client_id=client_id, client_secret=GIVEN["secret"], client_id_issued_at=int(time.time()))
    client.set_client_metadata(
        {
            "client_name": client_id,
            "grant_types": ["client_credentials"],
            "response_types": [],
            "scope": GIVEN["scope"],
            "token_endpoint_auth_method": method,
            **metadata,
        }
    )
    db.session.add(client)


with app.app_context():
    db.create_all()
    if not Client.query.count():
        add(GIVEN["key_client"], Assertion.CLIENT_AUTH_METHOD, jwks=GIVEN["client_keys"])
        add(GIVEN["secret_client"], "client_secret_basic")
        db.session.commit()
