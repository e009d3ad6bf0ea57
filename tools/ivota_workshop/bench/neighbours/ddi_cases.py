"""What a client of DDI may expect, case by case, over plain HTTP."""

from __future__ import annotations

import hashlib
import secrets

import httpx

from ivota_tools.api_client import ApiError
from ivota_tools.cloud.ddi.controller_routes import Setting

from .ddi_stage import TENANT, Controller, Stage, expect

DATA = b"070701" + secrets.token_bytes(100_000)  # cpio's magic number: an update for SWUpdate


def whole_update(stage: Stage) -> None:
    device = stage.controller()
    device.expect_nothing()
    version = stage.upload(DATA + b"whole")
    stage.push(device.name, version)
    url = device.offered()
    expect(device.offered(), url, "the link of the second poll")
    file = device.artifact(url)
    data = DATA + b"whole"
    expect(file["size"], len(data), "size")
    for name in ("sha1", "md5", "sha256"):
        expect(file["hashes"][name], hashlib.new(name, data).hexdigest(), name)
    expect(file["filename"].endswith(".swu"), True, "the name ends in .swu")
    link = file["_links"]["download-http"]["href"]
    expect(device.ask("HEAD", link).headers["content-length"], str(len(data)), "HEAD")
    expect(device.ask("GET", link).content, data, "the file")
    rest = device.ask("GET", link, 206, headers={"Range": "bytes=99000-"})
    expect(rest.content, data[99000:], "the rest")
    sums = device.ask("GET", file["_links"]["md5sum-http"]["href"]).text
    expect(sums.split()[0], file["hashes"]["md5"], "the MD5 file")
    device.feedback(url, "proceeding", "none", "installing")
    expect(stage.device(device.name)["state"], "burning", "state")
    device.feedback(url, "closed", "success")
    found = stage.device(device.name)
    expect((found["state"], found["version"]), ("done", version), "state and version")
    device.expect_nothing()
    device.feedback(url, "closed", "success", status=410)


def configuration_closes_nothing(stage: Stage) -> None:
    device = _updating(stage)
    url = device.offered()
    device.feedback(url, "proceeding")
    body = {
        "id": url.rpartition("/")[2],
        "status": {"execution": "closed", "result": {"finished": "success"}, "details": []},
        "data": {"board": "x86"},
    }
    device.ask("PUT", "/configData", json=body)
    expect(stage.device(device.name)["state"], "burning", "state after configData")
    expect(device.offered(), url, "the open action")


def attributes(stage: Stage) -> None:
    device = stage.controller()
    device.offered("configData")
    said = {"version": "7.1", "hardware": "pi4", "application": "gate", "HwRevision": "2"}
    device.ask("PUT", "/configData", json={"data": said})
    expect("configData" in device.links(), False, "asks for attributes again")
    found = stage.device(device.name)
    known = found["version"], found["hardware"], found["application"]
    expect(known, ("7.1", "pi4", "gate"), "what is known")


def failures(stage: Stage) -> None:
    device = _updating(stage)
    for number in range(3):
        url = device.offered()
        device.feedback(url, "closed", "failure", "ERROR: no space", "")
        device.expect_nothing()
        found = stage.device(device.name)
        expect(found["state"], "retry" if number < 2 else "failed", "state")
        expect(found["failure_msg"], "ERROR: no space", "reason")
        stage.end_back_off(device.name)
    device.expect_nothing()


def cancellation(stage: Stage) -> None:
    device = _updating(stage)
    url = device.offered()
    link = device.artifact(url)["_links"]["download-http"]["href"]
    stage.api.cancel_device(stage.device(device.name)["id"])
    cancel = device.offered("cancelAction")
    expect(cancel.rpartition("/")[2], url.rpartition("/")[2], "the cancelled action")
    expect("deploymentBase" in device.links(), False, "still offered")
    device.ask("GET", url, 404)
    device.ask("GET", link, 404)
    stop = device.ask("GET", cancel).json()
    expect(stop["cancelAction"]["stopId"], stop["id"], "stopId")
    device.feedback(cancel, "rejected")
    device.offered("cancelAction")
    device.feedback(cancel, "closed", "success")
    device.expect_nothing()
    expect(stage.device(device.name)["state"], "cancelled", "state")


def replaced(stage: Stage) -> None:
    device = _updating(stage)
    old = device.offered()
    version = stage.upload(DATA + b"newer")
    stage.push(device.name, version)
    cancel = device.offered("cancelAction")
    device.feedback(old, "closed", "failure", "stopped")  # the device ends it
    expect(stage.device(device.name)["state"], "waiting", "state of the newer update")
    device.ask("GET", cancel, 410)
    new = device.offered()
    device.feedback(new, "closed", "success")
    expect(stage.device(device.name)["version"], version, "version")


