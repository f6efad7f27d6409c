"""The table of the searches says what stood before, and what was best on the validation set."""

import json

from ktbook import result_search


def written(path, metric="mae"):
    trials = [{"valid_mae": 0.6, "dim": 40, "dropout": 0.1}, {"valid_mae": None, "dim": 64, "dropout": 0.1}]
    trials += [{"valid_mae": 0.55, "dim": 40, "dropout": 0.0}]
    content = {"system": "full", "dataset": "synthetic", "metric": metric, "trials": trials, "settings": {}}
    path.write_text(json.dumps(content))
    return path


def test_a_search_is_a_row(tmp_path):
    row = result_search.page([written(tmp_path / "a.json")]).splitlines()[3]
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        *("`full`", "`synthetic`", "3 trials", "0.6", "0.55", "`dropout` 0")
    ]


def test_where_the_first_is_best_the_settings_stand(tmp_path):
    path = written(tmp_path / "a.json")
    content = json.loads(path.read_text())
    content["trials"][0]["valid_mae"] = 0.5
    path.write_text(json.dumps(content))
    assert "the same settings" in result_search.page([path])
    assert "Not run yet" in result_search.page([])


def test_the_published_searches_are_read():
    for path in result_search.files():
        found = json.loads(path.read_text())
        assert len(found["trials"]) >= 8 and found["metric"] == "mae", path.name
