"""Decoding by PyAV: what a file holds, its sound in blocks, its frames at a steady rate.

Time 0 is where the earlier of video and sound begins. A file is decoded by a single thread, since clips are extracted
side by side. FFmpeg may open only the file itself, and only as one of :data:`FORMATS`: a playlist opens connections.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ktnet_lite.data.foreign import unreadable
from ktnet_lite.errors import DataError
from ktnet_lite.extract.extras import needed

RATE = 16_000  # Hz
BLOCK = 10  # seconds of sound per block
ROUNDING = 0.001  # seconds; Matroska and FLV round times to milliseconds
JITTER = 0.04  # seconds; sound whose time is off by more is put where it belongs
LOST = 0.5  # seconds in a row that may be damaged, or missing at the end
PAUSE = 600.0  # seconds that may lie between two frames; more is a damaged time
SPARE = 4096  # bytes by which the size that a WAV or AVI file declares may be wrong
STREAMED = 0x7FFF0000  # a size from here on stands for "unknown"
FORMATS = (
    "mov,matroska,avi,flv,mpeg,mpegts,asf,ogg,rm,mxf,dv,nut,wtv,"
    "wav,w64,mp3,aac,flac,aiff,au,caf,amr,ac3,eac3,nistsphere"
)
ESTIMATED = {"mpeg", "mpegts", "mp3", "aac", "amr", "ac3", "eac3"}  # they declare no duration; FFmpeg estimates it
NAMES = {"video": "video", "audio": "sound"}


class Media(NamedTuple):
    """What a file holds.

    Parameters
    ----------
    duration : float
        Seconds, as the file declares them, or measured if it declares none.
    has_video : bool
        False also for a sound file with a cover picture.
    has_sound : bool
    """

    duration: float
    has_video: bool
    has_sound: bool


class _Decoded(NamedTuple):
    frame: Any
    start: float  # seconds from the clip's beginning
    end: float
    aspect: Fraction  # width of a pixel of the video by its height


def probe(path: Path | str) -> Media:
    """Find out what a file holds, and that its first frames can be decoded.

    Raises
    ------
    DataError
        There is no such file, it is empty, not a media file or damaged, it holds neither video nor sound, or FFmpeg
        cannot decode them.
    """
    with _opened(path) as container:
        tracks = _tracks(path, container)
        if container.duration and container.format.name not in ESTIMATED:
            duration = container.duration / 1e6
        else:
            duration = max(map(_end, _demuxed(container)), default=0.0) - _beginning(tracks)
    for kind in tracks:
        next(_decoded(path, kind))
    return Media(duration, "video" in tracks, "audio" in tracks)


def sound(path: Path | str) -> Iterator[np.ndarray]:
    """Decode the sound, mixed to one channel by FFmpeg, from time 0 on.

    A late start and a gap in the times become silence, so that later sound keeps its time.

    Yields
    ------
    block : float32 array (BLOCK * RATE,); the last may be shorter
        Samples in [-1, 1].

    Raises
    ------
    DataError
        The file has no sound, cannot be read, is damaged or cut off; raised where the damage is reached.
    """
    size, parts, count = BLOCK * RATE, [], 0
    for part in _timely(path):
        parts.append(part)
        count += len(part)
        if count >= size:
            whole = np.concatenate(parts)
            full = count // size * size
            yield from whole[:full].reshape(-1, size)
            parts, count = [whole[full:].copy()], count - full
    if count:
        yield np.concatenate(parts)


def frames(path: Path | str, fps: float) -> Iterator[tuple[float, np.ndarray]]:
    """Decode the video at a steady rate: for each k, the frame that is shown at k / ``fps``.

    A frame that is shown at several of these times comes again, as the same array: the video may be slower than
    ``fps``. A frame that is shown at none is not converted. Times before the first frame are left out.

    Yields
    ------
    time : float
        k / ``fps``, in seconds.
    image : uint8 array (H, W, 3)
        RGB, contiguous, turned and mirrored as a player does it, with square pixels.

    Raises
    ------
    DataError
        The file has no video, cannot be read, is damaged or cut off; raised where the damage is reached.
    """
    k = 0
    with _translated(path):
        for decoded, until in _shown(_decoded(path, "video")):
            k = max(k, ceil((decoded.start - ROUNDING) * fps))
            image = None
            while k / fps + ROUNDING < until:
                image = _image(decoded) if image is None else image
                yield k / fps, image
                k += 1


def _shown(decoded: Iterator[_Decoded]) -> Iterator[tuple[_Decoded, float]]:
    """Add to each frame until when it is shown."""
    last = None
    for following in decoded:
        if last is not None:
            yield last, following.start
        last = following
    if last is not None:
        yield last, last.end


@contextmanager
def _translated(path: Path | str) -> Iterator[None]:
    """Turn any failure of FFmpeg into a :class:`DataError`."""
    try:
        yield
    except needed("av").FFmpegError as error:
        raise DataError(
            f"{path} is damaged, or is not a video or sound file that FFmpeg can read ({error.strerror}); "
            "copy it again, or convert it to mp4"
        ) from error


@contextmanager
def _opened(path: Path | str) -> Iterator[Any]:
    """Open a container, unless the file is seen to be unfit without FFmpeg."""
    try:
        if Path(path).is_dir():
            raise OSError(errno.EISDIR, "folder")
        with open(path, "rb") as file:
            head, size = file.read(8), Path(path).stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error
    if size == 0:
        raise DataError(f"{path} is empty (0 bytes); copy or download it again")
    declared = int.from_bytes(head[4:], "little") + 8
    if head.startswith(b"RIFF") and size + SPARE < declared < STREAMED:  # FFmpeg would say nothing
        raise DataError(f"{path} is cut off: it declares {declared} bytes and has {size}; copy or download it again")
    av = needed("av")
    options: dict[str, Any] = {"container_options": {"protocol_whitelist": "file", "format_whitelist": FORMATS}}
    if int(av.__version__.partition(".")[0]) < 19:  # later ones never fail at metadata that are not UTF-8
        options["metadata_errors"] = "replace"
    with _translated(path), av.open(f"file:{path}", **options) as container:
        yield container


def _tracks(path: Path | str, container: Any) -> dict[str, Any]:
    """Choose the video and the sound, as FFmpeg does if there are several."""
    attached = needed("av").stream.Disposition.attached_pic
    best = {kind: container.streams.best(kind) for kind in NAMES}
    tracks = {kind: track for kind, track in best.items() if track and not track.disposition & attached}
    if not tracks:
        raise DataError(f"{path} has neither video nor sound; remove it, or copy it again")
    for kind, track in tracks.items():
        if track.codec_context is None:
            raise DataError(f"{path}: FFmpeg cannot decode the format of its {NAMES[kind]}; convert the file to mp4")
        track.codec_context.thread_count = 1
    return tracks


def _beginning(tracks: dict[str, Any]) -> float:
    """Time 0 of the clip, in seconds by the file's own clock."""
    starts = [track.start_time * track.time_base for track in tracks.values() if track.start_time is not None]
    return float(min(starts, default=0.0))


