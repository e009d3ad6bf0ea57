"""package.json: what mip installs is lib/, whole and unchanged, and can be imported there."""

import functools
import http.server
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urljoin

import pytest
from rawrepl import RawReplBoard
from waiting import WAIT_S

from ivota_tools import toolchain
from ivota_tools.common import project_files

ROOT = Path(__file__).parents[2]
FILES = project_files.library_files(ROOT)
PACKAGE = (ROOT / "package.json").read_text()


def whole(base):
    """package.json as it is, but for its relative URLs: what they mean below `base`."""

    def absolute(found):
        return found[1] + json.dumps(urljoin(base, json.loads(found[2])))

    return re.sub(r'(\["[^"]+", )("[^"]+")', absolute, PACKAGE)


def written(*base):
    """What `python -m ivota_workshop.mip_manifest` prints."""
    command = [sys.executable, "-m", "ivota_workshop.mip_manifest", *base]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_package_json_is_the_tree():
    """`python -m ivota_workshop.mip_manifest > package.json`, after a file came or went."""
    assert written() == PACKAGE
    package = json.loads(PACKAGE)
    assert [source for _, source in package["urls"]] == [f"lib/{path}" for path in FILES]
    assert {"bundlefs.py", "ivota/update_client.py"} <= {target for target, _ in package["urls"]}
    assert f'__version__ = "{package["version"]}"' in (ROOT / "lib/ivota/__init__.py").read_text()


def test_with_a_base_the_urls_are_whole():
    base = "http://127.0.0.1:8000/"
    assert written(base) == whole(base)
    urls = json.loads(PACKAGE)["urls"]
    assert json.loads(whole(base))["urls"] == [[path, base + source] for path, source in urls]


@pytest.fixture(scope="module")
def url():
    """The checkout, served over HTTP; beside its package.json the same with whole URLs.

    The mip of today's unix port, 0.3.0, takes no relative ones; that of boards from 1.25 on does,
    and so does mpremote's.
    """

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/whole.json":
                return super().do_GET()
            self.send_response(200)
            self.end_headers()
            host = self.headers["Host"].partition(":")[0]
            base = f"http://{host}:{server.server_port}/"  # mip's request leaves out the port
            self.wfile.write(whole(base).encode())

        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=ROOT)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("bits", [64, 32])
def test_micropythons_own_mip_installs_it(url, bits, tmp_path):
    lib = tmp_path / "lib"
    lib.mkdir()

    def run(code):
        # mip's target is the first folder in sys.path whose name ends in /lib.
        path = ["env", f"MICROPYPATH=.frozen:{lib}"]
        interpreter = toolchain.micropython(bits)
        done = subprocess.run(
            [*path, *interpreter, "-c", code], capture_output=True, text=True, timeout=WAIT_S
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    generation = [int(part) for part in run("import mip; print(mip.__version__)").split(".")[:2]]
    name = "package.json" if generation >= [0, 4] else "whole.json"
    assert "Done" in run(f"import mip; mip.install('{url}/{name}')")
    assert project_files.library_files(tmp_path) == FILES
    for path in FILES:
        assert (lib / path).read_bytes() == (ROOT / "lib" / path).read_bytes()
    said = run("import ivota, bundlefs, ivota.config; print(ivota.__file__, bundlefs.__file__)")
    assert said.split() == [f"{lib}/ivota/__init__.py", f"{lib}/bundlefs.py"]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["a checkout", "a server"])
def test_mpremote_mip_installs_it(url, source, tmp_path):
    package = "./package.json" if source == "a checkout" else f"{url}/package.json"
    with RawReplBoard(tmp_path) as board:
        command = [sys.executable, "-m", "mpremote", "connect", board.port]
        done = subprocess.run(
            [*command, "mip", "install", package, "+", "exec", "import ivota.config"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert board.files() == [f"/lib/{path}" for path in FILES]
        for path in FILES:
            assert board.read(f"/lib/{path}") == (ROOT / "lib" / path).read_bytes()
