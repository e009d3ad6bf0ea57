"""Downloads over real HTTP, byte by byte, by clients of several ages."""

import hashlib
import os
import socket
import threading
from contextlib import contextmanager

import httpx
import pytest
from cloud_support import Answer, Device, exchange
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud

DATA = bytes(os.urandom(1000)) * 300  # 300,000 bytes


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with Cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture(scope="module")
def url(cloud, tmp_path_factory):
    """A pre-signed URL as a device gets it."""
    path = tmp_path_factory.mktemp("firmware") / "f.bin"
    path.write_bytes(DATA)
    with Client(cloud.api_url) as client, Device(cloud.mqtt_port, "P", "d") as device:
        client.upload(path, "2")
        device.hello("1")
        client.push("P/d", "2")
        return device.expect("update_firmware")["url"]


def get(url, *lines, method="GET", http="1.1"):
    host = [] if any(line.lower().startswith("host:") for line in lines) else ["Host: x"]
    raw = exchange(url, *host, *lines, "Connection: close", method=method, http=http)
    answer = Answer(raw, head_only=method == "HEAD")
    assert answer.rest == b""
    assert "transfer-encoding" not in answer.headers and "content-encoding" not in answer.headers
    return answer


def test_the_whole_file(url):
    answer = get(url)
    assert answer.status == 200 and answer.body == DATA
    assert answer.headers["content-length"] == "300000"
    assert answer.headers["accept-ranges"] == "bytes"
    assert "content-range" not in answer.headers
    assert answer.headers["etag"] == f'"{hashlib.md5(DATA).hexdigest()}"'


