"""The voice as the 25 low-level descriptors of eGeMAPS, by openSMILE; an alternative to our own for research."""

from __future__ import annotations

import numpy as np

from ktnet_lite.errors import ConfigError
from ktnet_lite.extract.clip import Absent, Clip, Track
from ktnet_lite.extract.extras import needed
from ktnet_lite.extract.media import RATE
from ktnet_lite.extract.voice import STEPS, Monitor
from ktnet_lite.names import Modality

LEAST = 960  # samples, openSMILE's longest window
CENTRE = 0.010  # seconds from the time of a row to the centre of its spectral window (20 ms)

# openSMILE's names, in its order, and ours with units.
DESCRIPTORS = {
    "Loudness_sma3": "loudness [1]",
    "alphaRatio_sma3": "alpha ratio [dB]",
    "hammarbergIndex_sma3": "Hammarberg index [dB]",
    "slope0-500_sma3": "slope 0-500 Hz [dB/Hz]",
    "slope500-1500_sma3": "slope 500-1500 Hz [dB/Hz]",
    "spectralFlux_sma3": "flux [1]",
    **{f"mfcc{n}_sma3": f"MFCC {n} [1]" for n in range(1, 5)},
    "F0semitoneFrom27.5Hz_sma3nz": "F0 [semitones re 27.5 Hz]",
    "jitterLocal_sma3nz": "jitter [1]",
    "shimmerLocaldB_sma3nz": "shimmer [dB]",
    "HNRdBACF_sma3nz": "HNR [dB]",
    "logRelF0-H1-H2_sma3nz": "H1-H2 [dB]",
    "logRelF0-H1-A3_sma3nz": "H1-A3 [dB]",
    **{
        f"F{n}{theirs}_sma3nz": f"F{n} {ours}"
        for n in range(1, 4)
        for theirs, ours in (
            ("frequency", "[Hz]"),
            ("bandwidth", "bandwidth [Hz]"),
            ("amplitudeLogRelF0", "amplitude [dB re F0]"),
        )
    },
}


class Egemaps:
    """Extractor of eGeMAPS descriptors, version 2, 100 a second; the sound of a clip is in memory as a whole.

    openSMILE's licence allows research and education only: "audEERING research licence, non-commercial". It is no part
    of this package: ``pip install opensmile``.

    The descriptors are smoothed over three steps. Where a step is unvoiced, those that need a pitch are 0, the
    amplitudes of the formants -201. A step's time is the centre of its spectral windows (20 ms); F0, jitter, shimmer
    and HNR come from windows of 60 ms whose centre is 20 ms later.

    A clip has no voice if it has no sound track, is shorter than 60 ms, or has no sample above
    ``SILENCE``.

    F. Eyben et al., "The Geneva minimalistic acoustic parameter set (GeMAPS) for voice research and affective
    computing", IEEE Trans. Affective Computing 7, 2016.

    Raises
    ------
    ConfigError
        openSMILE is not installed, or its descriptors are others than these.
    """

    modality: Modality = "audio"
    features: tuple[str, ...] = tuple(DESCRIPTORS.values())

    def __init__(self):
        opensmile = needed("opensmile", "opensmile")
        self.smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors)
        if list(self.smile.feature_names) != list(DESCRIPTORS):
            raise ConfigError(
                f"opensmile {opensmile.__version__} has other descriptors; run: pip install opensmile==2.6"
            )
        self.recipe = {
            "name": "egemaps",
            "version": f"opensmile {opensmile.__version__}, eGeMAPSv02",
            "licence": "audEERING research licence, non-commercial",
        }

    def __call__(self, clip: Clip) -> Track | Absent:
        """Describe the sound of a clip. Raises :class:`~ktnet_lite.errors.DataError` if the clip is damaged."""
        if not clip.media.has_sound:
            return Absent("no sound track")
        monitor = Monitor()
        sound = np.concatenate([np.zeros(0, np.float32), *monitor.watch(clip.sound())])
        if absent := monitor.absent(LEAST):
            return absent
        table = self.smile.process_signal(sound, RATE)
        centres = table.index.get_level_values("start").total_seconds().to_numpy() + CENTRE  # (T,)
        times = centres[:, None] + np.array([-0.5, 0.5]) / STEPS  # (T, 2)
        return Track(table.to_numpy(np.float32), times, notes=monitor.notes())
