"""Metrics, evaluators with guards, heuristics, leakage, stamps, and scores over seeds."""

from graphlab.evaluate import heuristics as heuristics
from graphlab.evaluate.clustering import CLUSTERING_METRICS as CLUSTERING_METRICS
from graphlab.evaluate.clustering import clustering_scores as clustering_scores
from graphlab.evaluate.clustering import modularity as modularity
from graphlab.evaluate.hard_negatives import hard_negatives as hard_negatives
from graphlab.evaluate.hard_negatives import random_negatives as random_negatives
from graphlab.evaluate.leakage import Leak as Leak
from graphlab.evaluate.leakage import audit_links as audit_links
from graphlab.evaluate.link import LinkEvaluator as LinkEvaluator
from graphlab.evaluate.metrics import METRICS as METRICS
from graphlab.evaluate.metrics import accuracy as accuracy
from graphlab.evaluate.metrics import f1_macro as f1_macro
from graphlab.evaluate.metrics import f1_micro as f1_micro
from graphlab.evaluate.metrics import metric as metric
from graphlab.evaluate.metrics import roc_auc as roc_auc
from graphlab.evaluate.ogb import OgbLinkEvaluator as OgbLinkEvaluator
from graphlab.evaluate.ogb import OgbNodeEvaluator as OgbNodeEvaluator
from graphlab.evaluate.ogb import ogb as ogb
from graphlab.evaluate.scores import Difference as Difference
from graphlab.evaluate.scores import Scores as Scores
from graphlab.evaluate.stamp import Stamp as Stamp
from graphlab.evaluate.stamp import StampMismatchError as StampMismatchError
from graphlab.evaluate.vectors import classify as classify
from graphlab.evaluate.vectors import link_auc as link_auc
from graphlab.evaluate.vectors import pairs_without_edge as pairs_without_edge
from graphlab.evaluate.vectors import split_edges as split_edges
