"""A fix in six languages. An explanation has it as a line of Python about the parts of a request (explain/fixes.py).

Assignments to `claims`, `header`, `form` and `headers`, and removals from them, are translated; for any other line the
words of the fix have to do.
"""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Callable
from typing import NamedTuple

from affiant.system.files import file_name

NAMES = {"cli": "Command line", "python": "Python", "js": "JavaScript", "go": "Go", "java": "Java", "curl": "curl"}
_PARTS = frozenset({"claims", "header", "form", "headers"})
_FORMS = ("later", "member", "moved")
# Lines that leave the form of a JWT to a library.
_SIGNED = {
    "token = jwt.encode(claims, key, algorithm=alg, headers=header)": {
        "cli": "affiant assertion -c NAME.affiant.json",
        "js": "const token = await new SignJWT(claims).setProtectedHeader(header).sign(key); // jose",
        "go": "token, err := jwt.Signed(signer).Claims(claims).Serialize() // github.com/go-jose/go-jose/v4/jwt",
        "java": "SignedJWT token = new SignedJWT(header, claims);\ntoken.sign(signer); // com.nimbusds.jose",
        "curl": "token=$(affiant assertion -c NAME.affiant.json)",
    },
    'encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()': {
        "js": 'const encode = (data) => Buffer.from(data).toString("base64url");',
        "go": "encode := base64.RawURLEncoding.EncodeToString",
        "java": "Base64.getUrlEncoder().withoutPadding().encodeToString(data);",
        "curl": "encode() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }",
    },
}


class _Value(NamedTuple):
    """A value: a JSON text, or one of the few expressions that fixes have."""

    kind: str  # text, now, new id, later, token, member, moved
    text: str = ""  # JSON, seconds, or the name of a claim or of a parameter


class Change(NamedTuple):
    """One member of one part of the request that gets a value, or is removed if `value` is None."""

    part: str
    name: str
    value: _Value | None


def parse(line: str) -> list[Change] | None:
    """Return the changes of this line; None if it has anything else."""
    found: list[Change] = []
    for statement in _statements(line):
        changes = _read(statement)
        if changes is None:
            return None
        found += changes
    return found or None


def _statements(line: str) -> list[ast.stmt]:
    try:
        return ast.parse(line).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def write(line: str, language: str, client_id: str | None) -> str | None:
    """Return the fix in this language; None if it has to be said in words."""
    if line.startswith("affiant "):
        return line if language == "cli" else None
    if language == "python":
        return "\n".join(ast.get_source_segment(line, one) or "" for one in _statements(line)) or None
    if line in _SIGNED:
        return _SIGNED[line].get(language)
    changes = parse(line)
    if changes is None:
        return None
    if language == "cli":
        return _command(changes, client_id)
    return "\n".join(_LANGUAGES[language](change) for change in changes)


def _read(statement: ast.stmt) -> list[Change] | None:
    match statement:
        case ast.Assign(targets=targets, value=given):
            value = _value(given)
            if value is None:
                return None
            places = [place for target in targets if (place := _place(target)) is not None]
            moved = [Change("form", value.text, None)] if value.kind == "moved" else []
            return [*(Change(*place, value) for place in places), *moved] if places else None
        case ast.AugAssign(target=ast.Name(id=part), op=ast.BitOr(), value=ast.Dict(keys=keys, values=values)):
            pairs = [(key, value) for key, value in zip(keys, values, strict=True) if key is not None]
            read = [_read(ast.Assign([ast.Subscript(ast.Name(part), key)], value)) for key, value in pairs]
            return None if None in read else [change for changes in read for change in changes or ()]
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=part), attr="pop"), args=[first, *_])):
            is_known = part in _PARTS and isinstance(first, ast.Constant)
            return [Change(part, str(first.value), None)] if is_known and isinstance(first, ast.Constant) else None
        case _:
            return None


def _place(target: ast.expr) -> tuple[str, str] | None:
    match target:
        case ast.Subscript(value=ast.Name(id=part), slice=ast.Constant(value=str(name))) if part in _PARTS:
            return part, name
        case _:
            return None


