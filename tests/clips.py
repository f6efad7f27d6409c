"""Small clips for the tests of extraction, written with PyAV; the same call writes the same bytes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Any

import av
import numpy as np

CODECS: dict[str, tuple[str | None, str | None]] = {  # of the video and of the sound, by suffix
    ".mp4": ("libx264", "aac"),
    ".mov": ("mpeg4", "pcm_s16le"),
    ".mkv": ("ffv1", "pcm_s16le"),  # without loss
    ".webm": ("libvpx", "libopus"),
    ".avi": ("mpeg4", "pcm_s16le"),
    ".mpg": ("mpeg1video", "mp2"),
    ".ts": ("mpeg2video", "mp2"),
    ".flv": ("flv", "aac"),
    ".wav": (None, "pcm_s16le"),
    ".mp3": (None, "libmp3lame"),
    ".ogg": (None, "libopus"),
}


def make(
    path: Path,
    seconds: float = 1.0,
    *,
    picture: Callable[[float], np.ndarray] | None = None,
    sound: Callable[[np.ndarray], np.ndarray] | None = None,
    size: tuple[int, int] = (320, 240),
    fps: int = 25,
    times: Sequence[float] | None = None,
    codec: str | None = None,
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    rotation: int = 0,
    flip: bool = False,
    aspect: Fraction | int = 1,
    rate: int = 16000,
    layout: str = "mono",
    sound_codec: str | None = None,
    sound_from: float = 0.0,
    silent: tuple[float, float] = (0.0, 0.0),
    format: str | None = None,
    title: str = "",
) -> Path:
    """Write a clip; its suffix, or ``format``, names the container.

    Parameters
    ----------
    path : Path
    seconds : float
    picture : callable, optional
        From the time in seconds to an RGB image, uint8 (H, W, 3). Without it there is no video.
    sound : callable, optional
        From the times of samples (N,) to samples in [-1, 1], (N,) or (channels, N). Without it there is no sound.
    size : pair of int
        Width and height of ``picture``, before the rotation.
    fps : int
    times : sequence of float, optional
        When each frame is shown, in seconds and whole milliseconds, in place of a steady ``fps``.
    codec, pixels, options
        Encoder of the video, pixel format and options of the encoder; the default is :data:`CODECS`.
    rotation : int
        Degrees counter-clockwise by which a player turns the picture.
    flip : bool
        Whether a player mirrors the picture, after the rotation.
    aspect : Fraction
        Width of a pixel in units of its height.
    rate, layout, sound_codec
        Hz, layout of the channels ("mono", "stereo", "5.1") and encoder of the sound.
    sound_from : float
        Seconds without sound at the beginning; ``sound`` still gets the times of the clip.
    silent : pair of float
        Start and end of a piece of the sound that is left out of the file, as if packets were lost.
    title : str
        Of the file's metadata.
    """
    codecs = CODECS.get(path.suffix, (None, None))
    with av.open(str(path), "w", format=format, options={"fflags": "+bitexact"}) as container:
        container.metadata.update({"title": title} if title else {})
        streams: list[tuple[Any, Iterator[Any]]] = []
        if picture is not None:
            video = container.add_stream(codec or codecs[0], rate=fps, options=options or {})
            video.width, video.height, video.pix_fmt = *size, pixels
            video.codec_context.thread_count = 1
            video.codec_context.flags |= av.codec.context.Flags.bitexact
            video.codec_context.sample_aspect_ratio = Fraction(aspect)
            if times is not None:
                video.codec_context.time_base = Fraction(1, 1000)
            if rotation or flip:
                video.set_display_rotation(rotation, hflip=flip)
            streams.append((video, _images(picture, seconds, fps, times)))
        if sound is not None:
            track = container.add_stream(sound_codec or codecs[1], rate=rate, layout=layout)
            track.codec_context.flags |= av.codec.context.Flags.bitexact
            streams.append((track, _samples(sound, sound_from, seconds, silent, rate, layout)))
        parts = [zip(repeat(stream), frames, strict=False) for stream, frames in streams]
        for stream, frame in heapq.merge(*parts, key=lambda part: part[1].time):
            container.mux(stream.encode(frame))
        for stream, _ in streams:
            container.mux(stream.encode(None))
    return path


def remux(source: Path, path: Path, **options: str) -> Path:
    """Copy the streams of a clip into another container, with options of its writer."""
    with av.open(str(source)) as old, av.open(str(path), "w", options=options) as new:
        streams = [new.add_stream_from_template(stream) for stream in old.streams]
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                new.mux(packet)
    return path


def _images(picture, seconds, fps, times):
    base = Fraction(1, fps) if times is None else Fraction(1, 1000)
    for k, time in enumerate(np.arange(round(seconds * fps)) / fps if times is None else times):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture(float(time))), "rgb24")
        frame.pts, frame.time_base = k if times is None else round(time * 1000), base
        yield frame


def _samples(sound, start, end, silent, rate, layout):
    for first in range(round(start * rate), round(end * rate), 1024):
        times = np.arange(first, min(first + 1024, round(end * rate))) / rate
        if silent[0] <= times[0] < silent[1]:
            continue
        channels = np.broadcast_to(sound(times), (av.AudioLayout(layout).nb_channels, len(times)))
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels, np.float32), "fltp", layout)
        frame.rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
        yield frame


def colour(red: int, green: int, blue: int, size: tuple[int, int] = (320, 240)) -> Callable[[float], np.ndarray]:
    """Pictures of a single colour."""
    image = np.full((size[1], size[0], 3), (red, green, blue), np.uint8)
    return lambda time: image


def flash(at: float, size: tuple[int, int] = (320, 240)) -> Callable[[float], np.ndarray]:
    """Black pictures that turn white at a time."""
    return lambda time: np.full((size[1], size[0], 3), 255 if time >= at - 1e-9 else 0, np.uint8)


def tone(hertz: float = 220.0, start: float = 0.0, loudness: float = 0.5) -> Callable[[np.ndarray], np.ndarray]:
    """A tone that begins at a time."""
    return lambda times: loudness * np.sin(2 * np.pi * hertz * times) * (times >= start)


def noise(time: float) -> np.ndarray:
    """A picture of 64 x 48 pixels that does not compress, so that the video fills its file evenly."""
    return np.random.default_rng(round(time * 1000)).integers(0, 256, (48, 64, 3), np.uint8)
