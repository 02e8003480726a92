"""Refusals as answers: RFC 9457 problem documents. The one table of HTTP statuses."""

import json

from aiohttp import web

from provisioning.domain.errors import Refused

STATUS = {
    "invalid-json": 400,
    "malformed-request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "cross-site": 403,
    "not-found": 404,
    "account-not-found": 404,
    "line-not-found": 404,
    "phone-not-found": 404,
    "operation-not-found": 404,
    "document-not-found": 404,
    "no-open-door": 404,
    "token-not-found": 404,
    "session-not-found": 404,
    "model-unknown": 404,
    "contact-not-found": 404,
    "key-unknown": 404,
    "method-not-allowed": 405,
    "account-exists": 409,
    "account-not-empty": 409,
    "line-exists": 409,
    "phone-exists": 409,
    "phone-has-lines": 409,
    "line-already-attached": 409,
    "line-unfit": 409,
    "line-not-attached": 409,
    "already-main-line": 409,
    "no-free-slot": 409,
    "slot-taken": 409,
    "slots-in-use": 409,
    "main-line": 409,
    "last-line": 409,
    "phone-bound": 409,
    "phone-returned": 409,
    "door-refused": 409,
    "proof-switched-off": 409,
    "public-ip-not-yours": 409,
    "public-ip-ambiguous": 409,
    "public-ip-mismatch": 409,
    "other-account": 409,
    "phonebook-full": 409,
    "body-too-slow": 408,
    "body-too-large": 413,
    "content-encoding": 415,
    "invalid-value": 422,
    "mac-malformed": 422,
    "setting-unknown": 422,
    "parameter-taken": 422,
    "import-failed": 422,
    "slot-out-of-range": 422,
    "public-ip-malformed": 422,
    "public-ip-required": 422,
    "idempotency-key-reused": 422,
    "too-many-failures": 429,
    "broken": 500,
    "unsupported-by-model": 501,
    "busy": 503,
    "storage-failed": 503,
}

TITLES = {
    "invalid-json": "The body is no JSON",
    "unauthorized": "A valid token is needed",
    "forbidden": "The token does not allow this",
    "cross-site": "The request may come from another site",
    "too-many-failures": "Too many wrong tokens came from there",
    "invalid-value": "A value is not valid",
    "line-already-attached": "The line is on a phone already",
    "no-free-slot": "The phone is full",
    "public-ip-not-yours": "No phone of the account is there",
    "public-ip-ambiguous": "Several phones of the account are there",
    "public-ip-mismatch": "The phone is not there",
    "broken": "Something is broken on our side",
}


def respond(refused: Refused) -> web.Response:
    status = STATUS[refused.code]
    problem = {
        "type": f"/problems/{refused.code}",
        "title": TITLES.get(refused.code, refused.code.replace("-", " ").capitalize()),
        "status": status,
        "code": refused.code,
        "detail": refused.detail,
    } | refused.members
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="provisioning"'
    elif status == 429:
        headers["Retry-After"] = str(refused.members["retry_after"])
    elif status == 503:
        headers["Retry-After"] = "5"
    return web.Response(
        status=status,
        body=json.dumps(problem, ensure_ascii=False).encode(),
        content_type="application/problem+json",
        headers=headers,
    )
