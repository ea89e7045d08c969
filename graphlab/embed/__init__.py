"""Node embedding: walks made on the CPU, skip-gram workers, tables larger than memory."""

from graphlab.embed.baselines import ProNE as ProNE
from graphlab.embed.baselines import Spectral as Spectral
from graphlab.embed.knowledge import KnowledgeEmbedding as KnowledgeEmbedding
from graphlab.embed.layout import layout as layout
from graphlab.embed.nearest import Neighbors as Neighbors
from graphlab.embed.nearest import knn as knn
from graphlab.embed.node_embedding import NodeEmbedding as NodeEmbedding
from graphlab.embed.plan import MemoryPlan as MemoryPlan
from graphlab.embed.vectors import load as load
from graphlab.embed.vectors import save as save
