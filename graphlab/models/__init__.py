"""Models: one method, one file, named after it."""

from graphlab.models.adpa import ADPA as ADPA
from graphlab.models.amud import DirectionReport as DirectionReport
from graphlab.models.amud import diagnose_direction as diagnose_direction
from graphlab.models.backbone import GNN as GNN
from graphlab.models.consistency import consistency_loss as consistency_loss
from graphlab.models.dirgnn import DirGNN as DirGNN
from graphlab.models.gnn import GAT as GAT
from graphlab.models.gnn import GCN as GCN
from graphlab.models.gnn import GCNII as GCNII
from graphlab.models.gnn import MLP as MLP
from graphlab.models.gnn import SAGE as SAGE
from graphlab.models.grand import GRAND as GRAND
from graphlab.models.inference import layerwise as layerwise
from graphlab.models.lagnn import LAAverage as LAAverage
from graphlab.models.lagnn import LAConcat as LAConcat
from graphlab.models.lagnn_augmenter import LocalAugmenter as LocalAugmenter
from graphlab.models.lagnn_controls import (
    ConditionalMeanAugmenter as ConditionalMeanAugmenter,
)
from graphlab.models.link_encoder import LinkEncoder as LinkEncoder
from graphlab.models.link_model import LinkModel as LinkModel
from graphlab.models.link_model import link_model as link_model
from graphlab.models.link_presets import link_preset as link_preset
from graphlab.models.magnet import MagNet as MagNet
from graphlab.models.ncn import GAE as GAE
from graphlab.models.ncn import NCN as NCN
from graphlab.models.ncnc import NCNC as NCNC
from graphlab.models.pamc import PamCLoss as PamCLoss
from graphlab.models.pamc_cgc import PamCGC as PamCGC
from graphlab.models.presets import PUBLIC_SPLIT as PUBLIC_SPLIT
from graphlab.models.refined_gae import HadamardMLP as HadamardMLP
from graphlab.models.searched import SearchedGNN as SearchedGNN
from graphlab.models.sgc import SGC as SGC
from graphlab.models.sign import SIGN as SIGN
