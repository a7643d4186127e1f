"""``Folder`` reads, writes and lists a work folder that hostile code keeps changing."""

from __future__ import annotations

import hashlib
import os
import stat

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from sandbox.guest.folder import Folder, remove
from tests.sandbox.fuzz.explore import BOUNDED, EXAMPLES, watch
from tests.sandbox.fuzz.strategies import hostile_texts, mostly
from tests.sandbox.fuzz.work_folder import LIMIT, Changes, Wreck, changes, paths

asked = mostly(
    paths, hostile_texts | st.sampled_from(("../outside/secret", "a/../../outside/a", "b/../a", "./a"))
)


class WorkFolder(RuleBasedStateMachine):
    """Hostile changes and the host's requests, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.wreck = Wreck()
        self.folder = Folder(str(self.wreck.work), 1, 1)

    @initialize(several=changes)
    def begin(self, several: Changes) -> None:
        self.change_more(several)

    @rule(several=changes)
    def change_more(self, several: Changes) -> None:
        for change in several:
            self.wreck.change(*change)

    @rule(path=asked)
    def read(self, path: str) -> None:
        expected, info = self.wreck.content(path), self.wreck.kind(path)
        content = refusal = None
        try:
            with watch(str(self.wreck.work)):
                content = self.folder.read(path)
        except (FileNotFoundError, ValueError) as error:
            refusal = error
        assert content == expected, f"{path!r}"
        if info is not None and not stat.S_ISREG(info.st_mode):
            assert isinstance(refusal, FileNotFoundError), f"{path!r}: {refusal!r}"

    @rule(path=asked, data=st.binary(max_size=5))
    def write(self, path: str, data: bytes) -> None:
        try:
            with watch(str(self.wreck.work)):
                self.folder.write(path, data)
        except (OSError, ValueError):
            pass
        else:
            assert self.wreck.content(path) == data, path
        assert not [name for name in os.listdir(self.wreck.work) if name.endswith(".draft")]

    @rule()
    def listing(self) -> None:
        with watch(str(self.wreck.work)):
            listed = tuple(self.folder.files())
        assert [path for path, _, _ in listed] == self.wreck.listing()
        total = sum(size for _, size, _ in listed)
        for path, size, digest in listed:
            assert size == (self.wreck.work / path).lstat().st_size
            data = self.wreck.content(path)
            if digest or (data is not None and total < LIMIT):
                assert digest == hashlib.sha256(data or b"").hexdigest(), path

    @rule()
    def look(self) -> None:
        with watch(str(self.wreck.work)):
            self.folder.unlock()
            self.folder.usage(alone=False)
            self.folder.usage(alone=True)

    @invariant()
    def nothing_outside_changes(self) -> None:
        self.wreck.check_outside()

    def teardown(self) -> None:
        os.close(self.folder.fd)
        try:
            with watch(str(self.wreck.work)):
                remove(str(self.wreck.work))
            assert not self.wreck.work.exists()
            self.wreck.check_outside()
        finally:
            self.wreck.remove()


def test_the_folder_does_what_a_slow_check_of_every_component_says() -> None:
    bounded = settings(BOUNDED, max_examples=max(1, EXAMPLES // 5), stateful_step_count=40)
    run_state_machine_as_test(WorkFolder, settings=bounded)
