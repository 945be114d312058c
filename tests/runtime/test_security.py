import stat
from pathlib import Path

import pytest

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.security import CERTIFICATE, KEY, load_security, make_security, remove_security

pytest.importorskip("cryptography")


def test_certificates_are_files_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    security = make_security(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert security.require_encryption
    for role in ("client", "scheduler", "worker"):
        told = security.get_tls_config_for_role(role)
        assert (told["ca_file"], told["key"]) == (str(folder / CERTIFICATE), str(folder / KEY))
        assert security.get_listen_args(role)["ssl_context"] is not None


def test_a_file_of_another_that_lies_in_the_way_is_replaced_not_written_into(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.touch()
    (tmp_path / KEY).symlink_to(trap)
    make_security(tmp_path)
    assert trap.read_text() == ""
    assert "PRIVATE KEY" in (tmp_path / KEY).read_text()


def test_another_process_loads_what_was_made_and_not_what_was_removed(tmp_path: Path) -> None:
    made = make_security(tmp_path)
    loaded = load_security(tmp_path)
    assert loaded.get_tls_config_for_role("client") == made.get_tls_config_for_role("client")
    remove_security(tmp_path)
    remove_security(tmp_path)
    with pytest.raises(ExecutorError, match="as long as its cluster runs"):
        load_security(tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExecutorError, match="cannot write the certificate"):
        make_security(tmp_path / "file")
