import io
import os
import pickle
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from spanetv2.data.header import ImageHeader, read_headers
from spanetv2.data.images import (
    EXTENSIONS,
    ImageError,
    image_orientation,
    opening,
    read_image,
    to_eight_bit,
)
from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.image_entries import read_entry
from spanetv2.tasks.detection.data.reading import Reading

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 9, 3), dtype=np.uint8)
SMOOTH = np.stack(np.broadcast_arrays(np.arange(0, 240, 10)[:, None], 90, 200), axis=-1)
SMOOTH = np.ascontiguousarray(np.broadcast_to(SMOOTH, (24, 16, 3))).astype(np.uint8)


def save(path, image, **options):
    image.save(path, **options)
    return path


def read(path) -> np.ndarray:
    image = read_image(path)
    assert image.mode in ("L", "RGB")
    return np.asarray(image)


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "ppm", "webp"])
def test_read_image_gives_the_exact_pixels_of_lossless_formats(tmp_path, ending):
    options = {"lossless": True} if ending == "webp" else {}
    path = save(tmp_path / f"a.{ending}", Image.fromarray(PIXELS), **options)
    assert np.array_equal(read(path), PIXELS)


@pytest.mark.parametrize("ending", ["jpg", "webp", "avif", "jp2"])
def test_read_image_gives_nearly_the_pixels_of_lossy_formats(tmp_path, ending):
    if f".{ending}" not in Image.registered_extensions():
        pytest.skip(f"Pillow without {ending}")
    path = save(tmp_path / f"a.{ending}", Image.fromarray(SMOOTH), quality=95)
    assert np.abs(read(path).astype(int) - SMOOTH).mean() < 4


def test_read_image_keeps_grey_images_grey(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(PIXELS[..., 0]))
    assert np.array_equal(read(path), PIXELS[..., 0])


def test_read_image_goes_by_content_not_by_name(tmp_path):
    path = tmp_path / "really_a_png.jpg"
    Image.fromarray(PIXELS).save(path, format="PNG")
    assert np.array_equal(read(path), PIXELS)


def test_read_image_reads_open_files(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "PNG")
    stream.seek(0)
    assert np.array_equal(np.asarray(read_image(stream)), PIXELS)
    with pytest.raises(ImageError, match=r"^inside\.tar/x: "):
        read_image(io.BytesIO(b"?"), name="inside.tar/x")


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_read_image_scales_16_bit_grey(tmp_path, ending):
    values = np.array([[0, 128, 257, 32768, 65535]], dtype=np.uint16)
    path = save(tmp_path / f"a.{ending}", Image.fromarray(values))
    assert np.array_equal(read(path), [[0, 0, 1, 128, 255]])


