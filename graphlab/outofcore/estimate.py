"""How large batches are, before they are sampled, and what memory they take then."""

from __future__ import annotations

from graphlab import sizes
from graphlab.errors import BudgetError
from graphlab.outofcore import job as jobs
from graphlab.outofcore import trace
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.job import Job
from graphlab.outofcore.sizing import Largest, Sizing, share_out
from graphlab.progress import say

# A probe of a few batches may miss the largest one by this much.
PROBE_MARGIN = 1.25


def fit_direct(job: Job) -> tuple[Sizing, Largest]:
    """:func:`size_direct`; exact evaluation takes smaller batches where they must be.

    With full neighbourhoods and without shuffling, what is computed for a seed does not
    depend on the seeds beside it, so ``batch_size`` is halved until batches fit.
    """
    asked = job.request.batch_size
    while True:
        try:
            sizing, largest = size_direct(job, everything=False)
        except BudgetError:
            if not _exact(job) or job.request.batch_size == 1:
                raise
            smaller = job.request.batch_size // 2
            job.request = job.request._replace(batch_size=smaller)
        else:
            break
    if job.request.batch_size != asked:
        say(
            f"plan: batches of {job.request.batch_size} seeds instead of {asked}, to stay "
            f"within {sizes.show(job.limit)}"
        )
    return sizing, largest


def _exact(job: Job) -> bool:
    """Whether every batch takes all neighbours, in a fixed order."""
    whole = max(job.sampler.num_neighbors) == -1 and not job.request.shuffle
    return whole and job.request.links is None


def size_direct(job: Job, *, everything: bool) -> tuple[Sizing, Largest]:
    """Memory of modes that sample while training, from a few sampled batches."""
    placement = jobs.place(job, everything=everything)
    columns = placement.rows(job)
    num_nodes = job.dataset.num_nodes
    topology = job.topology_bytes if everything else counted_topology(job)
    tables = 32 * len(job.request.input_nodes) + trace.scratch_bytes(num_nodes, 1)
    tables += job.sampler.nbytes + (4 * num_nodes if columns else 0)
    # What does not fit whatever the batches are is refused before any is sampled.
    Ledger(job.limit, "plan").take(
        "columns and topology", placement.resident_bytes + topology + tables
    )
    largest = _largest(job)
    fields = jobs.fields(job, placement, loaded=False)

    def share(topology: int) -> Sizing:
        return share_out(
            job.limit,
            fields,
            largest,
            owner="plan",
            prefetch=job.prefetch,
            row_bytes=max(
                (r.row_bytes for r in columns if r.kind == "dense"), default=0
            ),
            record=sampled_bytes(largest),
            sparse=0,
            tables=tables,
            resident=placement.resident_bytes,
            topology=topology,
            use_ring=bool(columns),
        )

    try:
        return share(topology), largest
    except BudgetError:
        if everything or not topology:
            raise
        return share(0), largest


def sampled_bytes(largest: Largest) -> int:
    """Bytes of a sampled batch before it is put together, and of finding its rows."""
    return 48 * largest.edges + 96 * largest.nodes


def _largest(job: Job) -> Largest:
    """A bound of the largest batch where there is one, else a probe with a margin."""
    seeds = min(job.request.batch_size, len(job.request.input_nodes))
    num_nodes, num_edges = job.dataset.num_nodes, job.dataset.num_edges
    if _exact(job):
        # The batches of every epoch are these.
        nodes, edges = jobs.probe(job, len(job.request.batches(0)))
        return Largest(nodes, edges, seeds)
    nodes, edges = (int(PROBE_MARGIN * n) + 1 for n in jobs.probe(job))
    if not job.sampler.disjoint:
        nodes = min(nodes, num_nodes)
        edges = edges if job.sampler.replace else min(edges, num_edges)
    if job.sampler.method == "uniform" and min(job.sampler.num_neighbors) >= 0:
        frontier = bound = job.request.most_seeds
        drawn = 0
        for count in job.sampler.num_neighbors:
            frontier *= count
            drawn += frontier
            bound += frontier
        nodes, edges = min(nodes, bound), min(edges, drawn)
    return Largest(nodes, edges, seeds)


def counted_topology(job: Job) -> int:
    """Bytes of the mapped graph that are counted: all, or none where it is too large."""
    return job.counted_topology
