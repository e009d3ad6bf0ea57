"""A firmware never lacks its file, and no file stays that no firmware needs."""

import threading

import postgres_support
import pytest
from sqlalchemy import select, update
from waiting import wait_until

from ivota_tools.cloud.rollout import firmware_removal
from ivota_tools.cloud.store import file_sweep
from ivota_tools.cloud.store.database import Database
from ivota_tools.cloud.store.file_store import FolderStore, Stored
from ivota_tools.cloud.store.firmware_store import FirmwareError, Upload, register
from ivota_tools.cloud.store.models import FileSweep, Firmware

DATA = b"firmware" * 1000


class Killed(BaseException):
    """The process ends here."""


class Place(FolderStore):
    """A folder that calls a function at the wrong moment."""

    def __init__(self, folder):
        super().__init__(folder)
        self.before_delete = self.after_put = lambda: None

    def put(self, path, sha256, md5):
        super().put(path, sha256, md5)
        self.after_put()

    def delete(self, sha256):
        self.before_delete()
        super().delete(sha256)

    def names(self):
        return {each.sha256 for each in self.files()}


@pytest.fixture
def store(tmp_path):
    made = Place(tmp_path / "firmware")
    made.start()
    return made


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    where = tmp_path / "x.db" if request.param == "sqlite" else postgres_support.new_database()
    made = Database(where)
    yield made
    made.close()


def upload(database, store, version="1", data=DATA):
    with Upload(store.scratch, 1 << 20) as file:
        file.write(data)
        return register(database, store, file, version, None, "x")[0]


def delete(database, firmware):
    with database.writing() as session:
        firmware_removal.delete_firmware(session, session.get(Firmware, firmware.id), "x")


def later(database):
    """A day passes, and the process that claimed a file is long gone."""
    with database.writing() as session:
        session.execute(update(FileSweep).values(at=0.0))
        claimed = update(FileSweep).where(FileSweep.claimed_at.is_not(None))
        session.execute(claimed.values(claimed_at=1.0))


def rows(database):
    with database.reading() as session:
        return session.scalars(select(FileSweep.sha256)).all()


def killed(*_):
    raise Killed


def test_a_process_killed_between_the_file_and_its_row(database, store):
    """The file is there without a row, but not forever, unless somebody uploads it again."""
    store.after_put = killed
    with pytest.raises(Killed):
        upload(database, store)
    assert len(store.names()) == 1 and len(rows(database)) == 1
    file_sweep.sweep(database, store)
    assert len(store.names()) == 1  # for all that is known, the upload is still going on
    later(database)
    assert file_sweep.sweep(database, store) == 1
    assert store.names() == set() and rows(database) == []
    with pytest.raises(Killed):
        upload(database, store)
    store.after_put = lambda: None
    found = upload(database, store)
    later(database)
    assert file_sweep.sweep(database, store) == 0
    assert store.names() == {found.sha256} and rows(database) == []


def test_a_process_killed_while_it_deletes_a_file(database, store):
    first, second = upload(database, store), upload(database, store, "2")
    delete(database, first)
    assert file_sweep.sweep(database, store) == 0 and store.names() == {second.sha256}
    delete(database, second)
    store.before_delete = killed
    with pytest.raises(Killed):
        file_sweep.sweep(database, store)
    store.before_delete = lambda: None
    assert file_sweep.sweep(database, store) == 0  # another process may be about to delete it
    later(database)
    assert file_sweep.sweep(database, store) == 1
    assert store.names() == set() and rows(database) == []


def test_a_store_that_cannot_delete_is_asked_again(database, store):
    def fail():
        raise OSError("the network is down")

    delete(database, upload(database, store))
    store.before_delete = fail
    assert file_sweep.sweep(database, store) == 0 and len(rows(database)) == 1
    store.before_delete = lambda: None
    later(database)
    assert file_sweep.sweep(database, store) == 1 and rows(database) == []


def test_an_upload_waits_for_the_deletion_of_the_same_contents(database, store, monkeypatch):
    claimed, go_on = threading.Event(), threading.Event()

    def slowly():
        claimed.set()
        assert go_on.wait(60)

    delete(database, upload(database, store))
    store.before_delete = slowly
    sweeper = threading.Thread(target=file_sweep.sweep, args=(database, store))
    sweeper.start()
    assert claimed.wait(60)
    monkeypatch.setattr(file_sweep, "WAIT_S", 0.0)
    with pytest.raises(FirmwareError, match="upload it again"):
        upload(database, store)
    monkeypatch.setattr(file_sweep, "WAIT_S", 60.0)
    found = []
    uploader = threading.Thread(target=lambda: found.append(upload(database, store)))
    uploader.start()
    go_on.set()
    sweeper.join(60)
    uploader.join(60)
    wait_until(lambda: found, "the upload")
    later(database)
    file_sweep.sweep(database, store)
    assert store.names() == {found[0].sha256}


def test_an_upload_that_took_longer_than_its_announcement_is_refused(database, store):
    def a_day_passes():
        later(database)
        file_sweep.sweep(database, store)

    store.after_put = a_day_passes
    with pytest.raises(FirmwareError, match="upload it again"):
        upload(database, store)
    assert store.names() == set()
    with database.reading() as session:
        assert session.scalars(select(Firmware)).all() == []


def test_other_files_of_a_folder_are_none_of_its_business(store):
    """Nor are they deleted: only what the database says."""
    (store.scratch / "notes.txt").write_text("x")
    (store.scratch / "x.bin").write_bytes(b"x")
    (store.scratch / f"{'0' * 64}.bin").write_bytes(b"xyz")
    assert list(store.files()) == [Stored("0" * 64, 3)]
