"""Batches of a plan are the in-memory loader's, bit for bit."""

from __future__ import annotations

import shutil

import pytest
import torch

from graphlab.errors import BudgetError, StoreError
from graphlab.outofcore import Store, plan
from graphlab.outofcore.plan import Plan
from graphlab.sample import NeighborLoader


def same(a, b) -> bool:
    """Whether two batches agree in every field, value and dtype."""
    if a.keys() != b.keys():
        return False
    for key in b.keys():
        x, y = a[key], b[key]
        if isinstance(y, torch.Tensor):
            if x.dtype != y.dtype or not torch.equal(x, y):
                return False
        elif x != y:
            return False
    return True


def assert_epochs_equal(loader, reference, epochs: int) -> None:
    for _ in range(epochs):
        pairs = zip(loader, reference, strict=True)
        assert all([same(a, b) for a, b in pairs])


SHAPES = {
    "100 floats": {"width": 100},
    "768 halfs": {"width": 768, "dtype": torch.float16},
    "1433 floats": {"width": 1433, "num_nodes": 300, "num_edges": 2000},
    "33660 bytes": {"width": 8415, "num_nodes": 120, "num_edges": 500},
    "3 bytes": {"width": 3, "dtype": torch.uint8, "num_nodes": 1001},
    "5 doubles": {"width": 5, "dtype": torch.float64, "num_nodes": 997},
    "sparse": {"width": 500, "sparse": True},
}
MEMORY = {"33660 bytes": "9MiB", "1433 floats": "4MiB"}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("mode", ["replay", "direct", "memory"])
def test_batches_equal_in_memory_loader(make_store, tmp_path, shape, mode, request):
    dataset, store = make_store(**shape)
    name = request.node.callspec.id.split("-")[-1]
    memory = "64MiB" if mode == "memory" else MEMORY.get(name, "3MiB")
    made = plan(
        store,
        [4, 3],
        "train",
        16,
        epochs=2,
        seed=7,
        memory=memory,
        mode=mode,
        columns=["x", "y", "train_mask"],
        path=tmp_path / "plan",
    )
    assert made.mode == mode
    loader = made.loader()
    reference = NeighborLoader(
        dataset, [4, 3], 16, "train", seed=7, columns=["x", "y", "train_mask"]
    )
    assert_epochs_equal(loader, reference, 2)
    stats = loader.stats()
    assert stats["peak_memory_bytes"] <= stats["declared_memory_bytes"] == made.memory
    loader.close()


