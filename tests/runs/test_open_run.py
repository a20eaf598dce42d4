"""A finished run from Python: its config and result, its model, and what notebooks show of it."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

import mnist_mlp
from mnist_mlp.errors import UserError
from mnist_mlp.runs import notebook
from mnist_mlp.runs.saved import open_run


@pytest.mark.slow
def test_an_opened_run_has_its_config_result_and_model(trained, digits):
    run = mnist_mlp.open_run(trained, strategy="cpu")
    assert (run.config.preset, run.result.test["total"]) == ("smoke", 360)
    probabilities = run.predict(digits.test.images)
    assert probabilities.shape == (360, 10) and probabilities.dtype == np.float32
    assert (probabilities.argmax(1) == digits.test.labels).sum() == run.result.test["correct"]
    assert run.model.count_params() == run.result.parameters and run.model is run.model
    binary = digits.test.images > 127  # as grey levels, as 0 and 1, as ink, as booleans, flat, alone: the same
    expected = run.predict(binary * np.uint8(255))
    for images in (binary, binary.astype(int), binary.astype(np.float32), binary.reshape(-1, 784).tolist()):
        np.testing.assert_array_equal(run.predict(images), expected)
    np.testing.assert_allclose(run.predict(binary[0] * 1), expected[:1], rtol=1e-5)
    np.testing.assert_array_equal(run.predict(digits.test.images / 255), probabilities)
    with pytest.raises(UserError, match="images: image 0: expected grey levels 0–255 or ink 0–1, received an"):
        run.predict(digits.test.images // 17)
    assert str(trained) in run._repr_html_()


@pytest.mark.slow
def test_a_result_shows_itself_in_a_notebook(trained):
    result = open_run(trained).result
    page = result._repr_html_()
    tags = Tags(page)
    assert not {"script", "style", "link", "img"} & set(tags.seen)
    assert f"<b>{100 * result.test['accuracy']:.2f}%</b>" in page and "of 360 test images of digits" in page
    assert tags.seen.count("circle") == len(result.epochs) and tags.seen.count("tr") == 11
    cells = [int(cell) for cell in re.findall(r"<td[^>]*>(\d+)</td>", page)]
    assert cells == [count for row in result.test["confusion"] for count in row]


def test_curves_take_what_a_run_can_have():
    assert notebook.curves([]) == "" == notebook.curves([{"loss": None}])
    page = notebook.curves([{"loss": 1.0, "validation_loss": 2.0}, {"loss": 0.5, "validation_loss": None}])
    assert page.count("<polyline") == 2 and page.count("<circle") == 3
    assert "training loss: 0.5000" in page and "validation loss: not finite" in page
    assert 'points="8.0,60.0 312.0,86.0"' in page  # 2.0 is the top, 8 from the upper edge; 0 would be at 112


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"open_run\('.*nowhere'\): expected the directory of a finished run"):
        open_run(tmp_path / "nowhere")


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.seen = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
