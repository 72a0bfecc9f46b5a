"""The order of records: what the kernel merged is told in the order in which it can have happened."""

import struct

from fanotify_fastpath import Mask
from fanotify_fastpath._engines.fanotify.cookie import Cookie
from fanotify_fastpath._engines.fanotify.raw import Raw, decode
from fanotify_fastpath._engines.fanotify.sequence import Sequence
from fanotify_fastpath._uapi.constants import InfoType

FSID = b"FILESYS0"
CREATE, DELETE, RENAME, DIR = int(Mask.CREATE), int(Mask.DELETE), int(Mask.RENAME), int(Mask.ONDIR)
Told = tuple[int, str, str]


def key(label: str) -> bytes:
    """Identity of an object, as the kernel gives it: filesystem id and file handle."""
    data = label.encode().ljust(8, b"\0")
    return FSID + struct.pack("=Ii", len(data), 1) + data


def info(info_type: int, directory: str, name: bytes | None = None) -> bytes:
    payload = key(directory) + (b"" if name is None else name + b"\0")
    payload += bytes(-len(payload) % 4)
    return struct.pack("=BBH", info_type, 0, 4 + len(payload)) + payload


def record(mask: int, *infos: bytes, pid: int = 7) -> bytes:
    body = b"".join(infos)
    return struct.pack("=IBBHQii", 24 + len(body), 3, 0, 24, mask, -1, pid) + body


def entry(mask: int, directory: str, name: bytes, obj: str) -> bytes:
    return record(mask, info(InfoType.DFID_NAME, directory, name), info(InfoType.FID, obj))


def rename(mask: int, old: str, old_name: bytes, new: str, new_name: bytes, obj: str) -> bytes:
    return record(
        mask | RENAME,
        info(InfoType.OLD_DFID_NAME, old, old_name),
        info(InfoType.NEW_DFID_NAME, new, new_name),
        info(InfoType.FID, obj),
    )


class Queue:
    """A kernel queue of which each read takes one batch."""

    def __init__(self, *batches: list[bytes]) -> None:
        self.batches = list(batches)

    def read(self) -> tuple[list[bytes], bool]:
        if not self.batches:
            return [], True
        batch = self.batches.pop(0)
        return [b"".join(batch)], not self.batches


class BusyQueue(Cookie):
    """A kernel queue that is never seen empty, in which cookies may be dropped."""

    def __init__(self) -> None:
        self.key = key("cookie")
        self.queued: list[bytes] = []

    def read(self) -> tuple[list[bytes], bool]:
        queued, self.queued = self.queued, []
        return [b"".join(queued)], False

    def drop(self) -> None:
        self.queued.append(record(int(Mask.ATTRIB), info(InfoType.FID, "cookie")))


def give_out(sequence: Sequence) -> list[Told]:
    told = []
    while (raw := sequence.next()) is not None:
        told.append(short(raw))
    return told


def tell(*batches: list[bytes]) -> list[Told]:
    """Feed batches, and give all records out after each: types, object, name."""
    queue = Queue(*batches)
    sequence = Sequence(queue.read)
    told: list[Told] = []
    while True:
        sequence.fill()
        raw = sequence.next()
        while raw is not None:
            if raw.mask & ~DIR:
                told.append(short(raw))
            raw = sequence.next()
        if not queue.batches:
            return told


def short(raw: Raw) -> Told:
    label = (raw.obj or b"")[16:].rstrip(b"\0").decode()
    return raw.mask & ~DIR, label, (raw.name2 or raw.name or b"").decode()


def test_records_are_decoded_with_identities_and_names() -> None:
    raws = decode(entry(CREATE, "d", b"\xff\n", "o") + rename(DIR, "d", b"a", "e", b"b", "o"))
    assert [(r.mask, r.pid, r.dir, r.name, r.obj, r.dir2, r.name2) for r in raws] == [
        (CREATE, 7, key("d"), b"\xff\n", key("o"), None, None),
        (RENAME | DIR, 7, key("d"), b"a", key("o"), key("e"), b"b"),
    ]