def installed_although_cancelled(stage: Stage) -> None:
    device = _updating(stage)
    url = device.offered()
    stage.api.cancel_device(stage.device(device.name)["id"])
    device.feedback(url, "closed", "success")
    expect(stage.device(device.name)["state"], "done", "state")
    device.expect_nothing()


def tokens(stage: Stage) -> None:
    one, other = stage.new_name(), stage.new_name()
    own = stage.api.create_ddi_token(one, f"{TENANT}/{one}")["token"]
    Controller(stage, one, f"TargetToken {own}").expect_nothing()
    for name, authorization in (
        (other, f"TargetToken {own}"),
        (one, f"GatewayToken {own}"),
        (one, f"TargetToken {stage.token}"),
        (one, f"Bearer {own}"),
        (one, "TargetToken"),
        (one, ""),
        (one, f"GatewayToken {own}0"),
    ):
        Controller(stage, name, authorization).poll(401)
    names = {each["device"] for each in stage.api.devices()}
    expect(f"{TENANT}/{other}" in names, False, "a stranger became a device")
    for token in stage.api.ddi_tokens():
        if token["name"] == one:
            stage.api.remove_ddi_token(token["id"])
    Controller(stage, one, f"TargetToken {own}").poll(401)


def only_its_own_firmware(stage: Stage) -> None:
    device, other = _updating(stage), _updating(stage)
    link = other.artifact(other.offered())["_links"]["download-http"]["href"]
    device.ask("GET", link.replace(other.name, device.name), 404)  # no action is open yet
    url = device.offered()
    device.ask("GET", url.replace(device.name, other.name), 404)
    device.ask("POST", f"{url.rpartition('/')[0]}/999999/feedback", 404, json=_closed())
    expect(stage.device(device.name)["state"], "pushed", "state")


def pending(stage: Stage) -> None:
    with Stage.open(accept_all=False) as strict:
        device = strict.controller()
        device.expect_nothing()
        found = strict.device(device.name)
        expect(found["status"], "pending", "status")
        version = strict.upload(DATA)
        try:
            strict.push(device.name, version)
        except ApiError as error:
            expect(error.status, 409, "a push to a pending device")
        device.expect_nothing()
        strict.api.accept_device(found["id"])
        strict.push(device.name, version)
        device.offered()


def retired(stage: Stage) -> None:
    device = _updating(stage)
    device.offered()
    stage.api.retire_device(stage.device(device.name)["id"])
    device.poll(403)
    stage.api.accept_device(stage.device(device.name)["id"])
    device.offered("cancelAction")


def boards_are_not_taken_over(stage: Stage) -> None:
    name = stage.new_name()
    stage.api.add_devices([{"device": f"{TENANT}/{name}"}])
    stage.controller(name).expect_nothing()  # it has never reported, so it may be one of DDI
    board = stage.new_name()
    number = stage.api.add_devices([{"device": f"{TENANT}/{board}"}])[0]["device"]["id"]
    stage.api.set_secret(number, "c2l4dGVlbiBieXRlcyBvciBtb3Jl")
    stage.controller(board).poll(409)
    expect(stage.device(board)["transport"], "mqtt", "transport")


def firmware_for_boards(stage: Stage) -> None:
    device = stage.controller()
    device.expect_nothing()
    version = stage.upload(b"\xe9" + DATA)
    try:
        stage.push(device.name, version)
    except ApiError as error:
        expect(error.status, 409, "a push of an ESP32 image")
    else:
        expect("accepted", "rejected", "a push of an ESP32 image")
    device.expect_nothing()


def confirmation(stage: Stage) -> None:
    with Stage.open(ddi=Setting(TENANT, 1, confirm=True)) as strict:
        device = strict.controller()
        device.expect_nothing()
        version = strict.upload(DATA)
        strict.push(device.name, version)
        url = device.offered("confirmationBase")
        action = url.rpartition("/")[2]
        device.ask("GET", f"/deploymentBase/{action}", 404)
        shown = device.ask("GET", url).json()["confirmation"]["chunks"][0]["artifacts"][0]
        device.ask("GET", shown["_links"]["download-http"]["href"], 404)
        device.ask("POST", f"{url}/feedback", json={"confirmation": "denied", "details": ["busy"]})
        expect(device.offered("confirmationBase"), url, "after a refusal")
        expect("busy" in strict.device(device.name)["result_msg"], True, "the refusal is shown")
        device.ask("POST", f"{url}/feedback", json={"confirmation": "confirmed"})
        device.feedback(device.offered(), "closed", "success")
        state = device.ask("GET", "/confirmationBase").json()
        device.ask("POST", state["_links"]["activateAutoConfirm"]["href"], json={})
        strict.push(device.name, strict.upload(DATA + b"2"))
        device.offered()


