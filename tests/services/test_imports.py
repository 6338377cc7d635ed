"""The registry of imports: records of runs, rows that another import has stored, and undoing imports."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import (
    Erased,
    Feedback,
    Harken,
    Import,
    ImportCounts,
    ImportNotFound,
    ImportRejected,
    StorageUnavailable,
    Submission,
    Summary,
    Target,
)
from harken.domain.idempotency import IMPORT_ID, fingerprint
from harken.domain.imports import MAX_COLUMNS, MAX_FILES, SAMPLE_SIZE, FileContent, MappingDigests, RowSamples
from support import NOON, ManualClock, a_submission, counting_ids, in_threads

BATCH = ImportCounts(read=10, added=6, duplicates=3, rejected=1)
MAPPING = MappingDigests(options="m", meanings=[2**64 - 1, 0], columns=["c", "d"])
#: Two columns, to which a meaning is added.
ONE, TWO = 1 << 32, 2 << 32


@pytest.fixture
def hk(storage_url: str, clock: ManualClock) -> Iterator[Harken]:
    """A Harken on an empty storage of each kind."""
    with harken.connect(storage_url, clock=clock, new_id=counting_ids()) as connected:
        yield connected


def _row(number: int, import_id: str | None, **parts: object) -> Submission:
    context = {"row": number} | ({} if import_id is None else {IMPORT_ID: import_id})
    return a_submission(f"s-{number}", idempotency_key=f"row-{number}", context=context, **parts)


def _stored(hk: Harken) -> list[Feedback]:
    return list(hk.collection.stream(hk.query().in_any_state()))


def test_a_record_comes_back_as_it_was_written(hk: Harken, clock: ManualClock) -> None:
    """An import has its files, mapping, sample, times and counts, in every process on the storage."""
    samples = RowSamples(rows=[2**64 - 1, 0, 7], contents=[5])
    begun = hk.imports.begin("shop", files=["a.csv", "b.csv"], mapping=MAPPING, samples=samples)
    assert begun == Import(
        id="id-000001",
        application="shop",
        started_at=NOON,
        files=("a.csv", "b.csv"),
        mapping=MAPPING,
        samples=RowSamples(rows=(0, 7, 2**64 - 1), contents=(5,)),
    )
    clock.turn(seconds=5)
    assert hk.imports.record(begun, BATCH).finished_at is None
    finished = hk.imports.finish(begun, BATCH)
    assert (finished.counts, finished.finished_at) == (BATCH + BATCH, NOON + timedelta(seconds=5))
    assert list(hk.imports.list("shop")) == [finished]
    assert list(hk.imports.list("default")) == []


def test_the_last_started_comes_first(hk: Harken, clock: ManualClock) -> None:
    """Imports are listed by their start."""
    for number in range(3):
        hk.imports.begin("default", import_id=f"i{number}")
        clock.turn(hours=1)
    assert [one.id for one in hk.imports.list("default")] == ["i2", "i1", "i0"]


def test_a_second_run_continues_the_import(hk: Harken, clock: ManualClock) -> None:
    """With the same id and mapping, files and counts are added, and the import is unfinished again."""
    first = hk.imports.begin("default", import_id="i", files=["a.csv"], samples=RowSamples(rows=[5]))
    hk.imports.finish(first, BATCH)
    clock.turn(days=1)
    second = hk.imports.begin("default", import_id="i", files=["a.csv", "b.csv"], samples=RowSamples(rows=[3, 5]))
    assert (second.started_at, second.finished_at, second.files) == (NOON, None, ("a.csv", "b.csv"))
    assert (second.samples.rows, hk.imports.finish(second, BATCH).counts) == ((3, 5), BATCH + BATCH)


def test_other_options_that_mean_the_same_are_the_same_mapping(hk: Harken) -> None:
    """An import is continued with the same options, or with others that mean the same for its files."""

    def begin(options: str, *meanings: int) -> Import:
        return hk.imports.begin("default", import_id="i", mapping=MappingDigests(options=options, meanings=meanings))

    begin("m", ONE + 1)
    begin("n", ONE + 1, TWO + 5)
    assert begin("m", TWO + 6).mapping == MappingDigests(options="m", meanings=(ONE + 1, TWO + 5, TWO + 6))
    for meanings in ([ONE + 2], [ONE + 1, TWO + 7]):
        with pytest.raises(ImportRejected, match="another mapping"):
            begin("n", *meanings)


@given(st.sets(st.integers(0, 2**64 - 1)), st.sets(st.integers(0, 2**64 - 1)))
def test_mappings_are_the_same_if_what_both_have_means_the_same(some: set[int], others: set[int]) -> None:
    """What only one of them has makes no difference, nor do other files of the import."""
    one, other = (MappingDigests(options="x", meanings=digests) for digests in (some, others))
    assert (one + other).is_same(one)
    assert (one + other).is_same(other) or not some
    shared = {digest >> 32 for digest in some} & {digest >> 32 for digest in others}
    assert one.is_same(other) or shared
    if some:
        assert not one.is_same(MappingDigests(options="x", meanings=[min(some) ^ 1])) or min(some) ^ 1 in some


def test_another_mapping_is_refused(hk: Harken) -> None:
    """An id stands for one mapping; the message says what to do, and the record stays unchanged."""
    first = hk.imports.begin("default", import_id="i", mapping=MappingDigests(options="m"))
    with pytest.raises(ImportRejected, match=r"another mapping of columns.*choose another id"):
        hk.imports.begin("default", import_id="i", mapping=MappingDigests(options="n"))
    assert list(hk.imports.list("default")) == [first]
    assert hk.imports.begin("shop", import_id="i", mapping=MappingDigests(options="n")).application == "shop"


@pytest.mark.parametrize("import_id", ["", " ", "a\nb", "x" * 300])
def test_an_invalid_id_is_refused(hk: Harken, import_id: str) -> None:
    """It could not be typed again to undo the import."""
    with pytest.raises(ImportRejected, match="import_id"):
        hk.imports.begin("default", import_id=import_id)
    with pytest.raises(ImportNotFound):
        hk.imports.erase("default", import_id)


def test_no_count_of_simultaneous_runs_is_lost(hk: Harken) -> None:
    """Two runs of one import record at the same time."""
    begun = hk.imports.begin("default", import_id="i")
    in_threads([lambda: [hk.imports.record(begun, ImportCounts(read=1)) for _ in range(20)]] * 2)
    assert hk.imports.list("default")[0].counts == ImportCounts(read=40)


@given(st.lists(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 2**64 - 1)))
def test_a_sample_has_the_smallest_digests(some: list[int], others: list[int]) -> None:
    """However the digests of the rows arrive, and in however many runs, the sample of the same rows is the same."""

    def sampled(digests: list[int]) -> tuple[int, ...]:
        return RowSamples(rows=digests).rows

    assert sampled([*sampled(some), *sampled(others)]) == sampled(others + some)
    assert sampled(some) == tuple(sorted(set(some)))[:SAMPLE_SIZE]


def test_imports_of_the_same_rows_are_recognised() -> None:
    """Another file shares rows with an import if the sample of the import has the digest of one of them."""
    one = Import(id="i", application="a", started_at=NOON, samples=RowSamples(rows=[3, 5]))
    assert one.shares_rows([4, 5])
    assert not one.shares_rows([1, 4])
    assert not one.shares_rows([])


def test_records_stay_small() -> None:
    """Of many files, the first names are recorded, each once."""
    files = [f"{number}.csv" for number in range(2 * MAX_FILES)]
    one = Import(id="i", application="a", started_at=NOON, files=["0.csv", *files])
    assert one.files == tuple(files[:MAX_FILES])


def test_the_row_of_another_import_is_a_duplicate(hk: Harken) -> None:
    """The import id is not part of the body, so the same row from two imports is stored once, with the first id."""
    for import_id, is_duplicate in (("i", False), ("j", True), (None, True)):
        (receipt,) = hk.collection.submit_many([_row(1, import_id)])
        assert isinstance(receipt, harken.Receipt)
        assert (receipt.duplicate, receipt.feedback.context[IMPORT_ID]) == (is_duplicate, "i")


@given(st.dictionaries(st.text(max_size=9), st.integers() | st.text(), max_size=5), st.text())
def test_other_context_is_part_of_the_body(context: dict[str, int | str], import_id: str) -> None:
    """Fingerprints differ in everything but the import id."""
    context.pop(IMPORT_ID, None)

    def of(values: dict[str, int | str]) -> str:
        return fingerprint(Submission(target=Target("s"), rating="up", context=values))

    assert of(context | {IMPORT_ID: import_id}) == of(context)
    assert of(context | {"import_ids": import_id}) != of(context | {"import_ids": f"{import_id}!"})


def test_undoing_an_import_leaves_what_was_there_before(hk: Harken) -> None:
    """All its entries are erased, in any state, and nothing else; statistics are those of the rest."""
    hk.submit("s-1", "down", "Too slow", context={"row": 1})
    hk.collection.submit_many([_row(number, "other") for number in range(3)])
    before, summary = _stored(hk), hk.summary()
    begun = hk.imports.begin("default", import_id="i")
    hk.collection.submit_many([_row(number, "i", comment="x") for number in range(10, 20)], announce=False)
    pending, withdrawn = (one for one in _stored(hk) if one.session_id in ("s-11", "s-12"))
    hk.moderation.decide("default", pending.id, "rejected")
    hk.collection.withdraw("default", withdrawn.id)
    hk.imports.finish(begun, ImportCounts(read=10, added=10))
    assert hk.imports.erase("default", "i").feedback == 10
    assert _stored(hk) == before
    assert hk.summary() == summary == sum(map(Summary.of, before), Summary())
    assert hk.check() == []
    with pytest.raises(ImportNotFound, match="No import with id 'i' in application 'default'"):
        hk.imports.erase("default", "i")


def test_feedback_without_a_record_is_erased_too(hk: Harken) -> None:
    """A copy of the storage has the feedback of an import, and no record of it."""
    hk.collection.submit_many([_row(1, "i")])
    assert hk.imports.erase("default", "i").feedback == 1
    hk.imports.begin("default", import_id="empty")
    assert hk.imports.erase("default", "empty") == Erased()


def test_an_interrupted_erasure_can_be_repeated(hk: Harken, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record goes last, so that the import stays listed until nothing of it is left."""
    begun = hk.imports.begin("default", import_id="i")
    hk.collection.submit_many([_row(1, "i")])

    def fail(_: object) -> Erased:
        raise StorageUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(hk.imports, "_erase", fail)
        with pytest.raises(StorageUnavailable):
            hk.imports.erase("default", "i")
    assert list(hk.imports.list("default")) == [begun]
    assert hk.imports.erase("default", "i").feedback == 1
    assert list(hk.imports.list("default")) == []


