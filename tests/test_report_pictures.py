"""A page knows how large its pictures are, and keeps its place while they load."""

import pytest
from casarun.report.pictures import give_sizes, size
from matplotlib import image as pixels


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "plots" / "one.png"
    path.parent.mkdir()
    pixels.imsave(path, [[0.0, 1.0, 0.5]] * 2)
    return path


def test_size_is_that_of_the_file(picture):
    assert size(picture) == {"width": 3, "height": 2}


@pytest.mark.parametrize(
    "content",
    [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(30), b"\x89PNG\r\n\x1a\n" + bytes(16)],
)
def test_what_is_no_picture_has_no_size(tmp_path, content):
    path = tmp_path / "one.png"
    path.write_bytes(content)
    assert size(path) == {}
    assert size(tmp_path / "none.png") == {}


def test_pictures_get_their_size_wherever_they_stand(picture):
    chart = {"shapes": [{"kind": "rect"}]}
    plot = {"file": "plots/one.png", "src": "plots/one.png"}
    gone = {"file": "plots/two.png", "src": "plots/two.png"}
    script = {"file": "plots/one.js", "src": "plots/one.js"}
    give_sizes([{"plots": {"uv": [plot, gone]}, "drawn": chart}, {"viewers": [script]}],
               picture.parents[1])  # fmt: skip
    assert (plot["width"], plot["height"]) == (3, 2)
    assert "width" not in gone
    assert "width" not in script