@pytest.mark.parametrize(
    "sampling",
    [
        {"replace": True},
        {"disjoint": True},
        {"method": "labor"},
        {"shuffle": False, "drop_last": True},
    ],
    ids=lambda s: next(iter(s)),
)
def test_every_kind_of_sampling(make_store, tmp_path, sampling):
    dataset, store = make_store()
    made = plan(
        store, [3, 2], None, 50, memory="3MiB", mode="replay", path=tmp_path, **sampling
    )
    reference = NeighborLoader(dataset, [3, 2], 50, None, **sampling)
    assert_epochs_equal(made.loader(), reference, 1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
@pytest.mark.parametrize("mode", ["replay", "direct"])
def test_stored_dtypes_decode_as_the_store_does(make_store, tmp_path, dtype, mode):
    _, store = make_store(dtype, width=300)
    made = plan(
        store, [4, 3], None, 20, memory="1100KiB", mode=mode, path=tmp_path / "p"
    )
    reference = NeighborLoader(store.dataset(), [4, 3], 20)
    loader = made.loader()
    assert_epochs_equal(loader, reference, 1)
    assert loader.stats()["misses"] > 0


@pytest.mark.parametrize("memory", ["1600KiB", "64MiB"])
def test_all_miss_and_zero_miss(make_store, tmp_path, memory):
    # 12 KB rows: the small budget holds few, the large one all of them.
    dataset, store = make_store(width=3000, num_nodes=300, num_edges=500)
    made = plan(store, [1], None, 10, memory=memory, mode="replay", path=tmp_path / "p")
    loader = made.loader()
    assert_epochs_equal(loader, NeighborLoader(dataset, [1], 10), 1)
    misses = loader.stats()["misses"]
    assert (misses == 0) == (memory == "64MiB")
    assert made.totals["misses"] == misses


def test_training_losses_are_bit_equal(make_store, tmp_path):
    dataset, store = make_store()
    made = plan(store, [5, 3], "train", 64, memory="2MiB", mode="replay", path=tmp_path)

    def losses(loader) -> list[float]:
        torch.manual_seed(0)
        weight = torch.nn.Linear(200, 5)
        optimiser = torch.optim.Adam(weight.parameters(), 0.01)
        found = []
        for batch in loader:
            source, target = batch.edge_index
            mean = torch.zeros_like(batch.x).index_add_(0, target, batch.x[source])
            out = weight(torch.cat([batch.x, mean], 1))[: batch.batch_size]
            loss = torch.nn.functional.cross_entropy(out, batch.y[: batch.batch_size])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            found.append(float(loss.detach()))
        return found

    assert losses(made.loader()) == losses(NeighborLoader(dataset, [5, 3], 64, "train"))


def test_later_epochs_replay_in_a_new_order(make_store, tmp_path):
    _, store = make_store()
    made = plan(
        store,
        [3],
        None,
        32,
        epochs=2,
        memory="2MiB",
        mode="replay",
        policy="static",
        path=tmp_path,
    )
    loader = made.loader()
    epochs = [[tuple(b.input_id.tolist()) for b in loader] for _ in range(6)]
    assert epochs[0] != epochs[1]
    for later in (2, 4):
        assert sorted(epochs[later]) == sorted(epochs[0])
        assert sorted(epochs[later + 1]) == sorted(epochs[1])
    assert epochs[2] != epochs[0]
    assert epochs[2] != epochs[4]
    loader.set_epoch(2)
    assert [tuple(b.input_id.tolist()) for b in loader] == epochs[2]


@pytest.mark.parametrize("stop", [0, 1, 7, -1])
def test_resume_in_the_middle_of_an_epoch(make_store, tmp_path, stop):
    _, store = make_store()
    made = plan(store, [3], None, 64, memory="2MiB", mode="replay", path=tmp_path)
    whole = [b.n_id.clone() for _ in range(2) for b in made.loader(epoch=0)]
    loader = made.loader()
    stop = stop % len(loader)
    first = [b.n_id for _, b in zip(range(stop), loader, strict=False)]
    state = loader.state_dict()
    other = made.loader()
    other.load_state_dict(state)
    rest = [b.n_id for b in other]
    both = [*first, *rest]
    assert len(both) == len(loader)
    assert all(torch.equal(a, b) for a, b in zip(both, whole, strict=False))


def test_state_of_another_plan_is_refused(make_store, tmp_path):
    _, store = make_store()
    a, b = (
        plan(
            store,
            [3],
            None,
            size,
            memory="3MiB",
            mode="replay",
            path=tmp_path / str(size),
        )
        for size in (32, 64)
    )
    with pytest.raises(ValueError, match="come from a loader with batch_size = 64"):
        b.loader().load_state_dict(a.loader().state_dict())


def test_ranks_share_the_epoch(make_store, tmp_path):
    _, store = make_store()
    made = plan(store, [3], None, 64, memory="2MiB", mode="replay", path=tmp_path)
    whole = [b.n_id for b in made.loader()]
    parts = [made.loader(rank=r, world_size=3) for r in range(3)]
    lists = [[b.n_id for b in part] for part in parts]
    for number, expected in enumerate(whole):
        assert torch.equal(lists[number % 3][number // 3], expected)


def test_kept_batches_stay_as_they_are(make_store, tmp_path):
    dataset, store = make_store()
    made = plan(store, [3], None, 64, memory="2MiB", mode="replay", path=tmp_path)
    kept = list(made.loader())
    reference = list(NeighborLoader(dataset, [3], 64))
    assert all(same(a, b) for a, b in zip(kept, reference, strict=True))


def test_plan_is_reused_and_refused(make_store, tmp_path):
    dataset, store = make_store()
    path = tmp_path / "plan"

    def make(size: int = 64, **more) -> Plan:
        return plan(
            store, [3], None, size, memory="2MiB", mode="replay", path=path, **more
        )

    first = make()
    before = (path / "manifest.json").stat().st_mtime_ns
    again = make()
    assert (path / "manifest.json").stat().st_mtime_ns == before
    assert again.identity == first.identity
    with pytest.raises(ValueError, match=r"batch_size = 64.*got batch_size = 32"):
        make(32)
    assert make(32, overwrite=True).identity != first.identity
    shutil.rmtree(tmp_path / "store")
    dataset.x[0] += 1
    store = Store.convert(dataset, tmp_path / "store")
    with pytest.raises(StoreError, match="the store changed"):
        make(32)


def test_auto_prefers_memory_then_replay_then_direct(make_store, tmp_path):
    _, store = make_store(num_nodes=3000, width=300)

    def mode(memory: str, disk: str) -> str:
        path = tmp_path / f"{memory}-{disk}"
        return plan(store, [3], None, 64, memory=memory, disk=disk, path=path).mode

    assert mode("32MiB", "1GiB") == "memory"
    assert mode("3MiB", "1GiB") == "replay"
    assert mode("3MiB", "2MiB") == "direct"


def test_sparse_column_that_fits_needs_no_disk(make_store, tmp_path):
    dataset, store = make_store(width=5000, sparse=True, num_nodes=2000, num_edges=4000)
    made = plan(store, [2], None, 8, memory="14MiB", path=tmp_path / "p")
    assert made.mode == "memory"
    assert made.memory < 2000 * 5000 * 4
    assert_epochs_equal(made.loader(), NeighborLoader(dataset, [2], 8), 1)


@pytest.mark.parametrize("mode", ["direct", "replay"])
def test_exact_evaluation_in_bounded_memory(make_store, tmp_path, mode):
    dataset, store = make_store(num_nodes=1500, num_edges=4000, width=300)
    given = {"memory": "1600KiB", "mode": mode, "shuffle": False}

    def mean_of_neighbours(loader) -> torch.Tensor:
        found = torch.zeros(1500, 300)
        for batch in loader:
            source, target = batch.edge_index
            total = torch.zeros_like(batch.x).index_add_(0, target, batch.x[source])
            found[batch.n_id[: batch.batch_size]] = total[: batch.batch_size]
        return found

    if mode == "replay":
        with pytest.raises(BudgetError, match="smaller batch_size"):
            plan(store, [-1, -1], None, 512, path=tmp_path / "a", **given)
        size = 16
    else:
        size = 512
    made = plan(store, [-1, -1], None, size, path=tmp_path / "p", **given)
    again = plan(store, [-1, -1], None, size, path=tmp_path / "p", **given)
    assert again.batches_per_epoch == made.batches_per_epoch
    assert made.batches_per_epoch > 3
    assert len(again.loader()) > 3
    loader = made.loader()
    expected = NeighborLoader(dataset, [-1, -1], 300, None, shuffle=False)
    torch.testing.assert_close(mean_of_neighbours(loader), mean_of_neighbours(expected))
    stats = loader.stats()
    assert stats["peak_memory_bytes"] <= stats["declared_memory_bytes"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"memory": "100KiB"}, BudgetError, r"`memory` must be at least .* to hold"),
        ({"memory": "1MiB", "batch_size": 600}, BudgetError, "smaller batch_size"),
        ({"disk": "100KiB"}, BudgetError, "`disk` must be at least"),
        ({"policy": 3}, TypeError, "have static_share and keys"),
        ({"policy": "random"}, ValueError, "one of 'belady', 'static', 'lru'"),
        ({"world_size": 0}, ValueError, "`world_size` must be at least 1"),
        (
            {"mode": "fast"},
            ValueError,
            "one of 'auto', 'memory', 'direct', 'replay', 'hybrid'",
        ),
        ({"epochs": 0}, ValueError, "`epochs` must be at least 1"),
        ({"memory": "two"}, ValueError, "`memory` must be a size"),
        ({"input_nodes": [0, 2000]}, IndexError, r"be in \[0, 2000\)"),
        ({"input_nodes": [3, 3]}, ValueError, "hold each node once"),
        ({"columns": ["z"]}, ValueError, "`columns` must be one of"),
        ({"process_memory": "1MiB"}, BudgetError, "`process_memory` must be more than"),
    ],
)
def test_bad_arguments(make_store, tmp_path, arguments, error, message):
    _, store = make_store()
    given = {"mode": "replay", "memory": "1MiB", "batch_size": 32, **arguments}
    with pytest.raises(error, match=message):
        plan(store, [4, 3], path=tmp_path / "p", **given)


