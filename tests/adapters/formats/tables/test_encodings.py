"""The encoding of text files: marked, detected or named."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.tables.encoding import readable
from import_files import raw_rows, records_of, table_of

NOT_UTF8 = "the row is not UTF-8; save the file as UTF-8 and import it again"
TEXTS = {
    "cp1252": ["Die Lieferung war sehr spät, aber freundlich", "Größe stimmt überhaupt nicht", "Schön verpackt"],
    "cp1250": ["Świetna obsługa, polecam każdemu", "Przesyłka dotarła uszkodzona", "Zażółć gęślą jaźń"],
    "cp1251": ["Отличный сервис, всем рекомендую", "Доставка опоздала на неделю", "Всё понравилось"],
    "koi8_r": ["Отличный сервис, всем рекомендую", "Доставка опоздала на неделю", "Всё понравилось"],
    "cp1253": ["Πολύ καλή εξυπηρέτηση, ευχαριστώ", "Δεν ήταν καλό προϊόν", "Γρήγορη αποστολή"],
    "cp932": ["とても良い商品でした。ありがとうございます", "配送が遅くて困りました", "対応が丁寧で満足しています"],
    "gb18030": ["服务很好非常满意", "快递太慢了质量也很差", "还会再来购买的"],
    "cp949": ["서비스가 아주 좋았습니다", "배송이 너무 늦어서 불만입니다", "다시 구매하고 싶어요"],
}


def csv_of(texts: list[str]) -> str:
    """A file with these comments."""
    return "id;comment\n" + "".join(f"{number};{text}\n" for number, text in enumerate(texts))


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16-le" if sys.byteorder == "little" else "utf-16-be"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32-le" if sys.byteorder == "little" else "utf-32-be"),
    ],
)
def test_unicode_is_detected(encoding: str, shown: str) -> None:
    """UTF-8, UTF-16 and UTF-32 are detected, UTF-16 also without a byte order mark, which is not part of the text."""
    texts = ["Very good", "Größe 😡", "配送が"]
    with table_of(csv_of(texts).encode(encoding)) as table:
        assert table.layout.encoding == shown
        assert table.columns == ["id", "comment"]
        assert [record.values[1] for record in table.rows()] == texts
    lines = "".join(f"{json.dumps({'comment': text}, ensure_ascii=False)}\n" for text in texts)
    assert [row["comment"] for row in raw_rows(lines.encode(encoding), "file.jsonl")] == texts
    document = json.dumps([{"comment": text} for text in texts], ensure_ascii=False)
    assert [row["comment"] for row in raw_rows(document.encode(encoding), "file.json")] == texts


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf\xef\xbb\xbfid\n1\n",
        b"\xef\xbb\xbf\xc3\xaf\xc2\xbb\xc2\xbfid\n1\n",
        "\ufeff\ufeffid\n1\n".encode("utf-16-le"),
        "\ufeff\ufeffid\n1\n".encode("utf-16-be"),
    ],
)
def test_several_byte_order_marks_are_left_out(data: bytes) -> None:
    """Programs that convert a file may keep its mark and add another one."""
    assert raw_rows(data) == [{"id": "1"}]


@pytest.mark.parametrize("encoding", TEXTS)
def test_legacy_encodings_are_detected(encoding: str) -> None:
    """The characters of a legacy encoding are read as what they are; it is shown."""
    texts = TEXTS[encoding] * 3
    with table_of(csv_of(texts).encode(encoding)) as table:
        assert table.layout.encoding not in (None, "utf-8")
        assert [record.values[1] for record in table.rows()] == texts


def test_a_legacy_encoding_far_into_the_file() -> None:
    """The first character outside ASCII can be after megabytes."""
    texts = ["plain" * 20] * 10_000 + TEXTS["cp1252"]
    records = records_of(csv_of(texts).encode("cp1252"))
    assert [record.values[1] for record in records] == texts


@pytest.mark.parametrize("encoding", ["cp850", "mac_roman", "latin-1", "UTF8", "utf-16", "shift_jis"])
def test_an_encoding_can_be_named(encoding: str) -> None:
    """A named encoding is used, by any name that Python knows."""
    text = "配送が" if encoding == "shift_jis" else "Größe"
    data = csv_of([text]).encode(encoding)
    assert [row["comment"] for row in raw_rows(data, encoding=encoding)] == [text]


@pytest.mark.parametrize("encoding", ["klingon", "base64", "rot13", "idna", ""])
def test_unknown_encodings_are_refused(encoding: str) -> None:
    """A name that is not that of an encoding is refused with examples."""
    with pytest.raises(UnusableFile, match=r"Unknown encoding .*; use a name such as utf-8"):
        raw_rows(csv_of(["a"]), encoding=encoding)


def test_invalid_utf8_affects_only_its_row() -> None:
    """A few rows in Latin-1 do not change the encoding of the others; they are rejected, with the bytes escaped."""
    with table_of(b"session_id,comment\na,caf\xe9\nb,caf\xc3\xa9\n") as table:
        bad, good = table.rows()
        assert (bad.position, bad.problem, good.problem, good.values) == (2, NOT_UTF8, "", ["b", "café"])
        assert table.raw(bad) == {"session_id": "a", "comment": "caf\\xe9"}
    with table_of(b'{"a": "caf\xe9"}\n{"a": "caf\xc3\xa9"}\n', "file.jsonl") as table:
        bad, good = table.rows()
        assert (bad.position, bad.problem, good.values) == (1, NOT_UTF8, {"a": "café"})
        assert table.raw(bad) == '{"a": "caf\\xe9"}'
    bad, good = records_of(b'[{"a": "caf\xe9"}, {"a": "caf\xc3\xa9"}]', "file.json")
    assert (bad.position, bad.problem, good.values) == (1, NOT_UTF8, {"a": "café"})


def test_what_is_invalid_in_a_named_encoding_affects_only_its_row() -> None:
    """The same if the encoding was named."""
    with table_of(b"a,b\n1,\x81\n2,\xe9\n", encoding="cp1252") as table:
        bad, good = table.rows()
        assert (bad.problem, table.raw(bad)) == ("the row is not valid cp1252", {"a": "1", "b": "\\x81"})
        assert good.values == ["2", "é"]
    half = "a,b\n1,x\n".encode("utf-16") + b"\x00\xd8\n\x00" + "2,y\n".encode("utf-16-le")
    with table_of(half, separator=",") as table:
        assert [bool(record.problem) for record in table.rows()] == [False, True, False]


@pytest.mark.parametrize(
    "encoding", ["iso2022_jp", "hz", "utf-32-le", "utf-7", "cp1252", "shift_jis", "gb18030", "utf-8"]
)
@given(data=st.binary(max_size=40))
def test_no_bytes_break_the_decoder(encoding: str, data: bytes) -> None:
    """For any bytes in any named encoding, the rows before are read, and reading ends."""
    rows = [f"{number},good\n" for number in range(3)]
    start, end = "a,b\n" + "".join(rows), "\n9,end"
    records = records_of(
        start.encode(encoding) + data + end.encode(encoding),
        encoding=encoding,
        separator=",",
        skip_rows=0,
        format="csv",
    )
    assert [record.values for record in records[:3]] == [["0", "good"], ["1", "good"], ["2", "good"]]
    for record in records:
        assert readable(str(record.values)).encode()


def test_a_file_in_several_encodings_is_refused() -> None:
    """If not all of the file is valid in the detected encoding, it is refused, with what to do."""
    data = csv_of(TEXTS["cp949"] * 1_000).encode("cp949") + b"1;\xff\xff\n"
    with pytest.raises(
        UnusableFile, match="is not UTF-8, and its encoding is unknown; add its encoding, such as --enc"
    ):
        raw_rows(data)


def test_without_the_package_the_encoding_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the detection of legacy encodings needs a package, which the error names."""
    monkeypatch.setitem(sys.modules, "chardet", None)
    data = csv_of(TEXTS["cp1252"]).encode("cp1252")
    with pytest.raises(UnusableFile, match=r'not UTF-8; .*--encoding.*pip install "harken\[files\]"'):
        raw_rows(data)
    assert len(raw_rows(data, encoding="cp1252")) == 3
    assert len(raw_rows(csv_of(TEXTS["cp1252"]).encode("utf-16"))) == 3
