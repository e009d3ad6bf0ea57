"""An object store in a process and an environment of its own: moto, with botocore to sign.

moto checks no signatures, so the server before it does: `Front`. The credentials are temporary
ones, so each signed URL contains a long token.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

from ivota_tools.toolchain import web_servers

BUCKET = "fleet"
TOKEN = "Bearer 4e5f6a7b"
_KEY, _SECRET = "AKIAEXAMPLE", "a secret of these tests"
SESSION = "IQoJb3JpZ2lu+/" * 79 + "=="  # 1,108 characters, as temporary credentials have
_EXPIRES_S = 600
_OWN = ("connection", "expect", "host")  # fields of one connection
SIGNED = "X-Amz-Signature"
_REPLACED = ("connection", "content-length", "server")
_FIELD = re.compile(r"(Credential|SignedHeaders|Signature)=([^, ]+)")

# Runs with moto's environment. Lines on stdin: a command, the store's URL, words.
_STORE = f"""
import itertools
import sys
import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

def client(front):
    config = Config(signature_version="s3v4", s3={{"addressing_style": "path"}},
                    retries={{"max_attempts": 0}}, proxies={{}})
    return boto3.client("s3", endpoint_url=front, region_name="us-east-1", config=config,
                        aws_access_key_id={_KEY!r}, aws_secret_access_key={_SECRET!r},
                        aws_session_token={SESSION!r})

number = itertools.count()
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
for line in sys.stdin:
    command, front, *words = line.split()
    store = client(front)
    if command == "bucket":
        store.create_bucket(Bucket={BUCKET!r})
        print("made", flush=True)
    elif command == "put":
        with open(words[0], "rb") as file:
            store.put_object(Bucket={BUCKET!r}, Key=words[1], Body=file.read())
        print("put", flush=True)
    elif command == "keys":
        found = store.list_objects_v2(Bucket={BUCKET!r}).get("Contents", ())
        print(*(each["Key"] for each in found), flush=True)
    elif command == "uploads":
        print(len(store.list_multipart_uploads(Bucket={BUCKET!r}).get("Uploads", ())), flush=True)
    elif command == "empty":
        for each in store.list_objects_v2(Bucket={BUCKET!r}).get("Contents", ()):
            store.delete_object(Bucket={BUCKET!r}, Key=each["Key"])
        print("emptied", flush=True)
    elif command == "remove":
        store.delete_bucket(Bucket={BUCKET!r})
        print("removed", flush=True)
    else:
        where = {{"Bucket": {BUCKET!r}, "Key": words[0]}}
        expires = {_EXPIRES_S} + next(number)  # no two URLs are equal
        url = store.generate_presigned_url("get_object", Params=where, ExpiresIn=expires)
        print(url, flush=True)
"""


class Front(ThreadingHTTPServer):
    """The store as the network sees it: it takes only requests that are signed.

    `/page/NAME` leads whoever has the token to a signed URL. Each of these works once, as if it
    expired at once: after a cut, a board needs another. These URLs begin with `public_url`.
    """

    daemon_threads = True

    def __init__(self, store: subprocess.Popen[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        assert store.stdout
        self.store_port = int(store.stdout.readline())
        self.url = self.public_url = f"http://127.0.0.1:{self.server_address[1]}"
        self.used: set[str] = set()
        self.answers: list[tuple[str, int]] = []
        self.each_works_once = True
        # What the store does wrong: returns a status and an error's name, or None.
        self.fault: Callable[[str, str], tuple[int, str] | None] = lambda method, target: None
        self._seen: dict[str, str] = {}  # each signature in a URL with its date
        self._expired: set[str] = set()
        self._store = store
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def ask(self, command: str, *words: str) -> str:
        """Have the store's process do something; return its answer."""
        front = self.public_url if command == "sign" else self.url
        with self._lock:
            assert self._store.stdin and self._store.stdout
            self._store.stdin.write(" ".join([command, front, *words]) + "\n")
            self._store.stdin.flush()
            return self._store.stdout.readline().strip()

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which tools of AWS reach the store."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_SESSION_TOKEN": SESSION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "no_proxy": "127.0.0.1",
        }

    def keys(self) -> list[str]:
        """The names of all files in the bucket."""
        return self.ask("keys").split()

    def uploads(self) -> int:
        """The number of uploads in parts that are not complete."""
        return int(self.ask("uploads"))

    def expire(self) -> None:
        """End the life of all URLs that were used, as if their time were over."""
        # A URL that is signed in the same second again would be equal.
        last = max(self._seen.values(), default="")
        while datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ") <= last:
            time.sleep(0.05)
        self._expired |= self._seen.keys()

    def refusal_of(self, method: str, target: str, fields: dict[str, str], body: bytes) -> str:
        """Why a request is refused, "" if it is not."""
        why = refusal(method, target, fields, body)
        query = dict(parse_qsl(urlsplit(target).query))
        if not why and SIGNED in query:
            if query[SIGNED] in self._expired:
                why = "it has expired"
            self._seen[query[SIGNED]] = query["X-Amz-Date"]
            if self.each_works_once and method == "GET":
                why = why or ("it was used" if target in self.used else "")
                self.used.add(target)
        return why

    def lead_to(self, url: str) -> None:
        """Sign URLs for the port of `url`; the host has another name than the page's."""
        self.public_url = url.replace("127.0.0.1", "localhost")

    def fill(self, folder: Path) -> None:
        """Put a folder's files into the bucket, `channel.json` last."""
        for path in sorted(folder.iterdir(), key=lambda path: path.name == "channel.json"):
            if path.suffix in (".bin", ".json"):
                assert self.ask("put", str(path), path.name) == "put"


