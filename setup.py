"""The one thing pyproject.toml can't say: which C extension belongs to the package."""

from setuptools import setup

setup(cffi_modules=["jepad/ring/build_shm.py:ffi"])
