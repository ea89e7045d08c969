from __future__ import annotations

import numpy as np
import pytest

from graphlab import nag
from graphlab.nag import spaces
from graphlab.report import architectures


def test_regret_bands_have_a_line_and_a_band_a_method(tmp_path):
    draw = np.random.default_rng(0)
    runs = {
        name: (5 / np.arange(1, 21) + draw.random((6, 20))).tolist() for name in "ab"
    }
    figure = architectures.regret(runs, title="toy")
    (axis,) = figure.axes
    assert [line.get_label() for line in axis.lines] == ["a", "b"]
    assert len(axis.collections) == 2
    assert np.allclose(axis.lines[0].get_ydata(), np.mean(runs["a"], axis=0))
    assert architectures.save(figure, tmp_path / "r.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="one sequence of equal length a seed"):
        architectures.regret({"a": []})


@pytest.mark.parametrize("name", spaces.names())
def test_cells_of_every_space_are_drawn(name, tmp_path):
    space = spaces.open(name)
    cells = [space.cell(row) for row in space.sample(4, seed=1)]
    figure = architectures.cells(cells, space.decode(space.sample(4, seed=1)))
    words = [t.get_text() for t in figure.axes[0].texts]
    assert sum(bool(word) for word in words) == len(cells[0].labels)
    assert sum(not word for word in words) == len(cells[0].edges)
    assert architectures.save(figure, tmp_path / "c.svg").exists()


def test_a_front_is_drawn_over_every_cost_of_the_archive():
    archive = nag.Archive({"params": [1.0, 2.0], "latency": [5.0]})
    found = [(0.5, 9.0, 0.6), (1.5, 8.0, 0.5), (2.5, 3.0, 0.9)]
    for place, (params, latency, score) in enumerate(found):
        archive.add(str(place), score, {"params": params, "latency": latency})
    figure = architectures.front(archive, {"latency": "latency (ms)"})
    assert [axis.get_xlabel() for axis in figure.axes] == ["params", "latency (ms)"]
    lines = [list(axis.lines[0].get_ydata()) for axis in figure.axes]
    assert lines == [[0.6, 0.9], [0.9]]
