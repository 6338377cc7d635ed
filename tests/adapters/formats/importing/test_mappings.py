"""The digest of a mapping."""

from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.mappings import MappingDigests
from import_files import understood

ROWS = "session_id,rating,comment,text,email,created_at\ns,up,hi,ho,x@example.org,2026-01-02\n"


def mapping_digest(options: ImportOptions) -> str:
    """The digest of what the options say."""
    return MappingDigests.of([understood(ROWS, "csv", options)]).mapping_digest


def test_the_digest_of_a_mapping_is_that_of_its_meaning() -> None:
    """Options that change nothing, or only how a file is read, do not make another mapping."""
    plain = mapping_digest(ImportOptions())
    assert mapping_digest(ImportOptions(columns={"comment": "comment"}, encoding="cp1252", separator=",")) == plain
    others = (
        ImportOptions(columns={"comment": "text"}),
        ImportOptions(scale="stars"),
        ImportOptions(ratings={"5": "up"}),
        ImportOptions(zone="Europe/Berlin"),
        ImportOptions(drop=["email"]),
        ImportOptions(only=[]),
        ImportOptions(context=False),
        ImportOptions(constants={"agent_id": "a"}),
        ImportOptions(date_format="%Y-%m-%d"),
    )
    assert len({plain, *map(mapping_digest, others)}) == len(others) + 1
