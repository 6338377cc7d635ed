"""The digests of a mapping."""

from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.mappings import digests_of
from import_files import understood

ROWS = "session_id,rating,comment,text,email,created_at\ns,up,hi,ho,x@example.org,2026-01-02\n"


def options_digest(options: ImportOptions) -> str:
    """The digest of what the options say."""
    return digests_of(*understood(ROWS, "csv", options)).options


def test_options_that_say_the_same_have_the_same_digest() -> None:
    """Options that change nothing, or only how a file is read, do not make another mapping."""
    plain = options_digest(ImportOptions())
    assert options_digest(ImportOptions(columns={"comment": "comment"}, encoding="cp1252", separator=",")) == plain
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
    assert len({plain, *map(options_digest, others)}) == len(others) + 1