def test_an_event_on_a_directory_itself_has_it_as_directory_and_a_dot_as_name() -> None:
    (raw,) = decode(record(int(Mask.OPEN) | DIR, info(InfoType.DFID_NAME, "d", b".")))
    assert (raw.dir, raw.name, raw.obj) == (key("d"), b".", None)


def test_an_inode_without_directory_has_only_an_object() -> None:
    (raw,) = decode(record(int(Mask.ATTRIB), info(InfoType.FID, "o")))
    assert (raw.dir, raw.name, raw.obj) == (None, None, key("o"))


def test_plain_records_keep_their_order() -> None:
    batch = [entry(CREATE, "d", b"%d" % n, f"o{n}") for n in range(5)]
    assert tell(batch) == [(CREATE, f"o{n}", str(n)) for n in range(5)]


def test_a_directory_made_and_removed_is_removed_after_what_happened_in_it() -> None:
    told = tell([entry(CREATE | DELETE | DIR, "d", b"sub", "s"), entry(CREATE | DELETE, "s", b"f", "o")])
    assert told == [(CREATE, "s", "sub"), (CREATE | DELETE, "o", "f"), (DELETE, "s", "sub")]


def test_nested_directories_are_removed_from_the_deepest_up() -> None:
    told = tell(
        [
            entry(CREATE | DELETE | DIR, "d", b"a", "a"),
            entry(CREATE | DELETE | DIR, "a", b"b", "b"),
            entry(CREATE | DELETE | DIR, "b", b"c", "c"),
        ]
    )
    assert told[:3] == [(CREATE, "a", "a"), (CREATE, "b", "b"), (CREATE, "c", "c")]
    assert told[3:] == [(DELETE, "c", "c"), (DELETE, "b", "b"), (DELETE, "a", "a")]


def test_a_name_that_is_taken_again_was_free_before_with_all_below_it() -> None:
    told = tell(
        [
            entry(CREATE | DELETE | DIR, "d", b"a", "a"),
            entry(CREATE | DELETE | DIR, "a", b"b", "b"),
            entry(CREATE | DIR, "d", b"a", "a2"),
            entry(CREATE, "a2", b"b", "b2"),
        ]
    )
    assert told == [
        (CREATE, "a", "a"),
        (CREATE, "b", "b"),
        (DELETE, "b", "b"),
        (DELETE, "a", "a"),
        (CREATE, "a2", "a"),
        (CREATE, "b2", "b"),
    ]


def test_a_parent_that_goes_has_no_children_left() -> None:
    told = tell([entry(CREATE | DELETE | DIR, "a", b"b", "b"), entry(DELETE | DIR, "d", b"a", "a")])
    assert told == [(CREATE, "b", "b"), (DELETE, "b", "b"), (DELETE, "a", "a")]


def test_a_rename_onto_a_name_comes_after_the_removal_that_freed_it() -> None:
    told = tell([entry(CREATE | DELETE | DIR, "d", b"a", "a"), rename(DIR, "d", b"x", "d", b"a", "x")])
    assert told == [(CREATE, "a", "a"), (DELETE, "a", "a"), (RENAME, "x", "a")]


def test_the_same_name_made_and_removed_twice_alternates() -> None:
    batch = [entry(CREATE | DELETE | DIR, "d", b"a", "a1"), entry(CREATE | DELETE | DIR, "d", b"a", "a2")]
    assert tell(batch) == [(CREATE, "a1", "a"), (DELETE, "a1", "a"), (CREATE, "a2", "a"), (DELETE, "a2", "a")]


def test_a_file_renamed_between_creation_and_deletion_is_deleted_after_it() -> None:
    told = tell(
        [
            entry(CREATE | DELETE, "d", b"a", "o"),
            rename(0, "d", b"a", "d", b"b", "o"),
            rename(0, "d", b"b", "d", b"a", "o"),
        ]
    )
    assert told == [(CREATE, "o", "a"), (RENAME, "o", "b"), (RENAME, "o", "a"), (DELETE, "o", "a")]