def test_a_run_that_goes_on_after_the_erasure_is_stopped(hk: Harken) -> None:
    """Its record does not come back: it would be one of rows that were erased."""
    begun = hk.imports.record(hk.imports.begin("default", import_id="i"), BATCH)
    hk.imports.erase("default", "i")
    for add in (hk.imports.record, hk.imports.finish):
        with pytest.raises(ImportNotFound, match="erased while it was running"):
            add(begun, BATCH)
    assert list(hk.imports.list("default")) == []


def test_the_contents_of_files_are_recorded(hk: Harken) -> None:
    """Those of all runs, each once; they are unknown if one run did not say them, or if they are too many."""
    one = FileContent(name="a.csv", rows=3, digest=2**128 - 1, columns=[2**64 - 1, 0])
    grown = FileContent(name="a.csv", rows=5, digest=0, columns=[0, 2**64 - 1])
    for contents in ([one], [one], [grown]):
        hk.imports.begin("default", import_id="i", contents=contents)
    assert hk.imports.list("default")[0].contents == (one, grown)
    hk.imports.begin("default", import_id="i")
    assert hk.imports.list("default")[0].contents is None
    for many in (
        [FileContent(name=str(number), rows=1, digest=1) for number in range(MAX_FILES + 1)],
        [FileContent(name="a", rows=1, digest=1, columns=range(MAX_COLUMNS + 1))],
    ):
        assert hk.imports.begin("default", contents=many).contents is None
