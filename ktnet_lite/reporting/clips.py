"""A picture of an extracted clip: a frame with its points, and the three streams on one time line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ktnet_lite.extract.clip import Absent, Clip, Extractor, Track
from ktnet_lite.extract.face import FaceTracker, Frame
from ktnet_lite.extract.tracks import Tracks
from ktnet_lite.names import Modality
from ktnet_lite.reporting.letters import literal
from ktnet_lite.reporting.plots import COLOURS, GREY, figure, legend

STYLES = ("-", "--", ":")  # of the features that vary most
ABOVE = {"loc": "lower right", "bbox_to_anchor": (1, 0.98), "borderaxespad": 0}  # a legend that hides no line
LEVELS = 4  # lines on which words are written where they are dense
LETTER = 0.01  # width of a letter, as a part of the time line's


def draw(tracks: Tracks, features: Mapping[Modality, tuple[str, ...]], frame: Frame | None = None) -> Figure:
    """Draw the streams of a clip on one time line in seconds.

    Parameters
    ----------
    tracks : dict
        From :func:`ktnet_lite.extract.tracks.extract`.
    features : dict of tuple of str
        The names of the columns of each modality.
    frame : Frame, optional
        Drawn above, with the points of its face.
    """
    heights = [2.0] * (frame is not None) + [1.1 if name == "language" else 1.6 for name in tracks]
    drawn, panels = figure(1, height=sum(heights) + 0.5, rows=len(heights))
    panels[0].get_gridspec().set_height_ratios(heights)
    if frame is not None:
        _draw_frame(panels[0], frame)
        panels = panels[1:]
    known = [track.times for track in tracks.values() if isinstance(track, Track)]
    end = max(times[-1, 1] for times in known)
    for panel, (name, track) in zip(panels, tracks.items(), strict=True):
        panel.set(xlim=(0, end), ylabel=name)
        panel.yaxis.label.set_color(COLOURS[name])
        panel.tick_params(labelbottom=panel is panels[-1])
        if isinstance(track, Absent):
            panel.text(end / 2, 0.5, f"absent: {literal(track.reason)}", ha="center", va="center", color=GREY)
            panel.set(ylim=(0, 1), yticks=[])
        elif name == "language":
            _draw_words(panel, track, end)
        elif name == "audio" and "energy [dB]" in features[name]:
            _draw_voice(panel, track, features[name])
        else:
            _draw_liveliest(panel, name, track, features[name])
        if name != "language":
            _shade_words(panel, tracks.get("language"))
    panels[-1].set_xlabel("seconds from the start of the clip")
    return drawn


def frame_of(clip: Clip, extractors: Sequence[Extractor]) -> Frame | None:
    """Find the frame with a face that is nearest to the middle of a clip, if an extractor looks for faces."""
    for extractor in extractors:
        if isinstance(extractor, FaceTracker):
            found = (frame for frame in extractor.frames(clip) if frame.face is not None)  # one in memory at a time
            return min(found, key=lambda frame: abs(frame.time - clip.media.duration / 2), default=None)
    return None


def _draw_frame(panel: Axes, frame: Frame) -> None:
    panel.imshow(frame.image)
    if frame.face is not None:
        panel.scatter(*frame.face.points[:, :2].T, s=0.4, color=COLOURS["vision"])
    panel.set_axis_off()
    panel.set_title(f"the frame at {frame.time:.2f} s", fontsize=8, color=GREY)


def _draw_words(panel: Axes, track: Track, end: float) -> None:
    """Draw a bar for each word, and write the word below it, on the first line that is free there."""
    free = [0.0] * LEVELS  # until when each line is taken
    for t, (word, (start, stop)) in enumerate(zip(track.words, track.times, strict=True)):
        alpha = 0.4 if t % 2 else 0.7
        panel.axvspan(start, stop, ymin=0.8, ymax=0.95, color=COLOURS["language"], alpha=alpha, linewidth=0)
        half = (len(word) + 1) / 2 * LETTER * end
        middle = max(half, min((start + stop) / 2, end - half))
        level = next((i for i, taken in enumerate(free) if taken <= middle - half), int(np.argmin(free)))
        free[level] = middle + half
        panel.text(middle, 0.7 - 0.2 * level, literal(word), ha="center", va="center", fontsize=8, color=GREY)
    panel.set(ylim=(0, 1), yticks=[])


def _shade_words(panel: Axes, language: Track | Absent | None) -> None:
    if isinstance(language, Track):
        for start, end in language.times:
            panel.axvspan(start, end, color=COLOURS["language"], alpha=0.08, linewidth=0)


def _draw_voice(panel: Axes, track: Track, features: tuple[str, ...]) -> None:
    """Draw pitch where there is a voice, and energy on an axis of its own."""
    times = track.times.mean(1)
    pitch, voiced, energy = (
        track.values[:, features.index(name)] for name in ("F0 [semitones re 55 Hz]", "voicing [0 or 1]", "energy [dB]")
    )
    hertz = 55 * 2 ** (np.where(voiced > 0, pitch, np.nan) / 12)
    panel.plot(times, hertz, color=COLOURS["audio"], linewidth=2, label="pitch [Hz]")
    other = panel.twinx()
    other.plot(times, energy, color=GREY, linewidth=0.8, label="energy [dB], right")
    other.tick_params(colors=GREY)
    other.grid(False)
    other.spines[:].set_visible(False)
    lines = [*panel.get_lines(), *other.get_lines()]
    legend(panel, handles=lines, ncols=2, **ABOVE)


def _draw_liveliest(panel: Axes, name: Modality, track: Track, features: tuple[str, ...]) -> None:
    """Draw the features that vary most, of left and right one, and only numbers from 0 to 1 if there are any."""
    named = [i for i, feature in enumerate(features) if feature.endswith("[0..1]")] or range(len(features))
    liveliest: dict[str, int] = {}
    for i in sorted(named, key=lambda i: -track.values[:, i].std()):
        liveliest.setdefault(features[i].replace("Left", "").replace("Right", ""), i)
    times = track.times[:, 0] if name == "vision" else track.times.mean(1)  # a frame is what is seen at its start
    for i, style in zip(liveliest.values(), STYLES, strict=False):
        panel.plot(times, track.values[:, i], style, color=COLOURS[name], label=features[i].split(" [")[0])
    legend(panel, ncols=len(STYLES), **ABOVE)
