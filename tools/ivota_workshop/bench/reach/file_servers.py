"""nginx, Apache and Varnish in usual configurations, all serving firmware from one folder."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ivota_tools.toolchain import web_servers

START_S = 30.0
SLOW = 60_000  # bytes per second
BEARER = "Bearer a-word.that-nobody/knows="
BASIC = "Basic Ym9hcmQ6aHVudGVyMg=="  # board:hunter2

# Each location of nginx, with its directives beside the folder.
NGINX_PLACES = {
    "plain": "",
    "gzip": "gzip on; gzip_types *; gzip_min_length 1; gzip_http_version 1.0;",
    "slow": f"limit_rate {SLOW};",
    "busy": "limit_req zone=few burst=1 nodelay; limit_req_status 429;",
    "whole": "max_ranges 0;",
    "no-etag": "etag off; if_modified_since off;",
    "one-each": "keepalive_timeout 0;",
    "token": f'if ($http_authorization != "{BEARER}") {{ return 401; }}',
    "password": "auth_basic files; auth_basic_user_file {folder}/users;",
    "policies": 'add_header Content-Security-Policy "default-src {long}";',
}
NGINX = """\
worker_processes 1;
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    default_type application/octet-stream;
    absolute_redirect off;
    large_client_header_buffers 4 16k;
    limit_req_zone $server_name zone=few:1m rate=60r/m;
    proxy_cache_path {folder}/cache keys_zone=kept:1m;
    {temporary}
    server {{
        listen 127.0.0.1:{http};
        {places}
        location /moved/ {{ rewrite ^/moved/(.*) /plain/$1 permanent; }}
        location ~ ^/found/(.*)$ {{
            return 302 http://127.0.0.1:{http}/plain/$1$is_args$args;
        }}
        location /elsewhere/ {{ rewrite ^/elsewhere/(.*) http://127.0.0.1:{apache}/plain/$1; }}
        location /proxied/ {{ proxy_pass http://127.0.0.1:{apache}/plain/; }}
        location /proxied-slow/ {{ proxy_pass http://127.0.0.1:{apache}/slow/; }}
        location /unbuffered/ {{
            proxy_pass http://127.0.0.1:{apache}/plain/;
            proxy_buffering off;
            proxy_http_version 1.1;
        }}
        location /sliced/ {{
            slice 16k;
            proxy_cache kept;
            proxy_cache_key $uri$slice_range;
            proxy_set_header Range $slice_range;
            proxy_cache_valid 200 206 1h;
            proxy_pass http://127.0.0.1:{apache}/plain/;
        }}
    }}
    server {{
        listen 127.0.0.1:{asking} ssl;
        ssl_certificate {folder}/chain.pem;
        ssl_certificate_key {folder}/leaf.key;
        ssl_client_certificate {folder}/root.pem;
        ssl_verify_client on;
        ssl_verify_depth 3;
        location /plain/ {{ alias {files}/; }}
    }}
    server {{
        listen 127.0.0.1:{https} ssl default_server;
        server_name other.example;
        ssl_certificate {folder}/other.pem;
        ssl_certificate_key {folder}/other.key;
        return 444;
    }}
    server {{
        listen 127.0.0.1:{https} ssl;
        server_name localhost;
        ssl_certificate {folder}/chain.pem;
        ssl_certificate_key {folder}/leaf.key;
        {places}
    }}
}}
"""

APACHE_PLACES = {
    "plain": "",
    "deflate": "SetOutputFilter DEFLATE\n",
    "slow": f"SetOutputFilter RATE_LIMIT\nSetEnv rate-limit {SLOW // 1024}\n",
    "no-ranges": "MaxRanges none\n",
    "no-etag": "FileETag None\nHeader unset ETag\n",
    "kept": "Header set Cache-Control max-age=60\n",
}
APACHE = """\
ServerRoot {folder}
ServerName localhost
PidFile {folder}/apache.pid
ErrorLog {folder}/apache.log
DefaultRuntimeDir {folder}
Mutex pthread
{modules}
User www-data
Group www-data
Listen 127.0.0.1:{apache}
Listen 127.0.0.1:{apache_tls}
DocumentRoot {files}
<Directory {files}>
Require all granted
</Directory>
{places}
RewriteEngine on
RewriteRule ^/moved/(.*)$ /plain/$1 [R=307]
<VirtualHost 127.0.0.1:{apache_tls}>
ServerName other.example
SSLEngine on
SSLCertificateFile {folder}/other.pem
SSLCertificateKeyFile {folder}/other.key
Redirect gone /
</VirtualHost>
<VirtualHost 127.0.0.1:{apache_tls}>
ServerName localhost
SSLEngine on
SSLCertificateFile {folder}/chain.pem
SSLCertificateKeyFile {folder}/leaf.key
</VirtualHost>
"""
APACHE_MODULES = (
    "mpm_event authz_core alias headers filter deflate ratelimit rewrite env ssl reqtimeout"
)

VARNISH = """\
vcl 4.1;
backend apache {{ .host = "127.0.0.1"; .port = "{apache}"; }}
sub vcl_recv {{
    if (req.url ~ "^/passed/") {{ set req.url = regsub(req.url, "^/passed/", "/plain/"); return (pass); }}
    return (hash);
}}
sub vcl_backend_response {{
    if (bereq.url ~ "^/gzip/") {{ set beresp.do_gzip = true; }}
    set beresp.ttl = 60s;
}}
sub vcl_backend_fetch {{
    set bereq.url = regsub(bereq.url, "^/gzip/", "/plain/");
}}
"""  # noqa: E501


@dataclass
class Servers:
    """All three servers, started by `running()`. `files` is the folder that they serve."""

    folder: Path
    ports: dict[str, int] = field(default_factory=dict)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def authority(self) -> Path:
        return self.folder / "root.pem"

    def url(self, server: str, place: str) -> str:
        tls = server in ("https", "asking", "apache_tls")
        host = "https://localhost" if tls else "http://127.0.0.1"
        return f"{host}:{self.ports[server]}/{place}"

    def start(self, name: str) -> None:
        command = {
            "nginx": [*web_servers.nginx(), "-p", str(self.folder), "-c", "nginx.conf"],
            "apache": [*web_servers.apache()[0], "-X", "-f", str(self.folder / "apache.conf")],
            "varnish": [*web_servers.varnish()[0], *self._varnish()],
        }[name]
        if name == "nginx":
            command[-1] = str(self.folder / "nginx.conf")
        with (self.folder / f"{name}.out").open("ab") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        self._running[name] = process
        deadline = time.monotonic() + START_S
        while not self._listens(name):
            if process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / f"{name}.out").read_text(errors="replace")[-500:]
                log = self.folder / f"{name}.log"
                said += log.read_text(errors="replace")[-500:] if log.exists() else ""
                raise RuntimeError(f"{name} does not start: {said}")
            time.sleep(0.05)

    def stop(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def restart(self, name: str) -> None:
        """Restart a server, which cuts its transfers."""
        self.stop(name)
        # Varnish's second process lives a moment longer than its first, and keeps the port.
        deadline = time.monotonic() + START_S
        while self._listens(name):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} still listens after it was killed")
            time.sleep(0.05)
        self.start(name)

    def _listens(self, name: str) -> bool:
        port = self.ports[{"nginx": "http"}.get(name, name)]
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        return False

    def _varnish(self) -> list[str]:
        return [
            *("-F", "-f", str(self.folder / "varnish.vcl"), "-n", str(self.folder / "varnish")),
            *("-a", f"127.0.0.1:{self.ports['varnish']}", "-s", "malloc,32m", "-j", "none"),
            *("-T", "none", "-p", f"vmod_path={web_servers.varnish()[1]}"),
        ]

    def write(self) -> None:
        """Write the configurations, the folder of files and the certificates."""
        self.folder.chmod(0o755)
        self.files.mkdir()
        issue_chain(self.folder)
        locations = "\n".join(
            f"location /{place}/ {{ alias {self.files}/; {more} }}"
            for place, more in NGINX_PLACES.items()
        )
        temporary = "\n".join(
            f"{name}_temp_path {self.folder}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
        )
        long = " ".join(f"https://a{number}.example.org" for number in range(120))
        text = NGINX.format(
            folder=self.folder,
            user="user root;" if os.geteuid() == 0 else "",
            temporary=temporary,
            places=locations.replace("{long}", long).replace("{folder}", str(self.folder)),
            files=self.files,
            **self.ports,
        )
        (self.folder / "nginx.conf").write_text(text)
        (self.folder / "users").write_text("board:{PLAIN}hunter2\n")
        modules = web_servers.apache()[1]
        aliases = "\n".join(
            f"Alias /{place}/ {self.files}/\n<Location /{place}/>\n{more}</Location>"
            for place, more in APACHE_PLACES.items()
        )
        text = APACHE.format(
            folder=self.folder,
            files=self.files,
            places=aliases,
            modules="\n".join(
                f"LoadModule {name}_module {modules}/mod_{name}.so"
                for name in APACHE_MODULES.split()
            ),
            **self.ports,
        )
        (self.folder / "apache.conf").write_text(text)
        (self.folder / "varnish.vcl").write_text(VARNISH.format(**self.ports))


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Servers]:
    """Run the servers. Raises ToolchainError if one is missing and cannot be fetched."""
    # Fetch the programs first: meanwhile another program could take one of the ports.
    for program in (web_servers.nginx, web_servers.apache, web_servers.varnish):
        program()
    servers = Servers(
        folder, _free_ports("http", "https", "asking", "apache", "apache_tls", "varnish")
    )
    servers.write()
    try:
        for name in ("apache", "nginx", "varnish"):
            servers.start(name)
        yield servers
    finally:
        for name in ("varnish", "nginx", "apache"):
            servers.stop(name)


def _free_ports(*names: str) -> dict[str, int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        return {name: probe.getsockname()[1] for name, probe in zip(names, probes, strict=True)}


def issue_chain(folder: Path) -> None:
    """Issue `root.pem`, `middle.pem` below it, and leaves for localhost and others with chains."""
    root, root_key = _issue("a root", None, None, authority=True)
    middle, middle_key = _issue("an authority below", root, root_key, authority=True)
    (folder / "root.pem").write_bytes(_pem(root))
    (folder / "middle.pem").write_bytes(_pem(middle))
    # `board` is the client's certificate.
    for name, host in (("leaf", "localhost"), ("other", "other.example"), ("board", "reach")):
        leaf, key = _issue(host, middle, middle_key)
        chain = "chain" if name == "leaf" else name
        (folder / f"{chain}.pem").write_bytes(_pem(leaf) + _pem(middle))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def _issue(
    name: str,
    by: x509.Certificate | None,
    by_key: ec.EllipticCurvePrivateKey | None,
    *,
    authority: bool = False,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(days=5))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
    )
    if not authority:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        )
    return builder.sign(by_key or key, hashes.SHA256()), key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