def png16(rgb: np.ndarray) -> bytes:
    """A 16-bit RGB PNG, which Pillow cannot write."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width, _ = rgb.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgb)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def test_read_image_reads_16_bit_colour(tmp_path):
    (tmp_path / "a.png").write_bytes(png16(PIXELS.astype(np.uint16) * 257))
    assert np.array_equal(read(tmp_path / "a.png"), PIXELS)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_read_image_scales_float_images(tmp_path, scale):
    values = np.array([[0.0, 0.2, 1.0]], dtype=np.float32) * np.float32(scale)
    path = save(tmp_path / "a.tif", Image.fromarray(values))
    assert np.array_equal(read(path), [[0, 51, 255]])


@pytest.mark.parametrize("values", [[-1.0, 2.0], [0.0, 1000.0], [np.nan, 0.5]])
def test_read_image_refuses_pixels_without_a_white(tmp_path, values):
    path = save(tmp_path / "a.tif", Image.fromarray(np.array([values], dtype=np.float32)))
    with pytest.raises(ImageError, match=r"a\.tif: F pixels from .*; convert the file"):
        read_image(path)


def test_read_image_converts_cmyk_jpeg(tmp_path):
    path = save(tmp_path / "a.jpg", Image.fromarray(SMOOTH).convert("CMYK"), quality=100)
    with Image.open(path) as raw:
        assert raw.mode == "CMYK"
    assert np.abs(read(path).astype(int) - SMOOTH).max() <= 6


def test_read_image_converts_palettes(tmp_path):
    image = Image.new("P", (2, 2))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1, 1, 0])
    expected = [[[10, 20, 30], [200, 100, 50]], [[200, 100, 50], [10, 20, 30]]]
    assert np.array_equal(read(save(tmp_path / "a.png", image)), expected)
    transparent = read(save(tmp_path / "b.png", image, transparency=0))
    assert np.array_equal(transparent[0], [[255, 255, 255], [200, 100, 50]])


def test_read_image_converts_bilevel(tmp_path):
    image = Image.fromarray(np.array([[0, 255], [255, 0]], dtype=np.uint8)).convert("1")
    assert np.array_equal(read(save(tmp_path / "a.png", image)), [[0, 255], [255, 0]])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_read_image_lays_transparency_over_white(tmp_path, mode):
    image = Image.new("RGBA", (3, 1))
    image.putdata([(100, 100, 100, 255), (100, 100, 100, 0), (0, 0, 0, 51)])
    out = read(save(tmp_path / "a.png", image.convert(mode)))
    assert out.shape == ((1, 3, 3) if mode == "RGBA" else (1, 3))
    assert np.abs(out.reshape(3, -1)[:, 0].astype(int) - [100, 255, 204]).max() <= 1


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tif"])
def test_read_image_takes_the_first_frame(tmp_path, ending):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("#c00000", "#00c000", "#0000c0")]
    options = {"lossless": True} if ending == "webp" else {}
    path = save(
        tmp_path / f"a.{ending}", frames[0], save_all=True, append_images=frames[1:], **options
    )
    with Image.open(path) as raw:
        assert getattr(raw, "n_frames", 1) == 3
    assert np.abs(read(path)[4, 4].astype(int) - [0xC0, 0, 0]).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_read_image_applies_the_exif_orientation(tmp_path, orientation, ending):
    upright = np.zeros((16, 32, 3), dtype=np.uint8)
    upright[:8, :16] = 250  # the corner at the top left is bright
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a.{ending}", Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    assert np.abs(read(path).astype(int) - upright).mean() < 4


def test_read_image_ignores_broken_exif(tmp_path):
    path = save(tmp_path / "a.jpg", Image.fromarray(SMOOTH), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert np.abs(read(path).astype(int) - SMOOTH).mean() < 4


def test_every_reader_takes_images_with_broken_exif_as_stored(tmp_path):
    path = tmp_path / "x.webp"
    Image.new("RGB", (6, 4)).save(path, exif=b"ML\0*\0\0\0\x08")
    with Image.open(path) as opened:
        with pytest.raises(SyntaxError):
            opened.getexif()
        assert image_orientation(opened) == 1
    (header,) = read_headers([path])
    assert (header.width, header.height, header.orientation) == (6, 4, 1)
    assert read_image(path).size == (6, 4)
    assert read_entry(path, (6, 4), as_stored=True, reading=Reading()).size == (6, 4)


def test_read_image_reads_a_single_pixel(tmp_path):
    path = save(tmp_path / "a.png", Image.new("RGB", (1, 1), (1, 2, 3)))
    assert np.array_equal(read(path), [[[1, 2, 3]]])


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "webp", "tif", "bmp"])
@pytest.mark.parametrize("part", [0.3, 0.7])
def test_read_image_refuses_truncated_files(tmp_path, ending, part):
    noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{ending}", Image.fromarray(noise))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ImageError, match=rf"^{path}: (damaged|not an image)"):
        read_image(path)


def test_read_image_refuses_corrupt_content(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(PIXELS))
    content = bytearray(path.read_bytes())
    content[50:80] = bytes(30)
    path.write_bytes(content)
    with pytest.raises(ImageError, match="damaged"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.jpg", b"", "an empty file"),
        ("text.jpg", b"This is a text file.\n", "not an image in a known format"),
        ("page.png", b"<html><body>404</body></html>", "not an image in a known format"),
        ("drawing.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_read_image_names_the_reason(tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert caught.value.path == str(path)
    assert caught.value.reason.startswith(reason)
    assert "\n" not in str(caught.value)


def test_read_image_refuses_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "dead.jpg").symlink_to(tmp_path / "gone.jpg")
    for name, reason in (
        ("none.jpg", "no such file"),
        ("dead.jpg", "no such file"),
        ("pipe.jpg", "not a regular file"),
        (".", "a folder"),
    ):
        with pytest.raises(ImageError, match=reason):
            read_image(tmp_path / name)
    with pytest.raises(ImageError, match="null"):
        read_image("a\0b.jpg")


def bomb(width: int, height: int) -> bytes:
    """A PNG of one colour: a few kilobytes that claim to be enormous."""
    stream = io.BytesIO()
    Image.new("1", (8, 8)).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_read_image_refuses_decompression_bombs(tmp_path, side, recwarn):
    # The smaller one is beyond Pillow's limit, where it warns; the larger beyond twice the limit.
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(side, side))
    with pytest.raises(ImageError, match=r"bomb\.png: refused as a possible decompression bomb"):
        read_image(path)
    assert not recwarn.list


def test_read_image_refuses_frames_and_pages_that_are_bombs(tmp_path):
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[256], directory[257], directory[258], directory[259] = 100_000, 100_000, 8, 1
    directory[262], directory[273], directory[277], directory[278] = 1, 8, 1, 100_000
    directory[279] = 8
    stream = io.BytesIO()
    stream.write(b"II*\0" + struct.pack("<I", 8))
    stream.write(directory.tobytes(8))
    (tmp_path / "a.tif").write_bytes(stream.getvalue())
    with pytest.raises(ImageError, match="bomb"):
        read_image(tmp_path / "a.tif")


def test_read_image_raises_only_image_errors_on_random_damage(tmp_path):
    rng = np.random.default_rng(1)
    files = []
    for ending in ("jpg", "png", "gif", "webp", "tif", "bmp", "ppm", "jp2", "ico"):
        path = save(tmp_path / f"a.{ending}", Image.fromarray(SMOOTH))
        files.append((path, path.read_bytes()))
    outcomes: dict[str, int] = {}
    for path, content in files:
        for _ in range(40):
            damaged = bytearray(content)
            for place in rng.integers(0, len(content), rng.integers(1, 5)):
                damaged[place] = rng.integers(0, 256)
            kept = int(rng.choice([len(content), int(rng.integers(1, len(content)))]))
            path.write_bytes(damaged[:kept])
            try:
                mode = read_image(path).mode
            except ImageError as error:
                mode = error.path
            outcomes[mode] = outcomes.get(mode, 0) + 1
    assert set(outcomes) == {"RGB", *(str(path) for path, _ in files)}
    assert 50 < outcomes["RGB"] < 300


def test_image_error_survives_pickling():
    error = pickle.loads(pickle.dumps(ImageError("a.jpg", "an empty file")))
    assert isinstance(error, ImageError)
    assert issubclass(ImageError, UserError)
    assert (error.path, error.reason, str(error)) == (
        "a.jpg",
        "an empty file",
        "a.jpg: an empty file",
    )


def test_to_eight_bit_leaves_its_input_alone():
    image = Image.new("RGBA", (2, 2), (1, 2, 3, 128))
    before = image.tobytes()
    to_eight_bit(image)
    assert image.tobytes() == before


def test_extensions_are_lower_case_with_a_dot():
    assert all(e == e.lower() and e.startswith(".") for e in EXTENSIONS)


def test_heic_is_read_where_its_plug_in_is_and_named_where_not(tmp_path):
    path = tmp_path / "IMG_1.HEIC"
    if ".heic" in EXTENSIONS:
        pillow_heif = pytest.importorskip("pillow_heif")
        pillow_heif.register_heif_opener()
        Image.new("RGB", (64, 48), (200, 30, 30)).save(path, format="HEIF", quality=95)
        image = read_image(path)
        assert image.size == (64, 48)
        pixel = image.getpixel((20, 20))
        assert isinstance(pixel, tuple)
        assert abs(pixel[0] - 200) < 12
    else:
        path.write_bytes(b"0000ftypheic")
        with pytest.raises(ImageError, match=r"IMG_1\.HEIC: .* \(pip install .spanetv2\[heic\].\)"):
            read_image(path)


def test_pixel_limit_is_put_back_after_the_last_of_several_threads():
    usual, inside, done = Image.MAX_IMAGE_PIXELS, threading.Event(), threading.Event()

    def hold():
        with opening("one", max_pixels=71):
            inside.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    with opening("other", max_pixels=72):
        thread.start()
        assert inside.wait(20)
    assert Image.MAX_IMAGE_PIXELS == 71
    done.set()
    thread.join(20)
    assert usual == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_in_every_orientation_is_read_as_a_png_of_it_is(
    tmp_path: Path, orientation: int, compression: str
) -> None:
    stored = Image.fromarray(np.arange(3 * 40, dtype=np.uint8).reshape(3, 40))
    exif = Image.Exif()
    exif[0x112] = orientation
    stored.save(tmp_path / "a.tif", exif=exif, compression=compression)
    stored.save(tmp_path / "a.png", exif=exif)
    tiff, png = (np.asarray(read_image(tmp_path / f"a.{kind}")) for kind in ("tif", "png"))
    assert np.array_equal(tiff, png)
    headers = list(read_headers([tmp_path / "a.tif", tmp_path / "a.png"]))
    assert headers[0] == headers[1]
    assert isinstance(headers[0], ImageHeader)
    assert headers[0].shown == tiff.shape[::-1]
