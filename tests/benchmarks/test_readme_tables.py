from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location(
    "readme_tables", ROOT / "benchmarks" / "readme_tables.py"
)
assert SPEC is not None
assert SPEC.loader is not None
readme_tables = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(readme_tables)


def record(case, ratio, *, threads=2, seed=0):
    times = {"q1": 0.9e-3, "median": 1e-3, "q3": 1.1e-3, "repeats": 20}
    return {
        "case": case,
        "seed": seed,
        "threads": threads,
        "facts": {"width": 64},
        "ours": "graphlab",
        "agreement": "checked",
        "contenders": {
            "graphlab": {**times, "versions": {}, "notes": {}},
            "scipy": {**times, "median": ratio * 1e-3, "versions": {"scipy": "1.15"}},
        },
        "ratio": ratio,
        "best_peer": "scipy",
        "bound": {"share": 0.5},
        "machine": {
            "commit": "0123abc",
            "cpu": "a cpu",
            "torch": "2.13",
            "dirty": True,
        },
    }


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    text = f"# Title\n\n{readme_tables.BEGIN}\n{readme_tables.END}\n\nThe end.\n"
    (tmp_path / "README.md").write_text(text)
    return tmp_path


def put(checkout, name, records):
    content = {"schema": 1, "name": name, "records": records}
    path = checkout / "benchmarks" / "results" / f"{name}.json"
    path.write_text(json.dumps(content))


def test_readme_and_tables_match_the_records():
    assert readme_tables.main(["--check"]) == 0, (
        "run python -m benchmarks.readme_tables"
    )


def test_without_records_it_says_so(checkout):
    assert readme_tables.main(["--root", str(checkout)]) == 0
    text = (checkout / "README.md").read_text()
    assert "No records yet" in text
    assert text.startswith("# Title")
    assert text.endswith("The end.\n")


def test_the_worst_case_stays_in_the_table(checkout):
    cases = [record("slow", 0.8), record("fast", 3.0), record("other", 2.0)]
    put(checkout, "spmm", [*cases, record("one thread", 1.5, threads=1)])
    root = ["--root", str(checkout)]
    assert readme_tables.main([*root, "--check"]) == 1
    assert readme_tables.main(root) == 0
    assert readme_tables.main([*root, "--check"]) == 0
    text = (checkout / "README.md").read_text()
    assert "| spmm | scipy | 2 | 3 | 0.80 | 2.00 | 3.00 | slow |" in text
    assert "| spmm | scipy | 1 | 1 | 1.50 | 1.50 | 1.50 | one thread |" in text
    tables = (checkout / "benchmarks" / "results" / "TABLES.md").read_text()
    assert (
        "| slow (width 64) | graphlab | 2 | 1 ms | 900 us .. 1.1 ms | 0.80 | 50 % |"
        in tables
    )
    assert "scipy (scipy 1.15) | 2 | 800 us" in tables
    assert (
        "commit 0123abc, cpu a cpu, torch 2.13, native ?, with uncommitted changes"
        in tables
    )


def test_a_second_run_changes_nothing(checkout):
    put(checkout, "spmm", [record("a", 1.0, seed=3)])
    root = ["--root", str(checkout)]
    readme_tables.main(root)
    first = (checkout / "README.md").read_text()
    readme_tables.main(root)
    assert (checkout / "README.md").read_text() == first


def test_other_layouts_and_missing_markers_are_named(checkout):
    path = checkout / "benchmarks" / "results" / "odd.json"
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"odd.json: expected the harness's layout"):
        readme_tables.main(["--root", str(checkout)])
    path.unlink()
    (checkout / "README.md").write_text("no markers")
    with pytest.raises(ValueError, match="once each"):
        readme_tables.main(["--root", str(checkout)])


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.0, "2 s"), (0.0015, "1.5 ms"), (2e-6, "2 us"), (3e-9, "3 ns")],
)
def test_seconds(value, text):
    assert readme_tables.seconds(value) == text


def test_scores_stand_in_percent_beside_what_needs_no_graph(checkout):
    score = {"mean": 0.8275, "std": 0.0081, "values": []}
    put(
        checkout,
        "node_baselines",
        [
            {
                "case": "cora_gcn",
                "goal": 0.81,
                "metric": "accuracy",
                "seeds": list(range(10)),
                "test": score,
                "valid": score,
                "stamp": {"split": "public"},
                "baselines": {
                    "majority": {"mean": 0.13, "std": 0.0},
                    "mlp": {"mean": 0.59, "std": None},
                },
                "machine": {"commit": "0123abc"},
            }
        ],
    )
    records = readme_tables.load(checkout / "benchmarks" / "results")
    line = (
        "| cora_gcn | public | accuracy | 10 | 82.75 ± 0.81 | 82.75 ± 0.81 | 81.0 "
        "| majority 13.00 ± 0.00, mlp 59.00 |"
    )
    assert line in readme_tables.full(records)
    short = "| cora_gcn | public | accuracy | 10 | 82.75 ± 0.81 | 81.0 | mlp 59.00 |"
    assert short in readme_tables.summary(records)
    records["node_baselines"][0]["goal"] = None
    assert "cora_gcn" not in readme_tables.summary(records)
    assert "cora_gcn" in readme_tables.full(records)


def test_kinds_of_negatives_have_a_table_each(checkout):
    def record(case, seeds, mean):
        score = {"mean": mean, "std": 0.01 if seeds > 1 else None, "values": []}
        return {
            "case": case,
            "metric": "mrr",
            "seeds": list(range(seeds)),
            "test": score,
            "baselines": {"katz": {"mean": mean / 2, "std": None}},
            "stamp": {"split": "ncn"},
        }

    entries = [
        record("cora/random/ncn", 1, 0.5),
        record("cora/random/gae", 2, 0.4),
        record("cora/hard/ncn", 1, 0.1),
        record("usps/hard/gae", 1, 0.2),
    ]
    put(checkout, "link_hard", entries)
    text = readme_tables.full(
        readme_tables.load(checkout / "benchmarks" / "results")
    ).splitlines()
    assert "| ncn | 50.00 (1) |" in text
    assert "| gae | 40.00 ± 1.00 (2) |" in text
    # Of the same pairs; those of more seeds count.
    assert "| katz | 20.00 (2) |" in text
    assert "| hard: mrr, % | cora | usps |" in text
    assert "| ncn | 10.00 (1) | - |" in text
    assert "| gae | - | 20.00 (1) |" in text


def test_what_no_peer_does_is_in_the_full_tables(checkout):
    alone = record("one store", 1.0)
    alone["ratio"] = None
    alone["contenders"] = {"graphlab": alone["contenders"]["graphlab"]}
    notes = {"peak_bytes": 3 * 2**20, "batches": 1200, "share": 0.25}
    alone["contenders"]["graphlab"]["notes"] = notes
    put(checkout, "convert", [alone])
    assert readme_tables.main(["--root", str(checkout)]) == 0
    told = "peak 3.0 MiB, batches 1,200, share 0.25"
    tables = (checkout / "benchmarks" / "results" / "TABLES.md").read_text()
    assert f"- one store: {told}" in tables
