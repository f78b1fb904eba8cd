"""The native kernels as an optional extension; everything else stands in pyproject.toml.

Where they do not compile the package installs all the same, and torch answers. The library uses nothing of Python, so
one build serves every version of it.
"""

import sys
from pathlib import Path

from setuptools import Extension, setup

SOURCES = sorted(str(file) for file in Path("native").glob("*.cpp"))
HEADERS = sorted(str(file) for file in Path("native").glob("*.hpp"))
UNIX = [
    "-std=c++17",
    "-O3",
    "-g0",
    "-ffp-contract=off",
    "-fvisibility=hidden",
    "-Wno-uninitialized",
    "-Wno-maybe-uninitialized",
]

setup(
    ext_modules=[
        Extension(
            "seqward.catalogue._native",
            SOURCES,
            depends=HEADERS,
            extra_compile_args=["/std:c++17", "/O2"] if sys.platform == "win32" else UNIX,
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
