from __future__ import annotations

import pytest
import torch

from graphlab import nag
from graphlab.nag import Guidance, spaces
from graphlab.nag.diffusionnag import DiffusionNAG
from graphlab.nag.guidance import Particles, strength

TINY = spaces.from_json(
    {
        "name": "tiny",
        "nodes": [{"name": n, "ops": ["x", "y", "z"]} for n in "abcde"],
        "edges": [["a", "c"], ["b", "c"], ["c", "d"], ["c", "e"]],
    }
)


def count_z(one_hot):
    return one_hot[:, :, 2].sum(1) + one_hot[:, 0, 2] * one_hot[:, 4, 0]


def small(space, method="masked", steps=60, **settings):
    if method != "diffusionnag":
        settings = {"hidden": 16, "blocks": 1, **settings}
    model = nag.Denoiser(space, method, **settings)
    return model.fit(space.sample(200, seed=0), steps=steps, batch=64)


@pytest.fixture(scope="module")
def masked():
    return small(TINY)


@pytest.mark.parametrize("name", spaces.names())
@pytest.mark.parametrize("method", ["masked", "edm"])
def test_every_sample_of_every_space_is_valid(name, method):
    space = spaces.open(name)
    made = nag.generate(small(space, method, steps=3), 64, seed=2)
    assert made.quality.validity == 1.0
    assert len(made.architectures) == 64
    assert bool(space.is_valid(space.encode(made.architectures)).all())


@pytest.mark.parametrize("method", ["masked", "edm"])
def test_a_denoiser_learns_what_its_architectures_share(method):
    nodes = [{"name": n, "ops": ["x", "y", "z"]} for n in "ab"]
    space = spaces.from_json({"nodes": nodes})  # no edge: siblings see each other
    x = space.sample(300, seed=0)
    x[:, 1] = x[:, 0]
    model = nag.Denoiser(space, method, hidden=32, blocks=1)
    model.fit(x, steps=250, batch=64, lr=5e-3)
    made = model.sample(200, seed=1)
    assert float((made[:, 0] == made[:, 1]).float().mean()) > 0.8


def test_guidance_is_as_strong_as_different_samples_allow(masked):
    objective = nag.Objective(TINY, count_z)
    greedy = Guidance(objective, scale=0.95, method="gradient")
    found = [
        nag.generate(masked, 100, guidance=greedy, seed=3, min_unique=least)
        for least in (None, 0.3, 0.6)
    ]
    assert found[0].scale == 0.95
    assert found[0].scale > found[1].scale > found[2].scale > 0
    assert found[0].quality.uniqueness < 0.3
    assert found[1].quality.uniqueness >= 0.3
    assert found[2].quality.uniqueness >= 0.6
    means = [float(count_z(TINY.one_hot(f.x)).mean()) for f in found]
    assert means[0] > means[1] > means[2]
    again = nag.generate(masked, 100, guidance=greedy.at(found[2].scale), seed=3)
    assert again.x.equal(found[2].x)
    assert greedy.scale == 0.95


@pytest.mark.parametrize(
    ("least", "guidance", "message"),
    [
        (0.5, None, "and None without guidance, got 0.5"),
        (1.5, Guidance(nag.Objective(TINY, count_z)), r"must be in \[0, 1\]"),
        (1.0, Guidance(nag.Objective(TINY, count_z)), "of samples of scale 0"),
    ],
)
def test_unique_shares_that_cannot_be(masked, least, guidance, message):
    with pytest.raises(ValueError, match=message):
        nag.generate(masked, 200, guidance=guidance, min_unique=least)


@pytest.mark.parametrize("method", ["gradient", "resample", "both"])
def test_guidance_raises_the_objective_with_its_scale(masked, method):
    objective = nag.Objective(TINY, count_z)
    means = []
    for scale in (0.0, 0.2, 0.6):
        guide = Guidance(objective, scale=scale, method=method)
        x = masked.sample(300, guidance=guide, seed=4)
        assert bool(TINY.is_valid(x).all())
        means.append(float(objective.values(x).mean()))
    assert means[0] < means[1] < means[2]