def test_a_file_made_and_removed_stays_one_record() -> None:
    assert tell([entry(CREATE | DELETE, "d", b"a", "o")]) == [(CREATE | DELETE, "o", "a")]


def test_a_removal_is_held_until_the_queue_was_emptied() -> None:
    told = tell([entry(CREATE | DELETE | DIR, "d", b"a", "a")], [entry(CREATE, "a", b"f", "o")])
    assert told == [(CREATE, "a", "a"), (CREATE, "o", "f"), (DELETE, "a", "a")]


def test_the_position_of_a_directory_is_where_the_next_record_takes_it_from() -> None:
    batch = [
        entry(CREATE, "x", b"f", "o"),
        rename(DIR, "d", b"a", "e", b"b", "x"),
        rename(DIR, "e", b"b", "d", b"c", "x"),
    ]
    sequence = Sequence(Queue(batch).read)
    sequence.fill()
    places = []
    while sequence.next() is not None:
        places.append(sequence.position(key("x")))
    assert places == [(key("d"), b"a"), (key("e"), b"b"), None]
    assert sequence.position(key("elsewhere")) is None


def test_renames_that_come_back_leave_the_place_in_doubt_until_the_queue_was_emptied() -> None:
    there = [rename(DIR, "d", b"a", "e", b"a", "x"), rename(DIR, "e", b"a", "d", b"a", "x")]
    sequence = Sequence(Queue(there).read)
    sequence.fill()
    assert sequence.next() is not None
    assert not sequence.renames.doubtful
    assert sequence.next() is not None
    assert list(sequence.renames.doubtful) == [key("x")]
    assert sequence.next() is None
    (chain,) = sequence.take_doubtful()
    assert not sequence.renames.doubtful
    assert [short(raw) for raw in chain] == [(RENAME, "x", "a"), (RENAME, "x", "a")]
    assert sequence.take_doubtful() == []


def test_a_repeated_rename_that_vanished_is_told_again_before_what_proves_it() -> None:
    there = [rename(DIR, "d", b"a", "e", b"a", "x"), rename(DIR, "e", b"a", "d", b"a", "x")]
    expected = [(RENAME, "x", "a"), (RENAME, "x", "a"), (RENAME, "x", "a")]
    removed = entry(DELETE | DIR, "e", b"a", "x")
    assert tell([*there, removed]) == [*expected, (DELETE, "x", "a")]
    moved_on = rename(DIR, "e", b"a", "e", b"z", "x")
    assert tell([*there, moved_on]) == [*expected, (RENAME, "x", "z")]
    replaced = entry(CREATE, "d", b"a", "other")
    assert tell([*there, replaced]) == [*expected, (CREATE, "other", "a")]


def test_an_exchange_does_not_free_a_name() -> None:
    told = tell(
        [
            entry(CREATE | DELETE | DIR, "d", b"b", "y"),
            rename(DIR, "d", b"a", "d", b"b", "x"),
            rename(DIR, "d", b"b", "d", b"a", "y"),
            rename(DIR, "d", b"a", "d", b"b", "y"),
            rename(DIR, "d", b"b", "d", b"a", "x"),
        ]
    )
    assert told[0] == (CREATE, "y", "b")
    assert told[-1] == (DELETE, "y", "b")


def test_renames_that_go_on_leave_no_doubt() -> None:
    sequence = Sequence(Queue([rename(DIR, "d", b"%d" % n, "d", b"%d" % (n + 1), "x") for n in range(9)]).read)
    sequence.fill()
    while sequence.next() is not None:
        assert not sequence.renames.doubtful
    assert sequence.take_doubtful() == []


