"""The parameters that many routes of the HTTP API share, and the errors that each may answer."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel

PAGE_MOST = 10_000
ID_MOST = 2**31 - 1
REVISION_MOST = 2**62

Number = Annotated[int, Path(ge=1, le=ID_MOST)]
Page = Annotated[int, Query(ge=1, le=PAGE_MOST)]
After = Annotated[int, Query(ge=0, le=REVISION_MOST)]


class ErrorOut(BaseModel):
    """A sentence that explains the problem and what to do."""

    detail: str


ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorOut} for code in (400, 401, 403, 404, 408, 409, 413, 422)
}