@pytest.mark.parametrize("solver", ["dpm", "heun"])
def test_edm_follows_guidance(solver):
    model = small(TINY, "edm", solver=solver)
    objective = nag.Objective(TINY, count_z)
    plain = objective.values(model.sample(200, seed=0)).mean()
    for method in ("gradient", "resample"):
        guide = Guidance(objective, scale=0.5, method=method)
        assert objective.values(model.sample(200, guidance=guide)).mean() > plain + 0.5


def test_resampling_meets_the_boltzmann_distribution(masked):
    # p(x) exp(beta z): compared with the exact mean over all 243 architectures, weighted by
    # nothing else since the model was trained on uniform ones. 2000 samples: standard error
    # under 0.03, tolerance ten times that (model error included).
    objective = nag.Objective(TINY, count_z)
    guide = Guidance(objective, scale=0.2, method="resample", moves=20)
    z = objective.values(TINY.enumerate())
    weight = (strength(0.2) * z).softmax(0)
    expected = float((weight * z).sum())
    found = objective.values(masked.sample(2000, guidance=guide, steps=5, seed=1))
    assert float(found.mean()) == pytest.approx(expected, abs=0.3)


@pytest.mark.parametrize("method", ["masked", "edm"])
def test_tilted_particles_meet_the_same_distribution(method):
    # As above, of proposals that the gradient bends and no moves behind them. Over five seeds
    # means of 2000 samples spread by 0.02 (masked) and 0.06 (edm); weights that left out the
    # bending would give 2.5 here.
    objective = nag.Objective(TINY, count_z)
    z = objective.values(TINY.enumerate())
    expected = float(((strength(0.35) * z).softmax(0) * z).sum())
    guide = Guidance(objective, scale=0.35, method="both", moves=0)
    x = small(TINY, method).sample(2000, guidance=guide, seed=1)
    found = float(objective.values(x).mean())
    assert found == pytest.approx(expected, abs=0.2)
    assert expected == pytest.approx(1.99, abs=0.01)


@pytest.mark.parametrize("kind", ["resample", "both"])
@pytest.mark.parametrize("method", ["masked", "edm"])
def test_strong_guidance_under_a_limit_and_with_a_wiring(method, kind):
    # Weights of the limit's steep gradient; samples of a wiring node and what it allows.
    space = spaces.NASBenchGraph()
    gat = space.labels.index("gat")
    score = lambda h: h[:, 1:, gat].sum(1)  # noqa: E731
    objective = nag.Objective(
        space,
        score,
        measured={"first": lambda h: h[:, 0, 0]},
        limits={"first": 0.0},
    )
    guide = Guidance(objective, scale=0.9, method=kind)
    x = small(space, method).sample(200, guidance=guide, seed=0)
    assert bool(space.is_valid(x).all())
    assert float(score(space.one_hot(x)).mean()) > 2.5
    assert float((x[:, 0] == 0).float().mean()) < 0.02


def test_one_wiring_is_no_choice():
    allowed = torch.ones(3, 4, dtype=torch.bool)
    allowed[0] = torch.tensor([True, False, False, False])
    allowed[1:, 0] = False
    space = nag.SearchSpace("one", list("wabc"), allowed, wiring=0)
    x = small(space).sample(40, seed=0)
    assert bool(space.is_valid(x).all())
    assert x[:, 1:].unique().tolist() == [1, 2, 3]


def test_particles_left_behind_weigh_the_same():
    # Weak guidance of uniform draws: without the last resampling their mean would stay at
    # the unguided one. 4000 of 243: standard error 0.02, tolerance five times that.
    objective = nag.Objective(TINY, count_z)
    guide = Guidance(objective, scale=0.05, method="resample")
    z = objective.values(TINY.enumerate())
    expected = float(((strength(0.05) * z).softmax(0) * z).sum())
    x = TINY.sample(4000, seed=0)
    draw = torch.Generator().manual_seed(0)
    chosen = Particles(guide, len(x), draw).step(x, share=1.0)
    assert float(objective.values(x[chosen]).mean()) == pytest.approx(expected, abs=0.1)
    assert expected > 0.15


