"""The systems to compare KTNet with, one module each; the same ``fit`` trains them all."""

from __future__ import annotations

from typing import NamedTuple

from ktnet_lite.baselines.emt_dlfr import EMTDLFR
from ktnet_lite.baselines.floors import Constant, Linear
from ktnet_lite.baselines.graph_mfn import GraphMFN
from ktnet_lite.baselines.mctn import MCTN
from ktnet_lite.baselines.mfm import MFM
from ktnet_lite.baselines.mmin import MMIN
from ktnet_lite.baselines.mult import MulT
from ktnet_lite.baselines.raven import RAVEN
from ktnet_lite.baselines.rmfn import RMFN
from ktnet_lite.model.network import Network
from ktnet_lite.names import Model


class Entry(NamedTuple):
    """A baseline, its source, and the data that it can take."""

    network: type[Network]
    label: str
    source: str
    unaligned: str  # how it takes streams of different lengths; "" if it needs aligned ones
    missing_at_test: str  # how it predicts a clip without audio
    missing_in_training: str  # how it treats a training clip without audio
    ctc: bool = False  # whether it reads streams that CTC aligns


FILLED = "filled: zero or mean"
FILLED_IN_TRAINING = "counts as zeros"

BASELINES: dict[Model, Entry] = {
    "mult": Entry(MulT, "MulT", "Tsai et al., ACL 2019", "by cross-modal attention", FILLED, FILLED_IN_TRAINING),
    "mctn": Entry(
        MCTN, "MCTN", "Pham et al., AAAI 2019", "by translation", "needs language alone", "left out of its loss"
    ),
    "mfm": Entry(MFM, "MFM", "Tsai et al., ICLR 2019", "", "inferred", "counts as zeros, left out of its loss"),
    "raven": Entry(RAVEN, "RAVEN", "Wang et al., AAAI 2019", "frames dealt to words", FILLED, FILLED_IN_TRAINING),
    "rmfn": Entry(RMFN, "RMFN", "Liang et al., EMNLP 2018", "", FILLED, FILLED_IN_TRAINING),
    "graph_mfn": Entry(GraphMFN, "Graph-MFN", "Zadeh et al., ACL 2018", "", FILLED, FILLED_IN_TRAINING),
    "mmin": Entry(MMIN, "MMIN", "Zhao et al., ACL 2021", "one vector a stream", "inferred", "left out of its loss"),
    "emt_dlfr": Entry(
        EMTDLFR,
        "EMT-DLFR",
        "Sun et al., TAFFC 2023",
        "by attention to one vector a stream",
        "inferred",
        "left out of its loss",
    ),
    "ctc_mctn": Entry(
        MCTN,
        "CTC + MCTN",
        "Graves et al., ICML 2006",
        "by learned alignment",
        "needs language alone",
        "left out of its loss",
        ctc=True,
    ),
    "ctc_raven": Entry(
        RAVEN, "CTC + RAVEN", "Graves et al., ICML 2006", "by learned alignment", FILLED, FILLED_IN_TRAINING, ctc=True
    ),
    "linear": Entry(Linear, "ridge / logistic", "scikit-learn", "by averaging", FILLED, FILLED_IN_TRAINING),
    "constant": Entry(Constant, "constant", "", "looks at nothing", "looks at nothing", "looks at nothing"),
}

HEADINGS = ("--model", "system", "by", "aligned", "unaligned", "no audio at test", "no audio in training")


def capabilities() -> list[tuple[str, ...]]:
    """Return the data that each system can take, KTNet first, as rows of a table under ``HEADINGS``."""
    ktnet = "yes", "by cross-modal attention", "reconstructed (ours, any); filled (full)", "left out of Eq. (1)"
    rows: list[tuple[str, ...]] = [("ktnet", "KTNet", "Liu & Zhan", *ktnet)]
    for name, entry in BASELINES.items():
        takes = "yes", entry.unaligned or "no", entry.missing_at_test, entry.missing_in_training
        rows.append((name, entry.label, entry.source, *takes))
    return rows
