from __future__ import annotations

import pytest
import torch

import graphlab as gl
from graphlab import embed
from graphlab.errors import StoreError


@pytest.mark.parametrize(
    "name", ["v.npy", "v.safetensors", "v.parquet", "v.txt", "v.bin"]
)
@pytest.mark.parametrize("named", [False, True])
def test_what_is_saved_is_loaded_to_the_bit(tmp_path, name, named):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    vectors = torch.randn(7, 5)
    names = [f"node-{i}ü" for i in range(7)] if named else None
    path = embed.save(tmp_path / name, vectors, names=names)
    found, found_names = embed.load(path)
    assert torch.equal(found, vectors)
    if name.endswith(("parquet", "txt", "bin")):
        assert found_names == names
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_gensim_reads_word2vec_files(tmp_path):
    gensim = pytest.importorskip("gensim.models")
    vectors = torch.randn(4, 3)
    for name, binary in (("v.txt", False), ("v.bin", True)):
        path = embed.save(tmp_path / name, vectors)
        read = gensim.KeyedVectors.load_word2vec_format(str(path), binary=binary)
        assert read["2"].tolist() == vectors[2].tolist()


def test_safetensors_keep_the_context(tmp_path):
    from safetensors.torch import load_file

    vectors, context = torch.randn(2, 3, 4).unbind()
    path = embed.save(tmp_path / "v.safetensors", vectors, context=context)
    assert torch.equal(load_file(path)["context"], context)


def test_errors(tmp_path):
    with pytest.raises(ValueError, match=r"`path` must end in one of .npy, .*v.xyz"):
        embed.save(tmp_path / "v.xyz", torch.ones(1, 1))
    with pytest.raises(ValueError, match="`names` must hold no white space"):
        embed.save(tmp_path / "v.txt", torch.ones(1, 1), names=["a b"])
    with pytest.raises(FileNotFoundError, match="there is no file"):
        embed.load(tmp_path / "none.npy")
    for name in ("v.npy", "v.txt", "v.bin"):
        (tmp_path / name).write_bytes(b"2 3\n1 2")
        with pytest.raises(StoreError, match="vectors as"):
            embed.load(tmp_path / name)


def test_knn_is_exact_and_leaves_out_what_it_is_told():
    generator = torch.Generator().manual_seed(0)
    vectors, context = torch.randn(2, 40, 6, generator=generator).unbind()
    ids = torch.tensor([3, 17])
    found = embed.knn(vectors, vectors, ids, 5)
    cosine = torch.nn.functional.cosine_similarity(vectors[3], vectors)
    cosine[3] = -2
    assert found.ids[0].tolist() == cosine.topk(5).indices.tolist()
    products = context @ vectors[17]
    products[17] = -torch.inf
    found = embed.knn(vectors, context, ids, 5, kind="complementary")
    best = products.topk(5)
    assert found.ids[1].tolist() == best.indices.tolist()
    torch.testing.assert_close(found.scores[1], best.values)
    g = gl.Graph(torch.stack([torch.full((3,), 17), best.indices[:3]]), 40)
    left = embed.knn(vectors, context, ids, 2, kind="complementary", exclude=g)
    assert left.ids[1].tolist() == best.indices[3:5].tolist()
    assert embed.knn(vectors, vectors, torch.empty(0).long(), 3).ids.shape == (0, 3)
    with pytest.raises(ValueError, match="`k` must be less than 40, got 40"):
        embed.knn(vectors, vectors, ids, 40)
    with pytest.raises(IndexError, match=r"`ids` must be in \[0, 40\), got 40"):
        embed.knn(vectors, vectors, torch.tensor([40]), 1)