def _value(given: ast.expr) -> _Value | None:
    shown = ast.unparse(given)
    match given:
        case ast.Constant(value=str() | int() as value):
            return _Value("text", json.dumps(value))
        case ast.BinOp(op=ast.Add(), right=ast.Constant(value=int(seconds))) if "iat" in shown:
            return _Value("later", str(seconds))
        case ast.Call() if shown == "int(time.time())":
            return _Value("now")
        case ast.Call(func=ast.Attribute(value=ast.Name(id="form"), attr="pop"), args=[ast.Constant(value=str(name))]):
            return _Value("moved", name)
        case ast.Call() if shown.startswith("secrets.token_urlsafe("):
            return _Value("new id")
        case ast.Subscript(value=ast.Name(id="claims"), slice=ast.Constant(value=str(name))):
            return _Value("member", name)
        case ast.Name(id="token"):
            return _Value("token")
        case _:
            return None


def _command(changes: list[Change], client_id: str | None) -> str:
    """Return the command that makes such a request right: it writes claims and header itself."""
    words = ["affiant", "token", "-c", file_name(client_id) if client_id else "NAME.affiant.json"]
    for change in changes:
        if change.part == "form" and change.name in ("scope", "resource") and change.value is not None:
            words += [f"--{change.name}", str(json.loads(change.value.text or '""'))]
    return shlex.join(words)


def _js(change: Change) -> str:
    values = {"now": "Math.floor(Date.now() / 1000)", "new id": "crypto.randomUUID()", "token": "token"}
    value = _shown(change.value, values, ("claims.iat + {}", 'claims["{}"]', 'form.get("{}")'))
    if change.part == "form":
        return f"form.set({_q(change.name)}, {value});" if change.value else f"form.delete({_q(change.name)});"
    place = f"{change.part}[{_q(change.name)}]"
    return f"{place} = {value};" if change.value else f"delete {place};"


def _go(change: Change) -> str:
    values = {"now": "time.Now().Unix()", "new id": "uuid.NewString()", "token": "token"}
    value = _shown(change.value, values, ("time.Now().Unix() + {}", 'claims["{}"]', 'form.Get("{}")'))
    part = {"form": "form", "headers": "req.Header"}.get(change.part)
    if part is not None:
        return f"{part}.Set({_q(change.name)}, {value})" if change.value else f"{part}.Del({_q(change.name)})"
    return (
        f"{change.part}[{_q(change.name)}] = {value}" if change.value else f"delete({change.part}, {_q(change.name)})"
    )


def _java(change: Change) -> str:
    now = "Instant.now().getEpochSecond()"
    values = {"now": now, "new id": "UUID.randomUUID().toString()", "token": "token"}
    value = _shown(change.value, values, (now + " + {}", 'claims.get("{}")', 'form.get("{}")'))
    name = _q(change.name)
    return f"{change.part}.put({name}, {value});" if change.value else f"{change.part}.remove({name});"


def _curl(change: Change) -> str:
    values = {"now": "$(date +%s)", "new id": "$(openssl rand -hex 16)", "token": "$TOKEN"}
    value = _shown(change.value, values, ("$(( $(date +%s) + {} ))", '$(jq -r .{} <<<"$claims")', "${}"))
    plain = str(json.loads(value)) if change.value is not None and change.value.kind == "text" else value
    if change.part == "headers":
        return f"-H {shlex.quote(f'{change.name}: {plain}')}" if change.value else f"# without the header {change.name}"
    if change.part == "form":
        is_text = change.value is not None and change.value.kind == "text"
        given = shlex.quote(f"{change.name}={plain}") if is_text else f'"{change.name}={plain}"'
        return f"--data-urlencode {given}" if change.value else f"# without the parameter {change.name}"
    if change.value is None:
        return f'{change.part}=$(jq -c {shlex.quote(f"del(.{change.name})")} <<<"${change.part}")'
    if change.value.kind == "text":
        return f'{change.part}=$(jq -c {shlex.quote(f".{change.name} = {value}")} <<<"${change.part}")'
    kind = "--arg" if change.value.kind in ("new id", "member") else "--argjson"
    return f'{change.part}=$(jq -c {kind} v "{value}" \'.{change.name} = $v\' <<<"${change.part}")'


def _shown(value: _Value | None, values: dict[str, str], forms: tuple[str, str, str]) -> str:
    """Return the value as text; `forms` are those of the kinds in _FORMS."""
    if value is None:
        return ""
    if value.kind in _FORMS:
        return forms[_FORMS.index(value.kind)].format(value.text)
    return values.get(value.kind, value.text)


def _q(text: str) -> str:
    return json.dumps(text)


_LANGUAGES: dict[str, Callable[[Change], str]] = {"js": _js, "go": _go, "java": _java, "curl": _curl}
