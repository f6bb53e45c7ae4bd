"""The augmentations of the strategy `cald`, compared with what they do to pictures of the boxes."""

import pytest
import torch
from torchvision.tv_tensors import BoundingBoxes

from mgral.data.images import FILL
from mgral.selection import augmentation
from mgral.selection.augmentation import PATCH_COVERS, cut_out, flip, rotate, shrink, views

HEIGHT, WIDTH = 96, 128
BOXES = torch.tensor([[50.0, 30, 90, 60], [0, 0, 24, 20], [100, 70, 128, 96], [6, 40, 16, 90]])


def picture(box):
    """Black, with the box in white."""
    image = torch.zeros(1, 3, HEIGHT, WIDTH)
    x1, y1, x2, y2 = box.int().tolist()
    image[:, :, y1:y2, x1:x2] = 255
    return image


def moved(change, boxes, size=(HEIGHT, WIDTH)):
    return change(BoundingBoxes(boxes, format="XYXY", canvas_size=size)).as_subclass(torch.Tensor)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("change", [flip, shrink, rotate])
def test_a_box_encloses_its_object_in_the_changed_image(change, box):
    changed = change(picture(box))
    assert changed.shape == (1, 3, HEIGHT, WIDTH)
    # Brighter than half, and than what is left empty, of the blue channel.
    rows, columns = (changed[0, 2] > 128).nonzero(as_tuple=True)
    seen = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    # A pointed corner of a rotated rectangle is less than half of a pixel.
    torch.testing.assert_close(moved(change, box[None])[0], seen.float(), atol=1.5, rtol=0)


def test_shrinking_and_rotating_keep_all_of_an_image_and_leave_the_rest_grey():
    white = torch.full((1, 3, HEIGHT, WIDTH), 255.0)
    for change in (shrink, rotate):
        changed = change(white)[0]
        torch.testing.assert_close(changed[:, -1, -1], torch.tensor(FILL, dtype=torch.float32))
    cosine, sine = 0.99619, 0.08716
    shrunk = (shrink(white)[0, 2] > 254).float().mean()
    assert shrunk == pytest.approx(round(0.8 * HEIGHT) * round(0.8 * WIDTH) / HEIGHT / WIDTH, rel=1e-3)
    area = HEIGHT * WIDTH / ((WIDTH * cosine + HEIGHT * sine) * (HEIGHT * cosine + WIDTH * sine))
    assert (rotate(white)[0, 2] > 180).float().mean() == pytest.approx(area, abs=0.03)


def test_flipping_twice_changes_nothing():
    torch.testing.assert_close(moved(flip, moved(flip, BOXES)), BOXES)


def test_an_image_without_boxes_has_none_in_any_view():
    image = torch.full((1, 3, 8, 8), 7, dtype=torch.uint8)
    seen = list(views(image, [torch.zeros(0, 4)], [0]))
    assert [boxes[0].shape for _, boxes in seen] == [(0, 4)] * augmentation.VIEWS
    assert all(changed.dtype == torch.float32 and changed.shape == image.shape for changed, _ in seen)
    assert torch.equal(seen[-1][0], image.float())


def test_what_is_cut_out_hides_a_part_of_an_object_and_not_most_of_it():
    # Small enough to be hidden by one rectangle.
    boxes = torch.tensor([[40.0, 30, 56, 42], [80, 50, 92, 60]])
    most = []
    for seed in range(20):
        image = torch.zeros(3, HEIGHT, WIDTH)
        cut_out(image, boxes, seed)
        hidden = (image == torch.tensor(FILL)[:, None, None]).all(0)
        assert ((image == 0).all(0) | hidden).all()
        assert hidden.float().mean() <= 2 * 0.2**2
        if hidden.any():
            most.append(max(hidden[y1:y2, x1:x2].float().mean().item() for x1, y1, x2, y2 in boxes.int().tolist()))
    # None of the tries of the other seeds would do.
    assert len(most) == 18
    assert PATCH_COVERS[0] <= min(most)
    assert max(most) <= 2 * PATCH_COVERS[1]


def test_what_is_cut_out_depends_on_the_seed_and_not_on_the_images_beside_it():
    images = torch.rand(3, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) * 255
    *_, (together, _) = views(images, [BOXES] * 3, [5, 6, 5])
    *_, (alone, _) = views(images[1:2], [BOXES], [6])
    assert torch.equal(together[1], alone[0])
    assert torch.equal(together[0] != images[0], together[2] != images[2])
    assert not torch.equal(together[0] != images[0], together[1] != images[1])
