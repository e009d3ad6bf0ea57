"""What pyproject.toml can't say: which packages lie in tools/, and the boards' files in the wheel.

setuptools cannot find `ivota_tools` by itself in a folder called tools/; `ivota-stubs` are the
types of the boards' package, for those who write applications (PEP 561). A wheel has no checkout
around it, so it brings what the commands put on boards (tools/tree.py).
"""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class BuildWithDevice(build_py):
    def run(self):
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, "ivota_tools", "_device")
        shutil.rmtree(target, ignore_errors=True)
        for folder in ("lib", "examples"):
            shutil.copytree(folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("boot.py", "main.py"):
            shutil.copy(name, target)


setup(
    packages=[
        "ivota-stubs",
        "ivota_tools",
        *("ivota_tools." + name for name in find_packages("tools")),
    ],
    cmdclass={"build_py": BuildWithDevice},
)