def test_copies_of_an_edm_particle_part_again():
    # 1000 exact draws of p(x) exp(beta z) would hold 199 of the 243 architectures; copies that
    # stayed together would leave far fewer.
    model = small(TINY, "edm")
    objective = nag.Objective(TINY, count_z)
    z = objective.values(TINY.enumerate())
    share = (strength(0.2) * z).softmax(0)
    guide = Guidance(objective, scale=0.2, method="resample")
    x = model.sample(1000, guidance=guide, seed=1)
    mean = float(objective.values(x).mean())
    assert mean == pytest.approx(float((share * z).sum()), abs=0.3)
    different = float((1 - (1 - share) ** 1000).sum())
    assert len(x.unique(dim=0)) > 0.8 * different


def test_a_scale_of_one_half_is_the_conditional_model():
    torch.manual_seed(0)
    with_it, without = torch.randn(2, 4, 5, 3)
    with_it[:, 0, 0] = without[:, 0, 0] = -torch.inf
    for scale, expected in ((0.0, without), (0.5, with_it)):
        made = Guidance(method="free", scale=scale).amplify(with_it, without)
        torch.testing.assert_close(made, expected)


def test_the_reference_sampler_finds_a_gaussian_from_its_exact_score():
    # Data N(m, 0.3^2) an entry: the score of X_t is (m - x) / (0.3^2 + sigma^2). What comes
    # out is then N(m, 0.3^2), sigma_min aside; 40,000 entries: standard errors under 0.003.
    backend = DiffusionNAG(spaces.NB201())
    middle = torch.linspace(-1, 1, 7)
    del backend.network
    backend.network = lambda x, sigma, mask: (
        (middle - x) / (0.09 + sigma[:, None, None] ** 2)
    )
    backend.layout.decode = lambda rows: 2 * rows - 1
    draw = torch.Generator().manual_seed(0)
    out = backend.sample(720, None, 500, draw)
    assert (out.mean((0, 1)) - middle).abs().max() < 0.03
    assert float((out - middle).std()) == pytest.approx(0.3, abs=0.03)


def test_noise_free_guidance_of_the_reference_goes_through_its_network():
    backend = DiffusionNAG(TINY)
    del backend.network
    backend.network = lambda x, sigma, mask: -3.0 * x
    objective = nag.Objective(TINY, count_z)
    guide = Guidance(objective, scale=0.5, method="gradient")
    x = 0.1 * torch.randn(2, 5, 3)
    sigma = torch.tensor(0.5)
    inner = (1 - 3 * 0.25) * x  # x + sigma^2 * score, whose derivative is 1/4
    clean = ((inner + 1) / 2).requires_grad_()
    (gradient,) = torch.autograd.grad(objective(clean).sum(), clean)
    expected = -3.0 * x + guide.beta * gradient / 2 / 4
    torch.testing.assert_close(backend._score(x, sigma, guide), expected)


@pytest.mark.parametrize("method", ["noisy", "gradient"])
def test_the_reference_is_guided_where_rows_are_not_nodes(method):
    space = spaces.MobileNetV3()
    model = nag.Denoiser(space, "diffusionnag")
    x = space.sample(20, seed=0)
    layout = model.backend.layout
    assert layout.relaxed(layout.encode(x)).equal(space.one_hot(x))
    noisy = None
    if method == "noisy":
        noisy = nag.NoiseAwarePredictor(model, hidden=16, blocks=1)
        noisy.fit(x, x[:, 0].float(), steps=1)
    objective = nag.Objective(space, lambda h: h[:, :5, 11].sum(1))
    guide = Guidance(objective, scale=0.5, method=method, noisy=noisy)
    assert bool(space.is_valid(model.sample(4, guidance=guide, steps=2)).all())


