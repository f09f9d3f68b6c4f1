"""JSON as the API gives it: in ASCII, which also holds the halves of surrogate pairs that texts may have."""

import json
from collections.abc import Mapping

import msgspec
from starlette.responses import Response


class JsonResponse(Response):
    """A value that msgspec knows, as JSON."""

    def __init__(self, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        content = json.dumps(msgspec.to_builtins(value, str_keys=True)).encode()
        super().__init__(content, status, headers, media_type="application/json")
