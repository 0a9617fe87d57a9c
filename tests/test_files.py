import pytest

from spanetv2.files import UniqueNames


def test_unique_names_number_what_is_taken():
    names = UniqueNames()
    given = ["a/cat.jpg", "b/cat.png", "cat-2.jpg", "c/cat", "cat-2.png", "d/cat.x"]
    assert [names.name(path) for path in given] == [
        *("cat", "cat-2", "cat-2-2", "cat-3", "cat-2-3", "cat-4")
    ]


@pytest.mark.parametrize("other", ["CAT", "Cat", "cat"])
def test_unique_names_differ_by_more_than_case(other):
    names = UniqueNames()
    assert [names.name("cat.jpg"), names.name(f"{other}.jpg")] == ["cat", f"{other}-2"]


def test_unique_names_differ_by_more_than_the_encoding_of_accents():
    names = UniqueNames()
    assert names.name("caf\u00e9.jpg") == "caf\u00e9"
    assert names.name("cafe\u0301.jpg") == "cafe\u0301-2"


def test_unique_names_escape_what_cannot_be_printed():
    names = UniqueNames()
    assert names.name("in/a\nb\udcff.jpg") == "a\\nb\\udcff"
    assert names.name("") == "image"


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\u6f22", "\udcff"])
def test_unique_names_are_short_enough_for_a_file_system(tmp_path, letter):
    names = UniqueNames()
    made = [names.name(letter * 250 + f"{i}.jpg") for i in range(3)]
    assert len(set(made)) == 3
    for name in made:
        (tmp_path / f".{name}-12345678.part.json").write_text("")
