"""Named descriptors: what single features of a data set's audio stream mean, as far as that is documented."""

from __future__ import annotations

import json

from ktnet_lite.data.readers.mosi_words import RHYTHM
from ktnet_lite.data.schema import Header
from ktnet_lite.errors import DataError

IS09 = {  # openSMILE's functionals of an exchange, 12 of each contour; pitch counts as 0 where there is none
    "pitch [Hz]": 185,  # F0_sma_amean
    "pitch range, standard deviation [Hz]": 189,  # F0_sma_stddev
    "energy [RMS]": 5,  # pcm_RMSenergy_sma_amean
    "voicing [probability]": 173,  # voiceProb_sma_amean
    "zero crossings [per sample]": 161,  # pcm_zcr_sma_amean
    "spectral tilt [MFCC 1]": 17,  # pcm_fftMag_mfcc_sma[1]_amean
}
SETS = {
    "synthetic": {"strength of the voice [1]": 6},  # all features are this one, each with its own scale
    "mosi-words": {
        "word duration [s]": RHYTHM.index("duration"),
        "pause before [s]": RHYTHM.index("pause before"),
        "pause after [s]": RHYTHM.index("pause after"),
        "rate [characters/s]": RHYTHM.index("characters per second"),
    },
    "hazumi": IS09,
    "hazumi-face": IS09,
}
EXTRACTORS = {  # of clips of your own
    "voice": {
        "F0 [semitones re 55 Hz]": 0,
        "voicing [0 or 1]": 1,
        "energy [dB]": 4,
        "centroid [Hz]": 5,
        "alpha ratio [dB]": 9,
    },
    "egemaps": {
        "F0 [semitones re 27.5 Hz]": 10,
        "HNR [dB]": 13,
        "loudness [1]": 0,
        "alpha ratio [dB]": 1,
        "flux [1]": 5,
    },
}


def descriptors(header: Header) -> dict[str, int]:
    """Name some features of the audio stream, with units, and give their columns.

    Raises
    ------
    DataError
        No feature of this data set has a documented name.
    """
    recipe = header.recipes.get("audio")
    known = EXTRACTORS.get(json.loads(recipe)["name"], {}) if recipe else SETS.get(header.name, {})
    if not known:
        raise DataError(
            f"{header.name!r}: its audio features have no documented names, so nothing can be decoded to them. "
            f"Named are those of {', '.join(SETS)}, and of clips extracted with {' or '.join(EXTRACTORS)}"
        )
    return dict(known)
