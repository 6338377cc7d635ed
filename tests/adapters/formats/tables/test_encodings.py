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
#: Comments in languages.
TEXTS = {
    "German": [
        "Die Lieferung war sehr spät, aber der Fahrer war freundlich",
        "Größe stimmt überhaupt nicht",
        "Schön verpackt und günstig",
        "Leider hält der Akku nur drei Stunden",
    ],
    "French": [
        "Le livreur était très aimable et ponctuel",
        "Déçu par la qualité, ça ne marche pas",
        "Je le recommande à tous, même si c'est un peu cher",
        "Réponse rapide du service après-vente",
    ],
    "Spanish": [
        "El envío llegó rápido y en buen estado",
        "Muy mala atención, nadie contestó",
        "¿Por qué no funciona el botón de pago?",
        "Mañana lo devuelvo, no estoy contento con él",
    ],
    "Italian": [
        "Il servizio è ottimo e la qualità è buona",
        "Purtroppo non funziona più",
        "La spedizione è arrivata in ritardo, però l'assistenza è gentile",
        "Perché non c'è un'opzione per città?",
    ],
    "Portuguese": [
        "A entrega não chegou e ninguém respondeu",
        "Ótimo produto, recomendo às pessoas",
        "As instruções são difíceis de ler",
        "Já é a terceira reclamação em um mês",
    ],
    "Swedish": [
        "Leveransen var sen men förpackningen höll",
        "Bra kvalitet på kläderna, jättenöjd",
        "Jag är missnöjd med färgen",
        "Går inte att använda på mobilen",
    ],
    "Dutch": [
        "De kwaliteit is goed, maar één knop werkt niet",
        "Ik ben niet tevreden over de reünie-app",
        "Geïnteresseerd in een coördinator die helpt",
    ],
    "Polish": [
        "Świetna obsługa, polecam każdemu",
        "Przesyłka dotarła uszkodzona po dwóch tygodniach",
        "Zażółć gęślą jaźń",
        "Nie działa przycisk płatności",
    ],
    "Czech": [
        "Příliš žluťoučký kůň úpěl ďábelské ódy",
        "Zboží přišlo poškozené, ale vyřešili to rychle",
        "Skvělá komunikace, děkuji",
        "Nefunguje tlačítko pro platbu",
    ],
    "Hungarian": [
        "A szállítás nagyon gyors volt, köszönöm",
        "Sajnos a termék hibásan érkezett, és senki nem válaszolt",
        "Jó minőségű, megbízható bolt, erősen ajánlom",
    ],
    "Turkish": [
        "Ürün çok güzel, teşekkür ederim",
        "Kargo geç geldi, şikâyetçiyim",
        "Fiyatı uygun değil ama kaliteli bir iş çıkarmışlar",  # noqa: RUF001
    ],
    "Russian": [
        "Отличный сервис, всем рекомендую",
        "Доставка опоздала на неделю",
        "Всё понравилось, буду заказывать ещё",
        "Не работает кнопка оплаты",  # noqa: RUF001
    ],
    "Greek": ["Πολύ καλή εξυπηρέτηση, ευχαριστώ", "Δεν ήταν καλό προϊόν", "Γρήγορη αποστολή και σωστή τιμή"],
    "Hebrew": ["שירות מצוין, תודה רבה לכם", "המשלוח איחר בשבוע ואף אחד לא ענה", "המוצר לא עובד כמו שצריך"],
    "Japanese": [
        "とても良い商品でした。ありがとうございます",
        "配送が遅くて困りました",
        "対応が丁寧で満足しています",
        "アプリがすぐにクラッシュする",
    ],
    "Chinese": ["服务很好非常满意", "快递太慢了质量也很差", "还会再来购买的", "应用程序总是崩溃，希望改进"],  # noqa: RUF001
    "Korean": ["서비스가 아주 좋았습니다", "배송이 너무 늦어서 불만입니다", "다시 구매하고 싶어요"],
}
#: The encodings that programs write them in.
ENCODINGS = {
    "German": ["cp1252", "cp850"],
    "French": ["cp1252", "cp850"],
    "Spanish": ["cp1252", "cp850"],
    "Italian": ["cp1252", "cp850"],
    "Portuguese": ["cp1252", "cp850"],
    "Swedish": ["cp1252", "cp850"],
    "Dutch": ["cp1252"],
    "Polish": ["cp1250", "iso8859-2"],
    "Czech": ["cp1250", "iso8859-2"],
    "Hungarian": ["cp1250", "iso8859-2"],
    "Turkish": ["cp1254"],
    "Russian": ["cp1251", "koi8-r"],
    "Greek": ["cp1253"],
    "Hebrew": ["cp1255"],
    "Japanese": ["cp932", "euc_jp"],
    "Chinese": ["gb18030"],
    "Korean": ["cp949"],
}
PLAIN = ["Works well for me", "Nothing to add", "Too slow at night"]


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


