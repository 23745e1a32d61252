"""The gallery's key as systemd hands it to a service: a file in $CREDENTIALS_DIRECTORY. The process is a real one."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """As systemd makes it: nobody may write the directory or the file. Source: systemd.exec(5), LoadCredentialEncrypted."""
    directory = tmp_path / "credentials"
    directory.mkdir()
    path = directory / "edged.gallery-key"
    path.write_text(secrets.token_hex(32))  # without the end of a line, as from `openssl rand -hex 32 | tr -d '\\n'`
    path.chmod(0o400)
    directory.chmod(0o500)
    return directory


def list_people(tmp_path: Path, credentials: Path | None) -> SimpleNamespace:
    """`edged faces list --json`: its exit status and its answer."""
    environ = {name: value for name, value in os.environ.items() if name != "CREDENTIALS_DIRECTORY"} | {"PYTHONPATH": str(ROOT)}
    if credentials is not None:
        environ["CREDENTIALS_DIRECTORY"] = str(credentials)
    command = [sys.executable, "-m", "edged", "faces", "list", "--json", "--state-dir", str(tmp_path / "state")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, timeout=120)
    return SimpleNamespace(status=done.returncode, answer=json.loads(done.stdout))


def test_gallery_of_a_credential_is_opened_with_that_only(tmp_path: Path, credentials: Path) -> None:
    """No key is written beside the gallery, and without the credential, or with another one, nobody reads it."""
    made = list_people(tmp_path, credentials)
    again = list_people(tmp_path, credentials)
    without = list_people(tmp_path, None)
    (credentials / "edged.gallery-key").chmod(0o600)
    (credentials / "edged.gallery-key").write_text(secrets.token_hex(32))
    other = list_people(tmp_path, credentials)

    assert [(each.status, each.answer["n_people"]) for each in (made, again)] == [(0, 0), (0, 0)]
    assert not (tmp_path / "state" / "gallery.key").exists()
    assert (without.status, without.answer["error"]["code"]) == (1, "gallery.key_missing")
    assert (other.status, other.answer["error"]["code"]) == (1, "gallery.key_wrong")