class _Handler(BaseHTTPRequestHandler):
    server: Front
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if not path.startswith("/page/"):
            self._pass()
        elif self.headers["Authorization"] == TOKEN:
            self._answer(302, {"Location": self.server.ask("sign", path[len("/page/") :])})
        else:
            self._answer(404)

    def do_PUT(self) -> None:
        self._pass()

    do_HEAD = do_GET
    do_POST = do_DELETE = do_PUT

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        fields = {name.lower(): value for name, value in self.headers.items()}
        why = self.server.refusal_of(self.command, self.path, fields, body)
        fault = (403, "AccessDenied") if why else self.server.fault(self.command, self.path)
        if fault:
            status, code = fault
            said = f"<Error><Code>{code}</Code><Message>{why}</Message></Error>"
            self._answer(status, body=said.encode())
            return
        store = HTTPConnection("127.0.0.1", self.server.store_port)
        with contextlib.closing(store):
            kept = {k: v for k, v in self.headers.items() if k.lower() not in _OWN}
            store.request(self.command, self.path, body, kept)
            found = store.getresponse()
            data = found.read()
            self._answer(found.status, dict(found.getheaders()), data)

    def _answer(
        self, status: int, fields: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        self.server.answers.append((urlsplit(self.path).path, status))
        fields = {k: v for k, v in (fields or {}).items() if k.lower() not in _REPLACED}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        if status not in (204, 304):
            head += f"Content-Length: {len(body)}\r\n"
        with contextlib.suppress(OSError):
            self.wfile.write(f"HTTP/1.1 {status} OK\r\n{head}\r\n".encode() + body)


def refusal(method: str, target: str, fields: dict[str, str], body: bytes, now: float = 0) -> str:
    """Why a store would refuse a request, "" if it would not: by AWS's Signature Version 4."""
    parts = urlsplit(target)
    query = parse_qsl(parts.query, keep_blank_values=True)
    values = dict(query)
    if "X-Amz-Signature" in values:
        credential, names = values["X-Amz-Credential"], values["X-Amz-SignedHeaders"]
        signature, date = values["X-Amz-Signature"], values["X-Amz-Date"]
        digest, lasts_s = "UNSIGNED-PAYLOAD", int(values["X-Amz-Expires"])
        if "authorization" in fields:
            return "it has two signatures"
    else:
        found = dict(_FIELD.findall(fields.get("authorization", "")))
        if len(found) != 3:
            return "it is not signed"
        credential, names, signature = (
            found[name] for name in ("Credential", "SignedHeaders", "Signature")
        )
        date, digest, lasts_s = fields["x-amz-date"], fields["x-amz-content-sha256"], 900
        if digest != hashlib.sha256(body).hexdigest():
            return "its body is another"
    key, day, region, service, end = credential.split("/")
    signed = [(name, value) for name, value in query if name != "X-Amz-Signature"]
    canonical = "\n".join(
        [
            method,
            parts.path,
            "&".join(f"{quote(name, '~')}={quote(value, '~')}" for name, value in sorted(signed)),
            *(f"{name}:{' '.join(fields.get(name, '').split())}" for name in names.split(";")),
            "",
            names,
            digest,
        ]
    )
    scope = f"{day}/{region}/{service}/{end}"
    text = "\n".join(
        ["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    secret = f"AWS4{_SECRET}".encode()
    for word in (day, region, service, end):
        secret = hmac.digest(secret, word.encode(), "sha256")
    right = hmac.digest(secret, text.encode(), "sha256").hex()
    if key != _KEY or "host" not in names.split(";") or not hmac.compare_digest(right, signature):
        return "its signature is wrong"
    begun = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
    return "it has expired" if (now or time.time()) > begun + lasts_s else ""


@contextlib.contextmanager
def running() -> Iterator[Front]:
    """An object store with an empty bucket. Raises ToolchainError."""
    process = subprocess.Popen(
        [sys.executable, "-c", _STORE],
        env={
            **os.environ,
            "PYTHONPATH": str(web_servers.moto()),
            "AWS_EC2_METADATA_DISABLED": "true",
            "no_proxy": "127.0.0.1",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        with Front(process) as front:
            assert front.ask("bucket") == "made"
            yield front
            front.shutdown()
    finally:
        process.kill()
        process.wait()
