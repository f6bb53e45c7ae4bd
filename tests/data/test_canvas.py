"""Canvases: where images and boxes lie in the cache, packed files, and what a detector is shown of them."""

import io
import itertools

import numpy as np
import pytest
import torch
from caching import cache_split
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mgral.config import EvaluationConfig
from mgral.config.canvas import Canvas
from mgral.data.dataset import Category, Dataset
from mgral.data.images import FILL, Images, load_images
from mgral.errors import InputError
from mgral.evaluation.detect import detect_images
from mgral.models.detectors.retinanet import RetinaNetConfig
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.detectors.ssd300 import SSD300Config
from mgral.models.suppression import Found
from mgral.models.view import sample_windows, show
from mgral.training.batches import training_images

SIZES = ((40, 24), (16, 90), (120, 120))
BOX = (4.0, 6.0, 12.0, 20.0)
SHRUNK, FITTED = Canvas(64, 64, "shrink", view=(30, 30)), Canvas(128, 128, "fit")
CANVASES = (Canvas(20, 12), SHRUNK, FITTED)


@pytest.fixture
def dataset(tmp_path):
    """Three JPEG files of noise with a box each, and their data set."""
    rng = np.random.default_rng(0)
    for number, (width, height) in enumerate(SIZES):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(tmp_path / f"{number}.jpg")
    names = tuple(f"{number}.jpg" for number in range(3))
    boxes = tuple(np.array([BOX], np.float32) for _ in names)
    labels = tuple(np.zeros(1, np.int64) for _ in names)
    return Dataset(np.arange(3), names, np.array(SIZES), (Category(1, "a"),), boxes, labels)


def test_each_detector_has_its_canvas():
    assert SmallSSDConfig(width=20, height=12).image_canvas == Canvas(20, 12)
    ssd = SSD300Config(name="ssd300_vgg16")
    assert ssd.image_canvas == Canvas(500, 500, "shrink", view=(300, 300))
    assert not ssd.caches_files
    retinanet = RetinaNetConfig(name="retinanet_resnet50_fpn")
    assert retinanet.image_canvas == Canvas(1024, 1024, "fit")
    assert retinanet.caches_files


def test_what_an_image_covers():
    sizes = np.array([[500, 375], [333, 500], [200, 100], [1000, 500], [3000, 2]])
    assert Canvas(80, 60).covered(sizes).tolist() == [[80, 60]] * 5
    shrunk = Canvas(500, 500, "shrink", view=(300, 300))
    assert shrunk.covered(sizes).tolist() == [[500, 375], [333, 500], [200, 100], [500, 250], [500, 1]]
    assert shrunk.shown(sizes).tolist() == [[300, 300]] * 5
    fitted = Canvas(1000, 1000, "fit")
    assert fitted.covered(sizes).tolist() == [[1000, 750], [666, 1000], [1000, 500], [1000, 500], [1000, 1]]


@pytest.mark.parametrize("canvas", CANVASES, ids=lambda canvas: canvas.placement)
def test_packed_files_are_the_pixels_of_the_cache(dataset, tmp_path, canvas):
    cache_split(dataset, tmp_path, canvas, tmp_path / "decoded.npy")
    cache_split(dataset, tmp_path, canvas, tmp_path / "encoded.npy", keep_files=True, threads=2)
    decoded, encoded = (load_images(tmp_path / f"{name}.npy", dataset, canvas) for name in ("decoded", "encoded"))
    assert encoded.encoded
    rows = np.array([2, 0, 2, 1])
    encoded.prefetch(np.array([1, 2]))
    np.testing.assert_array_equal(encoded.read(rows), decoded.read(rows))
    np.testing.assert_array_equal(encoded.read(rows), decoded.read(rows))
    width, height = canvas.covered(dataset.sizes)[1]
    assert encoded.image(1).shape == (height, width, 3)
    if canvas.placement != "stretch":
        assert (encoded.read(np.array([1]))[0, :, width:] == FILL).all()


def test_packed_files_are_the_files(dataset, tmp_path):
    cache_split(dataset, tmp_path, FITTED, tmp_path / "encoded.npy", keep_files=True)
    packed = np.load(tmp_path / "encoded.npy")
    offsets = packed[8:40].view("<i8")
    for number, (start, end) in enumerate(itertools.pairwise(offsets)):
        assert packed[start:end].tobytes() == (tmp_path / f"{number}.jpg").read_bytes()


def test_a_damaged_file_is_not_packed(dataset, tmp_path):
    path = tmp_path / "1.jpg"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"Images cannot be decoded \(1\): replace the files.*\n +1\.jpg \("):
        cache_split(dataset, tmp_path, FITTED, tmp_path / "out" / "encoded.npy", keep_files=True)
    path.unlink()
    with pytest.raises(InputError, match=r"Images are not on disk \(1\).*\n +1\.jpg$"):
        cache_split(dataset, tmp_path, FITTED, tmp_path / "out" / "encoded.npy", keep_files=True)
    assert not list((tmp_path / "out").glob("*"))


