"""Build, sign, patch and inspect firmware files."""

from ..bundle import BundleFile, ReleaseError, check_version
from ..signed_file import Signer
from .inspection import Release, check_usable, inspect, kind_of, warnings
from .packing import cut_application, default_out, pack, sign
from .patch_files import apply_patch, find_base, make_patch, patch_out

__all__ = [
    "BundleFile",
    "Release",
    "ReleaseError",
    "Signer",
    "apply_patch",
    "check_usable",
    "check_version",
    "cut_application",
    "default_out",
    "find_base",
    "inspect",
    "kind_of",
    "make_patch",
    "pack",
    "patch_out",
    "sign",
    "warnings",
]