def _demuxed(container: Any) -> Iterator[Any]:
    """Read packets as far as the file goes."""
    try:
        yield from container.demux()
    except (needed("av").FFmpegError, IndexError):  # IndexError: damage made FFmpeg find one more stream
        return  # the next packet is damaged, or lies beyond the end of a file that is cut off


def _end(packet: Any) -> float:
    """Where a packet ends, in seconds by the file's own clock; 0 if it has no time or is not shown."""
    if packet.pts is None or packet.is_discard:
        return 0.0
    return (packet.pts + (packet.duration or 0)) * float(packet.time_base)


def _packets(path: Path | str, container: Any, track: Any) -> Iterator[Any]:
    """Read the packets of a track; raise if the file ends earlier than it declares."""
    reached = 0.0
    for packet in _demuxed(container):
        reached = max(reached, _end(packet))
        if packet.stream_index == track.index:
            yield packet
    declared = (container.duration or 0) / 1e6
    if declared - reached > LOST and container.format.name not in ESTIMATED:
        raise DataError(
            f"{path} is cut off: it declares {declared:.1f} s and ends at {reached:.1f} s; copy or download it again"
        )


def _decoded(path: Path | str, kind: str) -> Iterator[_Decoded]:
    """Decode a track; raise where more than LOST is damaged, or where times make no sense."""
    name, av = NAMES[kind], needed("av")
    with _opened(path) as container:
        tracks = _tracks(path, container)
        if kind not in tracks:
            raise DataError(f"{path} has no {name}")
        track, beginning = tracks[kind], _beginning(tracks)
        start = end = reached = 0.0  # of the last frame; and where the packets end
        any_decoded = damaged = False
        for packet in _packets(path, container, track):
            reached = max(reached, _end(packet) - beginning)
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                damaged = True
                continue
            for frame in decoded:
                if frame.is_corrupt:
                    damaged = True
                    continue
                before, ticks = start, _ticks(frame, track)
                start = end if ticks is None else ticks * float(frame.time_base) - beginning
                if not -1 < start - before < PAUSE:
                    raise _damage(path, f"the times of its {name} jump from {before:.1f} s to {start:.1f} s")
                if damaged and start - end > LOST:
                    raise _damage(path, f"its {name} cannot be decoded from {end:.1f} s to {start:.1f} s")
                end, any_decoded, damaged = start + _length(frame, track), True, False
                aspect = getattr(track, "sample_aspect_ratio", None) or Fraction(1)
                yield _Decoded(frame, start, end, aspect)
        if not any_decoded or reached - end > LOST:
            raise _damage(path, f"its {name} cannot be decoded beyond {end:.1f} s")


