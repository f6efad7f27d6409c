"""Results as one tidy frame: a row for each run and for each way in which it was tested without audio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from ktnet_lite import __version__
from ktnet_lite.errors import DataError
from ktnet_lite.experiments import result
from ktnet_lite.experiments.result import Result
from ktnet_lite.names import FILLS

COLUMNS = "key", "path", "data", "checksum", "task", "package", "system", "fill", "label", "seed", "result", "scores"


def frame(results: Iterable[Result], paths: Iterable[Path | None] | None = None) -> pd.DataFrame:
    """Lay out results as rows with the columns ``COLUMNS`` and one for each metric, NaN where it is undefined.

    ``key`` is the identity of the run (:attr:`Result.key`), ``system`` a :class:`ktnet_lite.names.System`, ``fill`` how
    its audio was filled in, if it was, ``label`` its name in tables, ``scores`` the predictions on the test set.
    """
    results = list(results)
    rows = []
    for path, run in zip([None] * len(results) if paths is None else paths, results, strict=True):
        about = run.key, path, run.dataset.name, run.dataset.checksum, run.dataset.task, run.package
        for system, (metrics, scores) in run.tests.items():
            test = system, system.fill or "", str(system), run.seed, run, scores
            rows.append(dict(zip(COLUMNS, (*about, *test), strict=True)) | metrics)
    laid_out = pd.DataFrame(rows, columns=None if rows else COLUMNS)
    metrics = [name for name in laid_out if name not in COLUMNS]
    return laid_out.astype(dict.fromkeys(metrics, float))


def load(paths: Iterable[Path]) -> pd.DataFrame:
    """Read result files into a frame; of several results of the same run, keep the one of this package version.

    A file that cannot be read is passed over with a warning.

    Raises
    ------
    DataError
        None of the files can be read, or two results of the same run come from different data.
    """
    paths = list(paths)
    results = result.load_all(paths)
    if paths and not results:
        result.load(paths[0])  # raises what is wrong with it
    loaded = frame(results.values(), results)
    for _, group in loaded.groupby("key"):
        if group["checksum"].nunique() > 1:
            first, other = group.drop_duplicates("checksum")["path"].iloc[:2]
            raise DataError(f"{first} and {other} are results of the same run on different data; remove one of them")
    newest_first = loaded.sort_values("package", key=lambda package: package != __version__, kind="stable")
    kept = newest_first.drop_duplicates("key")["path"]
    return loaded[loaded["path"].isin(kept)].drop_duplicates(["key", "label"])


def comparable(results: Sequence[Result]) -> pd.DataFrame:
    """Lay out results of the same test clips, sorted by system and seed: KTNet's variants, then the other models.

    Raises
    ------
    DataError
        The results come from different data or from different test clips.
    """
    laid_out = frame(results)
    for what, values in (
        ("data sets", laid_out["checksum"]),
        ("clips in test", laid_out["result"].map(lambda run: (*run.predictions.ids, run.targets.tobytes()))),
    ):
        if values.nunique() > 1:
            raise DataError(f"these results have different {what}; compare only runs on the same data")
    fills = [None, *FILLS]
    order = laid_out["system"].map(lambda system: (*system.order, fills.index(system.fill)))
    return laid_out.assign(order=order).sort_values(["order", "seed"], kind="stable").drop(columns="order")