def test_needs_a_store(tmp_path):
    with pytest.raises(TypeError, match="be a Store or its folder"):
        plan(object(), [1], path=tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("sparse", [False, True])
def test_budget_that_the_message_names_holds(make_store, tmp_path, sparse):
    _, store = make_store(sparse=sparse)

    def make(memory: int | str) -> Plan:
        path = tmp_path / str(memory)
        return plan(store, [4, 3], None, 64, memory=memory, mode="replay", path=path)

    with pytest.raises(BudgetError, match="smaller batch_size") as caught:
        make("600KiB")
    need = int(str(caught.value).split("(")[1].split(" bytes")[0])
    made = make(need)
    assert len(list(made.loader())) == made.batches_per_epoch


def test_explain_tells_modes_and_parts(make_store, tmp_path):
    _, store = make_store()
    made = plan(store, [4, 3], None, 32, memory="1MiB", mode="replay", path=tmp_path)
    told = made.explain()
    assert [cost.mode for cost in told.modes] == [
        "memory",
        "direct",
        "replay",
        "rolling",
    ]
    assert sum(told.memory.values()) <= told.declared_bytes == made.memory
    assert "> replay" in str(told)
    assert "output buffers" in str(told)
    assert told.modes[2].read_bytes <= told.modes[1].read_bytes


def test_loader_after_close(make_store, tmp_path):
    _, store = make_store()
    loader = plan(store, [2], None, 64, memory="8MiB", path=tmp_path).loader()
    loader.close()
    with pytest.raises(ValueError, match="a closed loader"):
        iter(loader)
