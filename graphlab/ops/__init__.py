"""Hot ops: tensors in, tensors out."""

from graphlab.ops.alias import AliasTables as AliasTables
from graphlab.ops.alias import alias_build as alias_build
from graphlab.ops.crc import crc32c as crc32c
from graphlab.ops.csr import csr_build as csr_build
from graphlab.ops.csr import csr_transpose as csr_transpose
from graphlab.ops.gather import gather_rows as gather_rows
from graphlab.ops.gather import tensor_over as tensor_over
from graphlab.ops.registry import backends as backends
from graphlab.ops.sample import NeighborSample as NeighborSample
from graphlab.ops.sample import neighbor_sample as neighbor_sample
from graphlab.ops.sddmm_exp_sum import sddmm_exp_sum as sddmm_exp_sum
from graphlab.ops.segment import segment_reduce as segment_reduce
from graphlab.ops.segment import segment_softmax as segment_softmax
from graphlab.ops.spgemm_topk import spgemm_topk as spgemm_topk
from graphlab.ops.spmm import spmm as spmm
