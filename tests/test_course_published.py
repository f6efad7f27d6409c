"""Published results that chapters show in place of long training runs."""

from ktnet_lite.course import published
from ktnet_lite.experiments import result


def test_a_table_has_every_seed_of_every_row():
    table = published.table("table_5", "synthetic")
    assert table.grid.name == "table_5" and table.data == "synthetic"
    assert {len(table.tests(row, column)) for row, column in table.needs} == {published.SEEDS}


def test_an_installed_package_has_no_result_files_and_no_table(monkeypatch):
    monkeypatch.setattr(result, "published", list)
    assert published.table("table_5", "synthetic") is None