def test_what_is_held_and_in_doubt_ends_with_a_cookie_when_the_queue_is_never_empty() -> None:
    queue = BusyQueue()
    sequence = Sequence(queue.read, queue)
    queue.queued = [
        entry(CREATE | DELETE | DIR, "d", b"gone", "y"),
        rename(DIR, "d", b"a", "e", b"a", "x"),
        rename(DIR, "e", b"a", "d", b"a", "x"),
    ]
    sequence.fill()
    assert give_out(sequence) == [(CREATE, "y", "gone"), (RENAME, "x", "a"), (RENAME, "x", "a")]
    assert sequence.take_doubtful() == []
    queue.queued.append(entry(CREATE, "d", b"later", "z"))
    sequence.fill()
    assert give_out(sequence) == [(DELETE, "y", "gone"), (CREATE, "z", "later")]
    assert [len(chain) for chain in sequence.take_doubtful()] == [2]
    assert not sequence.renames.doubtful


def test_a_doubt_is_settled_though_the_object_never_rests() -> None:
    queue = BusyQueue()
    sequence = Sequence(queue.read, queue)
    n_settled = 0
    for _ in range(10):
        queue.queued += [rename(DIR, "d", b"a", "e", b"a", "x"), rename(DIR, "e", b"a", "d", b"a", "x")]
        sequence.fill()
        assert len(give_out(sequence)) == 2
        chains = sequence.take_doubtful()
        n_settled += len(chains)
        assert all(len(chain) <= 6 for chain in chains)
    assert n_settled >= 4


def test_a_moment_has_passed_when_all_that_was_queued_by_then_was_given_out() -> None:
    queue = BusyQueue()
    sequence = Sequence(queue.read, queue)
    queue.queued.append(entry(CREATE, "d", b"before", "x"))
    moment = sequence.now()
    queue.queued.append(entry(CREATE, "d", b"after", "y"))
    sequence.fill()
    assert not sequence.has_passed(moment)
    assert sequence.next() is not None
    assert sequence.has_passed(moment)
    assert not sequence.has_passed(sequence.now())


def test_without_a_cookie_a_moment_passes_when_the_queue_is_seen_empty() -> None:
    sequence = Sequence(Queue([entry(CREATE, "d", b"a", "x")], [entry(CREATE, "d", b"b", "y")]).read)
    moment = sequence.now()
    sequence.fill()
    assert len(give_out(sequence)) == 1
    assert not sequence.has_passed(moment)
    sequence.fill()
    assert len(give_out(sequence)) == 1
    assert sequence.has_passed(moment)


class LongQueue:
    """A kernel queue that is never seen empty, of which a read takes one record, and whose records can be counted."""

    def __init__(self, n_records: int) -> None:
        self.n_made = 0
        self.queued: list[bytes] = []
        self.make(n_records)

    def make(self, n_records: int) -> None:
        for _ in range(n_records):
            self.queued.append(entry(CREATE, "d", b"%d" % self.n_made, f"x{self.n_made}"))
            self.n_made += 1

    def read(self) -> tuple[list[bytes], bool]:
        self.make(2)
        return [self.queued.pop(0)], False

    def n_queued(self) -> int:
        return len(self.queued)


def test_without_a_cookie_what_is_queued_is_counted() -> None:
    queue = LongQueue(20)
    sequence = Sequence(queue.read, None, queue.n_queued)
    sequence.catch_up()
    assert 20 <= sequence.n_pending <= 22
    moment, n_made = sequence.now(), queue.n_made
    told = give_out(sequence)
    while not sequence.has_passed(moment):
        sequence.fill()
        told += give_out(sequence)
    assert n_made <= len(told) < 3 * n_made


def test_counted_records_that_never_come_keep_no_moment_from_passing() -> None:
    queue = Queue([entry(CREATE, "d", b"a", "x")], [entry(CREATE, "d", b"b", "y")])
    sequence = Sequence(queue.read, None, lambda: 9)
    moment = sequence.now()
    sequence.catch_up()
    assert len(give_out(sequence)) == 2
    assert sequence.has_passed(moment)
