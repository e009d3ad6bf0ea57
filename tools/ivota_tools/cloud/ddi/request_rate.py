"""Limit the requests of each DDI device, far above what a normal client sends."""

from __future__ import annotations

from fastapi import HTTPException, Request

from ..mqtt.device_budget import Budget, DeviceBudget

BUDGETS_MOST = 1000  # budgets that are kept although nothing of them is used
WAIT_S = 10  # what a rejected client is told


class RequestRate:
    """The budgets of all devices, for one event loop. They allow a download in many pieces."""

    def __init__(self, budget: Budget = Budget()) -> None:  # noqa: B008 (immutable)
        self._budget = budget
        self._budgets: dict[str, DeviceBudget] = {}

    async def check(self, request: Request, name: str) -> None:
        """Raise HTTPException if the device asks too often, or for too much."""
        length = request.headers.get("content-length", "")
        size = int(length[:9]) if length.isdigit() else 0
        if name not in self._budgets and len(self._budgets) >= BUDGETS_MOST:
            self._budgets = {key: each for key, each in self._budgets.items() if not each.is_full}
        budget = self._budgets.setdefault(name, DeviceBudget(self._budget))
        if not budget.has(size):
            raise HTTPException(
                429, "too many requests from this device", {"Retry-After": str(WAIT_S)}
            )
        await budget.take(size)
