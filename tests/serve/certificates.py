"""Certificates for tests, made on the spot: none is in the repository, none runs out."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Made(NamedTuple):
    chain: Path
    key: Path

    @property
    def words(self) -> tuple[str | Path, ...]:
        """Of the command line of `emojax serve`."""
        return ("--certificate", self.chain, "--key", self.key)

    @property
    def trusts(self) -> ssl.SSLContext:
        """What trusts this certificate and no other."""
        return ssl.create_default_context(cafile=str(self.chain))


def openssl(*words: str | Path) -> None:
    found = shutil.which("openssl")
    if found is None:
        pytest.fail("no openssl on the path: apt-get install openssl")
    subprocess.run([found, *map(str, words)], check=True, capture_output=True)


def make_certificate(folder: Path, name: str = "server") -> Made:
    """A certificate of 127.0.0.1 and emojax.test that vouches for itself."""
    made = Made(folder / f"{name}.pem", folder / f"{name}_key.pem")
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "2", "-subj", "/CN=emojax.test"),
        *("-addext", "subjectAltName=IP:127.0.0.1,DNS:emojax.test"),
        *("-keyout", made.key, "-out", made.chain),
    )
    return made