@pytest.mark.parametrize(("language", "encoding"), [(one, name) for one, names in ENCODINGS.items() for name in names])
@pytest.mark.parametrize("size", ["one of many", "few", "many"])
def test_legacy_encodings_are_detected(language: str, encoding: str, size: str) -> None:
    """The characters of a legacy encoding are read as what they are, in short and long files; it is a guess."""
    texts = {
        "one of many": [*PLAIN * 8, TEXTS[language][0], *PLAIN],
        "few": TEXTS[language],
        "many": [*TEXTS[language], *PLAIN] * 30,
    }[size]
    with table_of(csv_of(texts).encode(encoding)) as table:
        assert [record.values[1] for record in table.rows()] == texts
        assert table.layout.encoding_is_guess


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_unicode_is_not_a_guess(language: str, encoding: str) -> None:
    """Text of any language is known to be Unicode, if it is in the other rows as well."""
    texts = TEXTS[language] + PLAIN * 4
    with table_of(csv_of(texts).encode(encoding)) as table:
        assert not table.layout.encoding_is_guess
        assert [record.values[1] for record in table.rows()] == texts


@pytest.mark.parametrize(
    "texts",
    [
        ["È buono"],
        ["Él no vino"],
        ["Alt är bra på kläder"],
        ["Zürich", "São Paulo", "Málaga"],
        ["crème brûlée", "GRÖSSE"],
        ["It’s “fine” – for 5 €"],  # noqa: RUF001
        ["20 m² at 90°"],
    ],
)
def test_few_western_letters_are_not_another_script(texts: list[str]) -> None:
    """Of encodings in which a few letters are plausible, the most common is taken, also in several languages."""
    for rows in (texts, [*PLAIN * 8, *texts]):
        assert [row["comment"] for row in raw_rows(csv_of(rows).encode("cp1252"))] == rows


def test_characters_that_are_valid_by_chance() -> None:
    """Pairs of bytes that are valid UTF-8 next to invalid ones do not make a file UTF-8."""
    assert [row["comment"] for row in raw_rows(csv_of(["太模糊"]).encode("gb18030"))] == ["太模糊"]


def test_a_legacy_encoding_far_into_the_file() -> None:
    """The first character outside ASCII can be after megabytes."""
    texts = ["plain" * 20] * 10_000 + TEXTS["German"]
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
    data = csv_of(TEXTS["Korean"] * 1_000).encode("cp949") + b"1;\xff\xff\n"
    with pytest.raises(
        UnusableFile, match="is not UTF-8, and its encoding is unknown; add its encoding, such as --enc"
    ):
        raw_rows(data)


def test_without_the_package_the_encoding_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the detection of legacy encodings needs a package, which the error names."""
    monkeypatch.setitem(sys.modules, "chardet", None)
    data = csv_of(TEXTS["German"]).encode("cp1252")
    with pytest.raises(UnusableFile, match=r'not UTF-8; .*--encoding.*pip install "harken\[files\]"'):
        raw_rows(data)
    assert len(raw_rows(data, encoding="cp1252")) == 4
    assert len(raw_rows(csv_of(TEXTS["German"]).encode("utf-16"))) == 4
