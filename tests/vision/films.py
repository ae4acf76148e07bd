"""Small films and pictures made on the spot."""

import av
import numpy as np
from PIL import Image


def film(path, frames=12, size=(48, 64), rate=8, codec="mpeg4"):
    """A clip whose brightness says which frame it is."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for n in range(frames):
            pixels = np.full((*size, 3), 10 + 18 * (n % 13), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return str(path)


def sound(path):
    """A file with sound alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
    return str(path)


def still(path, size=(20, 30), turned=False):
    """A picture, red at the left and black at the right; `turned` as a camera held upright."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[:, : size[1] // 2, 0] = 255
    image = Image.fromarray(pixels)
    exif = image.getexif()
    if turned:
        exif[0x112] = 6
    image.save(path, exif=exif)
    return str(path)
