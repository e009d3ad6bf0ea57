"""Lists the packages: setuptools cannot find `ivota_tools` by itself in a folder called tools/."""

from setuptools import find_packages, setup

setup(packages=["ivota_tools", *("ivota_tools." + name for name in find_packages("tools"))])
