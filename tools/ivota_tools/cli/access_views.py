"""Render tokens, users, the audit log and the cloud's health."""

from __future__ import annotations

from rich.table import Table

from ..api_client import Json
from ..common.audit_details import detail
from ..common.durations import ago
from ..common.times import date
from .terminal import cell, titled_table


def token_table(tokens: list[Json]) -> Table:
    table = titled_table("tokens", "name", "role", "created")
    for each in tokens:
        table.add_row(cell(each["name"]), each["role"], ago(each["created_at"]))
    return table


def ddi_token_table(tokens: list[Json]) -> Table:
    table = titled_table("DDI tokens", "name", "kind", "device", "created")
    for each in tokens:
        kind = "TargetToken" if each["device"] else "GatewayToken"
        device = cell(each["device"] or "any")
        table.add_row(cell(each["name"]), kind, device, ago(each["created_at"]))
    return table


def user_table(users: list[Json]) -> Table:
    columns = "name", "role", "second factor", "last signed in"
    table = titled_table("users", *columns)
    for each in users:
        factor = "yes" if each["second_factor"] else "no"
        if each["by_provider"]:
            factor = "at the identity provider"
        table.add_row(cell(each["name"]), each["role"], factor, ago(each["signed_in_at"]))
    return table


def audit_table(lines: list[Json]) -> Table:
    table = titled_table("audit log (UTC)", "time", "user", "action", "target", "details")
    for column in table.columns:
        column.no_wrap = column.header in ("time", "action")
    for each in lines:
        table.add_row(
            date(each["at"]),
            cell(each["who"]),
            cell(each["action"]),
            cell(each["subject"]),
            cell(detail(each["detail"])),
        )
    return table


def health_line(health: Json) -> str:
    if problem := health.get("store_problem"):
        return f"{_reports_line(health)}; the cloud cannot store or read firmware: {problem}"
    return _reports_line(health)


def _reports_line(health: Json) -> str:
    if not health["ok"]:
        problem = health["problem"] or "not connected to the MQTT broker"
        return f"unhealthy: not storing reports: {problem}"
    if health["standby"]:
        return "healthy; on standby: another process is processing reports"
    return "healthy; processing reports"


def counter_table(counters: dict[str, int]) -> Table:
    table = titled_table("since the first start", "counter", "count")
    for name, count in sorted(counters.items()):
        if name != "revision":
            table.add_row(cell(name), f"{count:,}")
    return table
