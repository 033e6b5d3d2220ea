"""What a competitor sees of a video: the pictures alone. The sound in the corpus' own file is the reference."""

from __future__ import annotations

from pathlib import Path

from metis_bench.errors import ItemError, missing_extra


def pictures(video: Path, target: Path) -> Path:
    """The video stream, packet by packet, in a container of the same kind. Raises ItemError, MissingPrerequisite."""
    if video.suffix == ".npy":  # frames of the mini corpus: they have no sound
        return video
    try:
        import av
    except ImportError:
        raise missing_extra("a baseline that reads lips", "av", "lips") from None
    try:
        with av.open(str(video)) as source, av.open(str(target), "w") as made:
            stream = source.streams.video[0]
            copy = made.add_stream_from_template(stream)
            for packet in source.demux(stream):
                if packet.dts is not None:  # the last one only flushes
                    packet.stream = copy
                    made.mux(packet)
    except (OSError, IndexError, ValueError) as error:  # av's errors are OSErrors or ValueErrors
        raise ItemError(f"cannot read the video {video}: {error}") from None
    return target