def test_a_cache_of_another_canvas_or_data_set_is_refused(dataset, tmp_path):
    cache_split(dataset, tmp_path, FITTED, tmp_path / "decoded.npy")
    cache_split(dataset, tmp_path, FITTED, tmp_path / "encoded.npy", keep_files=True)
    fewer = Dataset(np.arange(2), dataset.file_names[:2], dataset.sizes[:2], dataset.categories, (), ())
    for path, other, canvas in (("decoded", dataset, SHRUNK), ("decoded", fewer, FITTED), ("encoded", fewer, FITTED)):
        with pytest.raises(InputError, match=f"{path}.npy does not belong to its data set; delete it"):
            load_images(tmp_path / f"{path}.npy", other, canvas)


@pytest.mark.parametrize("canvas", CANVASES, ids=lambda canvas: canvas.placement)
def test_boxes_go_to_the_canvas_and_detections_back(dataset, tmp_path, canvas):
    """A detector that finds each box where training says that it is shown."""
    cache_split(dataset, tmp_path, canvas, tmp_path / "train.npy")
    images = load_images(tmp_path / "train.npy", dataset, canvas)
    labelled = training_images(dataset, images, dataset.image_ids)
    shown = torch.from_numpy(canvas.shown(dataset.sizes).copy())
    boxes = labelled.targets.boxes[:, 0] / labelled.covered.repeat(1, 2) * shown.repeat(1, 2)

    class Finding(torch.nn.Module):
        device = torch.device("cpu")

        def detect(self, inputs, _):
            assert inputs.shape == (3, 3, *canvas.input_size[::-1])
            first = torch.zeros(1, dtype=torch.int64)
            return [Found(box[None], torch.ones(1), first, torch.ones(1, 2), first) for box in boxes]

    found = detect_images(Finding(), dataset, images, np.arange(3), EvaluationConfig())
    for one in found:
        assert one["bbox"] == pytest.approx([BOX[0], BOX[1], BOX[2] - BOX[0], BOX[3] - BOX[1]], abs=0.02)


def test_a_view_shows_what_an_image_covers_and_nothing_else():
    """An image of one colour fills the view, whatever lies beside it on the canvas."""
    canvas = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    canvas[0, :, :24, :40] = 200
    canvas[1, :, :64, :11] = 200
    seen = show(canvas, torch.tensor([[40.0, 24.0], [11.0, 64.0]]), SHRUNK)
    assert seen.shape == (2, 3, 30, 30)
    torch.testing.assert_close(seen, torch.full_like(seen, 200))


def test_a_view_samples_as_torch_does():
    canvas = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    seen = show(canvas, torch.tensor([[40.0, 24.0]]), SHRUNK)
    expected = torch.nn.functional.interpolate(canvas[:, :, :24, :40].float(), (30, 30), mode="bilinear")
    torch.testing.assert_close(seen, expected, atol=1e-2, rtol=0)


def test_outside_of_an_image_is_the_mean_colour():
    canvas = torch.full((1, 3, 20, 20), 250, dtype=torch.uint8)
    seen = sample_windows(canvas, torch.tensor([[20.0, 10.0]]), torch.tensor([[-1.0, 0.0, 1.0, 2.0]]), (40, 20))
    assert (seen[0, :, :10, 20:] == 250).all()
    for row, column in ((0, 19), (10, 20), (19, 39)):
        assert seen[0, :, row, column].tolist() == list(FILL)


@given(st.data())
def test_the_canvas_and_back_is_the_identity(data):
    size = np.array([data.draw(st.integers(8, 2000)), data.draw(st.integers(8, 2000))])
    canvas = data.draw(st.sampled_from([Canvas(80, 60), Canvas(500, 500, "shrink"), Canvas(1024, 1024, "fit")]))
    covered = canvas.covered(size)
    assert (covered >= 1).all()
    assert (covered <= [canvas.width, canvas.height]).all()
    corner = data.draw(st.floats(0, 1)) * size
    np.testing.assert_allclose(corner * (covered / size) * (size / covered), corner)
    if canvas.placement != "stretch" and size.min() > size.max() / 50:
        assert covered[0] / covered[1] == pytest.approx(size[0] / size[1], rel=0.5 / covered.min() + 1e-3)


def test_a_damaged_pack_names_the_row(dataset, tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 24)).save(buffer, "PNG")
    content = buffer.getvalue()[:40]
    offsets = np.array([0, 24, 24 + len(content)], dtype="<i8")
    images = Images(np.frombuffer(offsets.tobytes() + content, np.uint8), np.array([[40, 24]]), FITTED)
    with pytest.raises(InputError, match="row 0 of the image cache cannot be decoded; delete it"):
        images.read(np.array([0]))