def _damage(path: Path | str, what: str) -> DataError:
    return DataError(f"{path} is damaged: {what}; copy or download it again, or convert it to mp4")


def _ticks(frame: Any, track: Any) -> int | None:
    """When a frame is shown, by the file's own clock; None if the file does not tell."""
    if track.type == "audio" or track.container.format.name != "avi":
        return frame.pts
    # AVI has times of packets only, in the order of decoding
    return None if frame.dts is None else frame.dts - track.codec_context.reorder_depth


def _length(frame: Any, track: Any) -> float:
    """Seconds that a frame lasts."""
    if track.type == "audio":
        return frame.samples / frame.sample_rate
    return float(frame.duration * frame.time_base if frame.duration else 1 / (track.average_rate or 25))


def _timely(path: Path | str) -> Iterator[np.ndarray]:
    """Resample the sound so that every sample is where its time says, within JITTER."""
    position = 0
    with _translated(path):
        for start, samples in _resampled(path):
            gap = start - position
            if gap > JITTER * RATE:
                samples = np.pad(samples, (gap, 0))
            elif gap < -JITTER * RATE:
                samples = samples[-gap:]
            yield samples
            position += len(samples)


def _resampled(path: Path | str) -> Iterator[tuple[int, np.ndarray]]:
    """Yield samples at RATE, and at which sample they start."""
    graph = form = None
    for decoded in _decoded(path, "audio"):
        frame = decoded.frame
        before, form = form, (frame.sample_rate, frame.format.name, frame.layout.name)
        if form != before:  # it may change midway
            if graph is not None:
                yield from _pushed(graph, None)
            graph = _resampler(*form)
        frame.pts, frame.time_base = round(decoded.start * frame.sample_rate), Fraction(1, frame.sample_rate)
        yield from _pushed(graph, frame)
    yield from _pushed(graph, None)


def _resampler(rate: int, samples: str, layout: str) -> Any:
    """FFmpeg's mixer and resampler, to 32-bit integers: it mixes floats beyond [-1, 1]."""
    graph = needed("av").filter.Graph()
    graph.threads = 1
    source = graph.add_abuffer(sample_rate=rate, format=samples, layout=layout, time_base=Fraction(1, rate))
    convert = graph.add("aformat", f"sample_rates={RATE}:sample_fmts=s32:channel_layouts=mono")
    graph.link_nodes(source, convert, graph.add("abuffersink")).configure()
    return graph


def _pushed(graph: Any, frame: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Push a frame, or None at the end, and pull what is ready."""
    graph.push(frame)
    with suppress(BlockingIOError, EOFError):  # nothing is ready
        while True:
            ready = graph.pull()
            yield ready.pts, ready.to_ndarray()[0].astype(np.float32) / np.float32(2**31)


def _image(decoded: _Decoded) -> np.ndarray:
    """Convert a frame: (H, W, 3), upright."""
    frame, aspect = decoded.frame, min(max(decoded.aspect, Fraction(1, 4)), Fraction(4))  # of a damaged header
    width, height = round(frame.width * max(1, aspect)), round(frame.height * max(1, 1 / aspect))
    image = frame.reformat(width, height, "rgb24", threads=1).to_ndarray()
    if (matrix := frame.side_data.get("DISPLAYMATRIX")) is not None:  # x' = a x + c y, y' = b x + d y
        a, b, _, c, d = (int(entry) for entry in np.frombuffer(bytes(matrix), np.int32)[:5])
        if abs(b) > abs(a):
            image, a, d = image.swapaxes(0, 1), c, b
        image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image)
