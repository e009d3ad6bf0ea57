"""Write package.json: `python -m ivota_workshop.mip_manifest [BASE_URL] > package.json`."""

from __future__ import annotations

import json
import sys

from ivota_tools.common import project_files


def package_json(base: str = "") -> str:
    """Return the text of package.json, from which mip and `mpremote mip` install lib/.

    With `base`, a URL that ends in "/", the files' URLs are absolute: mip 0.3 and older, frozen
    into MicroPython before 1.25 and into Debian's 1.26, do not support relative ones.
    """
    urls = [
        [path, f"{base}lib/{path}"] for path in project_files.library_files(project_files.root())
    ]
    lines = ",\n".join(f"    {json.dumps(url)}" for url in urls)
    head = f'  "version": {json.dumps(project_files.version())},\n  "urls": [\n'
    return f'{{\n{head}{lines}\n  ],\n  "deps": []\n}}\n'


if __name__ == "__main__":
    print(package_json(*sys.argv[1:2]), end="")