def bodies(stage: Stage) -> None:
    device = _updating(stage)
    url = device.offered()
    for body in (
        b"", b"[", b"[]", b"\xff", b"[" * 60_000, b"{}", b'{"status": 1}',
        b'{"status": {"execution": "exploded", "result": {"finished": "success"}}}',
        b'{"status": {"execution": "closed", "result": {"finished": "perhaps"}}}',
    ):  # fmt: skip
        device.ask("POST", f"{url}/feedback", 400, content=body)
    device.ask("POST", f"{url}/feedback", 413, content=b" " * 70_000)
    for data in ({"x": 1}, {"": "x"}, {"k" * 33: "x"}, {"k": "v" * 129}):
        device.ask("PUT", "/configData", 400, json={"data": data})
    many = {f"k{number}": "v" for number in range(101)}
    device.ask("PUT", "/configData", 400, json={"data": many})
    for path in ("/deploymentBase/x", "/deploymentBase/99999999999", "/cancelAction/0", "/else"):
        device.ask("GET", path, 404)
    for name in ("a%2Bb", "a%23b", "%0a", "x" * 129):
        Controller(stage, name, device.authorization).poll(404)
    expect(stage.device(device.name)["state"], "pushed", "state after wrong bodies")
    expect(device.offered(), url, "the open action")


def campaign_limit(stage: Stage) -> None:
    devices = [stage.controller() for _ in range(2)]
    for device in devices:
        device.expect_nothing()
    version = stage.upload(DATA + b"campaign")
    query = f"product:{TENANT} tag:campaign"
    for device in devices:
        stage.api.tag(stage.device(device.name)["id"], ["campaign"])
    made = stage.api.create_campaign(
        name="gateways", version=version, query=query, active_most=1, stages=[{"percent": 100}]
    )
    stage.wait(lambda: stage.device(devices[1].name)["state"] == "waiting", "the assignments")
    first = devices[0].offered()
    devices[1].expect_nothing()
    stage.api.pause_campaign(made["id"])
    devices[0].feedback(first, "closed", "success")
    devices[1].expect_nothing()
    stage.api.resume_campaign(made["id"])
    second = devices[1].offered()
    devices[1].feedback(second, "closed", "success")
    ended = stage.wait(lambda: stage.api.campaign(made["id"])["state"] == "finished", "the end")
    expect(ended, True, "the campaign's end")


def requests_are_limited(stage: Stage) -> None:
    device = stage.controller()
    headers = {"Authorization": device.authorization}
    # Large bodies use up the budget on any machine; a slow one may poll less than is allowed.
    place, body = f"{device.url}/configData", b"x" * 60_000
    with httpx.Client(headers=headers, timeout=60) as http:
        answers = (http.put(place, content=body) for _ in range(200))
        found = next((each for each in answers if each.status_code not in (400, 413)), None)
    expect(found and (found.status_code, found.headers["retry-after"]), (429, "10"), "a flood")
    stage.controller().expect_nothing()


def _updating(stage: Stage) -> Controller:
    """Return a device with a target of its own."""
    device = stage.controller()
    device.expect_nothing()
    stage.push(device.name, stage.upload(DATA + device.name.encode()))
    return device


def _closed() -> dict[str, object]:
    return {"status": {"execution": "closed", "result": {"finished": "success"}}}


CASES = {
    "a whole update": whole_update,
    "configData with execution closed": configuration_closes_nothing,
    "attributes": attributes,
    "a failure, retried three times": failures,
    "a cancellation": cancellation,
    "an update replaced by another": replaced,
    "installed although cancelled": installed_although_cancelled,
    "gateway and target tokens": tokens,
    "only the firmware of the open action": only_its_own_firmware,
    "a pending device": pending,
    "a retired device": retired,
    "a board's name": boards_are_not_taken_over,
    "firmware for boards": firmware_for_boards,
    "confirmation": confirmation,
    "wrong bodies and ids": bodies,
    "a campaign's limits": campaign_limit,
    "a flood of requests": requests_are_limited,
}
