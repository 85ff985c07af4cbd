"""Stamps shared by processes: what one changes is seen by the others before anybody is told."""

import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory_plugins.stores._stamps import SLOTS, Stamps

SLOT = 4711


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "test.db")


class Stamper:
    """See ``stamper.py``."""

    def __init__(self, file: str) -> None:
        program = (sys.executable, str(Path(__file__).with_name("stamper.py")), file, str(SLOT))
        self.process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answers("open")

    def does(self, what: str) -> None:
        assert self.process.stdin is not None
        print(what, file=self.process.stdin, flush=True)
        self._answers("done")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self, what: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == what


@contextmanager
def another_process(file: str) -> Iterator[Stamper]:
    stamper = Stamper(file)
    with stamper.process:
        try:
            yield stamper
        finally:
            stamper.kill()


def change(stamps: Stamps, slot: int) -> int:
    """One transaction; the stamp after it."""
    stamps.change(slot)
    return stamps.changed()[slot]


def test_a_new_table_trusts_nothing(file: str) -> None:
    with closing(Stamps(file)) as stamps:
        assert {stamps.read(slot) for slot in range(SLOTS)} == {0}


def test_between_change_and_changed_nobody_trusts_it(file: str) -> None:
    with closing(Stamps(file)) as stamps:
        before = change(stamps, SLOT)
        assert stamps.read(SLOT) == before != 0
        stamps.change(SLOT)
        assert stamps.read(SLOT) == 0
        after = stamps.changed()
        assert after == {SLOT: stamps.read(SLOT)}
        assert after[SLOT] not in (0, before)
        assert stamps.changed() == {}, "each is told once"


@given(st.lists(st.lists(st.sampled_from([0, 1, 2, SLOTS - 1]), max_size=3), max_size=20))
def test_no_stamp_of_a_slot_is_ever_used_twice(
    tmp_path_factory: pytest.TempPathFactory, transactions: list[list[int]]
) -> None:
    used: set[tuple[int, int]] = set()
    with closing(Stamps(str(tmp_path_factory.mktemp("stamps") / "db"))) as stamps:
        for slots in transactions:
            for slot in slots:
                stamps.change(slot)
            fresh = stamps.changed()
            assert fresh.keys() == set(slots)
            assert used.isdisjoint(fresh.items())
            assert all(stamps.read(slot) == stamp for slot, stamp in fresh.items())
            used.update(fresh.items())


def test_other_slots_stand(file: str) -> None:
    with closing(Stamps(file)) as stamps:
        kept = change(stamps, SLOT + 1)
        change(stamps, SLOT)
        assert stamps.read(SLOT + 1) == kept


def test_what_another_process_changes_is_seen_at_once(file: str) -> None:
    with closing(Stamps(file)) as stamps, another_process(file) as other:
        mine = change(stamps, SLOT)
        other.does("change")
        assert stamps.read(SLOT) == 0, "before its COMMIT"
        other.does("changed")
        assert stamps.read(SLOT) not in (0, mine)
        theirs = stamps.read(SLOT)
        assert change(stamps, SLOT) != theirs


def test_who_changes_a_slot_that_another_is_changing_leaves_it_untrusted(file: str) -> None:
    """The other's transaction began after ours had committed, and is not over."""
    with closing(Stamps(file)) as stamps, another_process(file) as other:
        stamps.change(SLOT)
        other.does("change")
        assert stamps.changed() == {}
        assert stamps.read(SLOT) == 0
        other.does("changed")
        assert stamps.read(SLOT) != 0


def test_a_process_that_is_killed_in_between_leaves_what_nobody_trusts(file: str) -> None:
    with closing(Stamps(file)) as stamps:
        with another_process(file) as other:
            change(stamps, SLOT)
            other.does("change")
            other.kill()
        assert stamps.read(SLOT) == 0
        assert change(stamps, SLOT) == stamps.read(SLOT) != 0, "until somebody changes it again"


