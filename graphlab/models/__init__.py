"""Models: one method, one file, named after it."""

from graphlab.models.backbone import GNN as GNN
from graphlab.models.gnn import GAT as GAT
from graphlab.models.gnn import GCN as GCN
from graphlab.models.gnn import GCNII as GCNII
from graphlab.models.gnn import MLP as MLP
from graphlab.models.gnn import SAGE as SAGE
from graphlab.models.inference import layerwise as layerwise
from graphlab.models.pamc import PamCLoss as PamCLoss
from graphlab.models.pamc_cgc import PamCGC as PamCGC
from graphlab.models.presets import PUBLIC_SPLIT as PUBLIC_SPLIT