def test_settings_that_a_method_would_ignore_are_refused():
    with pytest.raises(ValueError, match="network is the release's, got hidden=16"):
        nag.Denoiser(TINY, "diffusionnag", hidden=16)
    with pytest.raises(ValueError, match="`solver` must be one of"):
        nag.Denoiser(TINY, solver="euler")


def test_costs_and_limits_enter_the_objective(masked):
    space = spaces.NB201()
    plain = nag.Objective(space, lambda h: h[:, 1:7, 5].sum(1))
    cheap = nag.Objective(space, lambda h: h[:, 1:7, 5].sum(1), limits={"params": 0.4})
    model = small(space)
    sizes = []
    for objective in (plain, cheap):
        guide = Guidance(objective, scale=0.6, method="both")
        x = model.sample(200, guidance=guide, seed=0)
        sizes.append(float(space.costs(space.one_hot(x))["params"].mean()))
    assert sizes[1] < 0.5 < sizes[0]
    with pytest.raises(
        ValueError, match="`costs` must name costs of nb201: params, flops"
    ):
        nag.Objective(space, count_z, costs={"latency": 1.0})


def test_classifier_free_guidance_finds_the_top_quantile():
    x = TINY.sample(400, seed=0)
    score = count_z(TINY.one_hot(x))
    quantile = score.argsort().argsort() / len(x)
    model = nag.Denoiser(TINY, hidden=32, blocks=1)
    model.fit(x, quantiles=quantile, steps=150, batch=64)
    guide = Guidance(method="free", scale=0.5)
    got = count_z(TINY.one_hot(model.sample(200, guidance=guide))).mean()
    assert got > count_z(TINY.one_hot(model.sample(200))).mean() + 1.0
    with pytest.raises(ValueError, match="must be conditional for method='free'"):
        small(TINY, steps=1).sample(2, guidance=guide)


@pytest.mark.parametrize("method", ["masked", "edm", "diffusionnag"])
def test_noise_aware_predictor_guides(method):
    steps = 3 if method == "diffusionnag" else 60
    model = small(TINY, method, steps=steps)
    x = TINY.sample(200, seed=1)
    noisy = nag.NoiseAwarePredictor(model, hidden=16, blocks=1)
    noisy.fit(x, count_z(TINY.one_hot(x)), steps=80, batch=64)
    guide = Guidance(method="noisy", noisy=noisy, scale=0.7)
    steps = 5
    got = model.sample(40, guidance=guide, steps=steps, seed=0)
    plain = model.sample(40, steps=steps, seed=0)
    gain = count_z(TINY.one_hot(got)).mean() - count_z(TINY.one_hot(plain)).mean()
    assert gain > 0.3


@pytest.mark.parametrize("name", ["nb201", "mobilenetv3"])
def test_the_reference_keeps_its_mask_defect_and_its_threshold(name):
    space = spaces.open(name)
    torch.manual_seed(0)
    release = DiffusionNAG(space, compat="reference")
    ours = DiffusionNAG(space)
    raw = release.layout.adjacency
    assert release.mask(guided=False, training=True).equal(raw)
    if name == "nb201":
        assert int(raw.sum()) == 10
        assert int(release.mask(guided=True).sum()) == 18
        assert ours.mask(guided=False, training=True).equal(spaces.NB201().attention)
    parameters = sum(p.numel() for p in release.network.parameters())
    assert 3.9e6 < parameters < 4.1e6
    x = space.sample(40, seed=0)
    rows = release.layout.encode(x)
    assert release.layout.threshold(rows).equal(x)
    assert release.layout.decode(rows).equal(x)
    broken = rows.clone()
    broken[:, 1] = 1.0  # two operations at once
    assert not space.is_valid(release.layout.threshold(broken)).any()
    assert space.is_valid(release.layout.decode(broken)).all()