class Overtaken:
    """The table as one process has it; another changes a slot at the first look at it."""

    def __init__(self, table: memoryview, other: Stamps) -> None:
        self._table = table
        self._meanwhile: Stamps | None = other

    def __getitem__(self, place: int) -> int:
        seen = int(self._table[place])
        if self._meanwhile:
            other, self._meanwhile = self._meanwhile, None
            change(other, SLOT)
        return seen

    def __setitem__(self, place: int, value: int) -> None:
        self._table[place] = value

    def release(self) -> None:
        self._table.release()


def test_who_looks_and_writes_may_be_overtaken_in_between(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stamp is one that nobody finds: what it knows was true before that other change."""
    with closing(Stamps(file)) as one, closing(Stamps(file)) as two:
        one.change(SLOT)
        monkeypatch.setattr(one, "_table", Overtaken(one._table, two))
        mine = one.changed()
        assert one.read(SLOT) == two.read(SLOT)
        assert one.read(SLOT) not in mine.values()
        assert change(two, SLOT) == one.read(SLOT) != 0, "until somebody changes it again"


def test_two_processes_that_both_change_it_never_lose_a_change(file: str) -> None:
    """Neither ever finds its own stamp standing after the other has changed the slot."""
    with closing(Stamps(file)) as stamps, another_process(file) as other:
        for _ in range(200):
            mine = change(stamps, SLOT)
            other.does("change")
            other.does("changed")
            assert stamps.read(SLOT) not in (0, mine)


def test_it_is_for_its_user_alone(file: str) -> None:
    """Whoever could write to it could make us trust what is not so."""
    Path(f"{file}-stamps").touch(mode=0o666)
    with closing(Stamps(file)):
        assert stat.S_IMODE(Path(f"{file}-stamps").stat().st_mode) == 0o600


def test_the_last_to_leave_removes_it(file: str) -> None:
    table = Path(f"{file}-stamps")
    one, two = Stamps(file), Stamps(file)
    one.close()
    assert table.exists()
    kept = change(two, SLOT)
    with closing(Stamps(file)) as three:
        assert three.read(SLOT) == kept
        two.close()
        assert table.exists()
    assert not table.exists()


def test_what_a_killed_process_left_is_taken_over(file: str) -> None:
    with another_process(file) as other:
        other.does("change")
        other.does("changed")
        other.kill()
    assert Path(f"{file}-stamps").exists()
    with closing(Stamps(file)) as stamps:
        assert stamps.read(SLOT) != 0
    assert not Path(f"{file}-stamps").exists()


def test_who_opens_while_the_last_one_leaves_has_one_that_others_find(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that it opened is removed before it holds the lock."""
    last = Stamps(file)
    looked = Stamps._is_current
    seen: list[bool] = []

    def removed_before(stamps: Stamps, descriptor: int) -> bool:
        if not seen:
            Path(f"{file}-stamps").unlink()
        seen.append(looked(stamps, descriptor))
        return seen[-1]

    monkeypatch.setattr(Stamps, "_is_current", removed_before)
    with closing(Stamps(file)) as one, closing(Stamps(file)) as two:
        assert seen[:2] == [False, True]
        assert change(one, SLOT) == two.read(SLOT) != 0
    last.close()


def test_many_that_come_and_go_share_one(file: str) -> None:
    """Each has the table that all others have at the moment, whoever leaves meanwhile."""
    failed: list[BaseException] = []
    turn = threading.Lock()

    def come_and_go() -> None:
        try:
            for _ in range(200):
                with closing(Stamps(file)) as mine, turn:
                    stamp = change(mine, SLOT)
                    with closing(Stamps(file)) as theirs:
                        assert theirs.read(SLOT) == stamp
        except BaseException as error:  # noqa: BLE001 - of a thread: told below
            failed.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert not Path(f"{file}-stamps").exists()


def test_where_there_can_be_no_file_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Stamps(str(tmp_path / "no such folder" / "db"))
    (tmp_path / "db-stamps").mkdir()
    with pytest.raises(IsADirectoryError):
        Stamps(str(tmp_path / "db"))