@pytest.mark.parametrize(
    "asked, start, end",
    [
        ("0-", 0, 300000),
        ("1000-", 1000, 300000),
        ("299999-", 299999, 300000),
        ("1000-1999", 1000, 2000),
        ("299000-300000", 299000, 300000),
        ("0-999999999", 0, 300000),
        ("-1", 299999, 300000),
    ],
)
def test_ranges(url, asked, start, end):
    answer = get(url, f"Range: bytes={asked}")
    assert answer.status == 206 and answer.body == DATA[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/300000"
    assert answer.headers["content-length"] == str(end - start)


def test_nothing_left(url):
    for asked in ("300000-", "300000-300010", "9" * 3000 + "-", "-0"):
        answer = get(url, f"Range: bytes={asked}")
        assert answer.status == 416
        assert answer.headers["content-range"] == "bytes */300000"


def test_ranges_that_count_as_absent(url):
    for asked in ("bytes=5-4", "bytes=0-1,4-5", "pages=1-2", "bytes=x-"):
        assert get(url, f"Range: {asked}").status == 200


def test_head(url):
    answer = get(url, method="HEAD")
    assert (answer.status, answer.headers["content-length"]) == (200, "300000")
    answer = get(url, "Range: bytes=10-", method="HEAD")
    assert (answer.status, answer.headers["content-length"]) == (206, "299990")
    assert get(url, method="POST").status == 405


def test_if_range(url):
    etag = get(url, method="HEAD").headers["etag"]
    assert get(url, "Range: bytes=5-", f"If-Range: {etag}").status == 206
    assert get(url, "Range: bytes=5-", 'If-Range: "other"').status == 200
    # Of a download that began with an older cloud: the board compares, and goes on.
    old = f'"{hashlib.sha256(DATA).hexdigest()}"'
    answer = get(url, "Range: bytes=5-", f"If-Range: {old}")
    assert (answer.status, answer.headers["etag"]) == (206, old)


def test_no_compression_is_offered_to_those_who_ask_for_it(url):
    answer = get(url, "Accept-Encoding: gzip, deflate, br")
    assert answer.body == DATA


def test_http_1_0_is_closed_after_the_answer(url):
    raw = exchange(url, "Range: bytes=7-", http="1.0")
    answer = Answer(raw)
    assert answer.status == 206 and answer.body == DATA[7:] and answer.rest == b""
    assert answer.headers["connection"] == "close"


def test_keep_alive_serves_many_pieces_on_one_connection(url):
    with httpx.Client(timeout=WAIT_S) as http:
        links = set()
        data = b""
        while len(data) < len(DATA):
            answer = http.get(url, headers={"Range": f"bytes={len(data)}-{len(data) + 51199}"})
            assert answer.status_code == 206
            data += answer.content
            links.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
        assert data == DATA and len(links) == 1


@pytest.mark.parametrize(
    "host", ["Host:", "Host: http://a:1/b", "Host: a:b:c", "Host: [", "Host: \xff", "Host: a b"]
)
def test_a_malformed_host_is_borne(url, host):
    assert get(url, host).status == 200


def test_signatures(url):
    for wrong in (url[:-1], url + "0", url.replace("sign=", "sign=0"), url.split("&")[0],
                  url.split("?")[0], url.replace("expires=", "expires=9"),
                  url.replace("/files/1", "/files/2"), url.replace("/files/1", "/files/01x"),
                  url.replace("/files/1", "/files/-1"), url + "&expires=1"):  # fmt: skip
        answer = get(wrong)
        assert answer.status == 403, wrong
        assert "content-range" not in answer.headers


@pytest.mark.parametrize("path", ["/etc/passwd", "/files/../ivota.db", "/files/..%2fivota.db",
                                  "/files/%2e%2e/ivota.db", "/files/", "//files/1"])  # fmt: skip
def test_no_path_reaches_the_disk(cloud, url, path):
    query = url.partition("?")[2]
    answer = get(f"{cloud.api_url}{path}?{query}")
    assert answer.status in (403, 404)
    assert b"SQLite" not in answer.body and b"root" not in answer.body


@contextmanager
def pushed(tmp_path):
    """A cloud, a device that it has just pushed to, and the URL that it has sent."""
    path = tmp_path / "f.bin"
    path.write_bytes(DATA)
    with (
        Cloud(tmp_path / "cloud") as cloud,
        Client(cloud.api_url) as client,
        Device(cloud.mqtt_port, "P", "d") as device,
    ):
        client.upload(path, "2")
        device.hello("1")
        client.push("P/d", "2")
        yield cloud, device, device.expect("update_firmware")["url"]


def test_an_expired_url(tmp_path):
    with pushed(tmp_path) as (cloud, device, url):
        assert get(url).status == 200
        cloud.url_ttl_s = 0.1
        device.hello("1")
        short = device.expect("update_firmware")["url"]
        wait_until(lambda: get(short).status == 403, "the expiry")
        cloud.url_ttl_s = 3600
        device.hello("1")
        fresh = device.expect("update_firmware")["url"]
        assert fresh != url and get(fresh).status == 200


def test_a_file_that_is_gone(tmp_path):
    with pushed(tmp_path) as (_, _, url):
        for stored in (tmp_path / "cloud" / "firmware").iterdir():
            stored.unlink()
        assert get(url).status == 404


def test_clients_that_leave_or_stall_hold_nobody_up(cloud, url):
    links = []
    for _ in range(30):
        link = socket.create_connection(("127.0.0.1", cloud.http_port))
        link.sendall(f"GET {url[len(cloud.api_url) :]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        links.append(link)
    for link in links[::2]:
        link.recv(100)
        link.close()
    assert get(url).body == DATA
    for link in links[1::2]:
        link.close()
    assert get(url).body == DATA


def test_many_at_once(url):
    wrong = []

    def fetch(start):
        if get(url, f"Range: bytes={start}-").body != DATA[start:]:
            wrong.append(start)

    threads = [threading.Thread(target=fetch, args=(n * 1000,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_stopping_cuts_downloads_and_frees_the_port(tmp_path):
    path = tmp_path / "f.bin"
    path.write_bytes(bytes(8_000_000))
    cloud = Cloud(tmp_path / "cloud")
    cloud.start()
    with Client(cloud.api_url) as client, Device(cloud.mqtt_port, "P", "d") as device:
        client.upload(path, "2")
        device.hello("1")
        client.push("P/d", "2")
        url = device.expect("update_firmware")["url"]
    link = socket.create_connection(("127.0.0.1", cloud.http_port))
    link.sendall(f"GET {url[len(cloud.api_url) :]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    link.recv(100)
    cloud.stop()  # does not wait for a client that takes nothing
    link.close()
    again = Cloud(tmp_path / "cloud", http_port=cloud.http_port, mqtt_port=cloud.mqtt_port)
    with again:
        assert get(url).status == 200  # the secret is the database's: URLs outlive a restart


def test_no_answer_waits_for_the_acknowledgement_of_its_headers(cloud):
    """asyncio turns Nagle's delay off, but only for sockets that say that they are TCP's."""
    assert cloud._server._socket.proto == socket.IPPROTO_TCP