def test_the_reference_draws_whole_architectures_and_refuses_what_it_cannot():
    model = nag.Denoiser(TINY, "diffusionnag", compat="reference")
    x = model.sample(4, steps=2, seed=0)
    assert x.shape == (4, 5)
    objective = nag.Objective(TINY, count_z)
    with pytest.raises(ValueError, match="must be 'noisy' or 'gradient'"):
        model.sample(4, guidance=Guidance(objective), steps=2)


def test_the_rounds_of_the_release_end_when_enough_are_found():
    space = spaces.NB201()
    model = nag.Denoiser(space, "diffusionnag")
    weights = []

    def noisy(x, level):
        return x.flatten(1).sum(1)

    sample = model.sample

    def listening(count, *, guidance, **settings):
        weights.append(guidance.beta)
        return sample(count, guidance=guidance, **settings)

    model.sample = listening
    found = nag.release_rounds(model, noisy, batch=6, steps=1)
    assert len(found) >= 10
    assert bool(space.is_valid(found).all())
    assert weights[:2] == [100.0, 97.0]
    with pytest.raises(ValueError, match="must be of method='diffusionnag'"):
        nag.release_rounds(small(TINY, steps=1), noisy)


def test_ve_noise_has_the_moments_it_should():
    backend = DiffusionNAG(spaces.NB201())
    x = spaces.NB201().sample(4000, seed=0)
    noisy, sigma = backend.corrupt(x, torch.Generator().manual_seed(0))
    clean = 2 * spaces.NB201().one_hot(x) - 1
    unit = (noisy - clean) / sigma[:, None, None]
    # 224,000 normal draws: standard errors 0.002 and 0.0015.
    assert float(unit.mean()) == pytest.approx(0.0, abs=0.012)
    assert float(unit.std()) == pytest.approx(1.0, abs=0.01)
    assert 0.1 <= float(sigma.min()) < float(sigma.max()) <= 5.0


def test_saved_denoisers_sample_the_same(masked, tmp_path):
    path = masked.save(tmp_path / "d.safetensors")
    again = nag.Denoiser.load(path, TINY)
    assert again.sample(20, seed=3).equal(masked.sample(20, seed=3))
    assert again.known == masked.known
    with pytest.raises(ValueError, match=r"must be that of .*: tiny, got nb201"):
        nag.Denoiser.load(path, spaces.NB201())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(OSError, match="expected a saved denoiser"):
        nag.Denoiser.load(path, TINY)


def test_quality_counts_duplicates_and_known_ones(masked):
    x = TINY.sample(10, seed=0)
    found = nag.measure(TINY, torch.cat([x, x]), set(TINY.decode(x[:5])))
    different = len(set(TINY.decode(x)))
    assert found.uniqueness == different / 20
    assert found.novelty < 1.0
    bad = x.clone()
    bad[:, 0] = -1
    assert nag.measure(TINY, bad).validity == 0.0
    made = nag.generate(masked, 30, known=())
    assert made.quality.novelty == 1.0
    assert set(made.to_json()) >= {
        "validity",
        "uniqueness",
        "novelty",
        "seconds",
        "architectures",
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "gan"}, "`method` must be one of 'masked', 'edm', 'diffusionnag'"),
        ({"compat": "reference"}, "must be None unless method='diffusionnag'"),
        ({"hidden": 30}, "must be a multiple of heads = 4"),
        ({"solver": "euler", "method": "edm"}, "`solver` must be one of 'dpm', 'heun'"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        nag.Denoiser(TINY, **settings)


def test_wrong_guidance_is_refused():
    with pytest.raises(ValueError, match="`objective` must be given"):
        Guidance(method="both")
    with pytest.raises(ValueError, match="`noisy` must be given"):
        Guidance(method="noisy")
    black = nag.Objective(TINY, count_z, differentiable=False)
    with pytest.raises(ValueError, match="use method='resample'"):
        Guidance(black, method="gradient")
    with pytest.raises(
        ValueError, match="`x` must hold architectures of tiny, got row 0"
    ):
        nag.Denoiser(TINY).fit(torch.full((2, 5), 7))
