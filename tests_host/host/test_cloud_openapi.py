"""The HTTP API keeps to its own description, whatever it is asked (schemathesis)."""

import json
import re

import httpx
import postgres_support
import pytest
import schemathesis
from cloud_support import Device
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from waiting import WAIT_S

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.accounts.tokens import local_token

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
)
def cloud(request, tmp_path_factory):
    url = postgres_support.new_database() if request.param == "postgresql" else None
    folder = tmp_path_factory.mktemp("cloud")
    (folder / "f.bin").write_bytes(b"x" * 1000)
    with (
        Cloud(folder / "c", database=url, upload_most=10_000) as running,
        Client(running.api_url) as api,
    ):
        api.upload(folder / "f.bin", "0.2")
        with Device(running.mqtt_port, "P", "d") as device:
            device.hello("0.1")
        api.put_group("all", "all")
        api.create_campaign(name="c", version="0.2", group="all")
        yield running


@pytest.fixture(scope="module")
def described(cloud):
    schema = schemathesis.openapi.from_url(f"{cloud.api_url}/api/v1/openapi.json", timeout=WAIT_S)
    return schema.exclude(path="/api/v1/events")  # endless by nature


def test_every_answer_is_as_described(cloud, described):
    """Asked with the token of the machine's owner, whom no user and no token locks out."""
    owner = {"Authorization": f"Bearer {local_token(cloud.folder)}"}
    seen = set()
    for found in described.get_all_operations():
        operation = found.ok()

        @given(operation.as_strategy())
        @settings(
            max_examples=40,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def check(case):
            answer = case.call_and_validate(checks=CHECKS, timeout=WAIT_S, headers=owner)
            seen.add(answer.status_code)

        check()
    assert {200, 201, 204, 404, 409, 422} <= seen and not {401, 403, 500} & seen, seen


def test_the_description_names_all_there_is(cloud):
    found = json.loads(httpx.get(f"{cloud.api_url}/api/v1/openapi.json", timeout=WAIT_S).text)[
        "paths"
    ]
    operations = {f"{method.upper()} {path}" for path, all_ in found.items() for method in all_}
    for each in (
        "GET /api/v1/health",
        "POST /api/v1/firmware",
        "POST /api/v1/campaigns/{campaign_id}/retry",
        "DELETE /api/v1/tokens/{token_id}",
        "GET /api/v1/attempts/{attempt_id}/reports",
        "GET /api/v1/audit",
    ):
        assert each in operations


def test_a_body_that_is_no_object_is_said_in_a_sentence(cloud):
    url, headers = cloud.api_url, {"Authorization": f"Bearer {local_token(cloud.folder)}"}
    found = httpx.get(f"{url}/api/v1/openapi.json", timeout=WAIT_S).json()["paths"]
    tried = 0
    for path, methods in found.items():
        for method, described in methods.items():
            if "application/json" not in described.get("requestBody", {}).get("content", {}):
                continue
            for body, words in (("[]", "must be a JSON object"), ('"x"', "must be a JSON object"),
                                ("{", "is not valid JSON")):  # fmt: skip
                there = url + re.sub(r"{\w+}", "1", path)
                sent = {**headers, "Content-Type": "application/json"}
                answer = httpx.request(method, there, content=body, headers=sent, timeout=WAIT_S)
                said = answer.status_code, answer.json()["detail"]
                assert said == (422, f"request body: {words}"), (method, path, body)
                tried += 1
    assert tried > 30
