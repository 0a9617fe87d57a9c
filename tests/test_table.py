"""The two renderings of a table."""

from spanetv2.table import Table

CARS = Table(
    "Cars", ["name", "made in", "doors"], [["Mini", "Oxford", "3"], ["R4", "Ljubljana", "5"]]
)


def test_markdown_sets_numbers_to_the_right() -> None:
    wide = CARS._replace(text_columns=2).markdown(level=2).splitlines()
    assert wide[:4] == ["## Cars", "", "| name | made in | doors |", "|---|---|--:|"]
    assert CARS.markdown().splitlines()[3] == "|---|--:|--:|"
    assert Table("", ["a"], [["1"]], text_columns=3).markdown() == "| a |\n|---|\n| 1 |\n"


def test_text_lines_up() -> None:
    assert CARS._replace(text_columns=2).text().splitlines() == [
        "Cars",
        "name  made in    doors",
        "Mini  Oxford         3",
        "R4    Ljubljana      5",
    ]


def test_a_table_without_a_title_starts_with_its_header() -> None:
    assert Table("", ["a", "b"], [["1", ""]]).text() == "a  b\n1\n"
