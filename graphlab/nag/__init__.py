"""Architecture generation: search spaces, diffusion, guidance, predictors, search."""

from graphlab.nag import spaces as spaces
from graphlab.nag import tables as tables
from graphlab.nag.archive import Archive as Archive
from graphlab.nag.bayesian import Bayesian as Bayesian
from graphlab.nag.denoiser import Denoiser as Denoiser
from graphlab.nag.evaluation import Evaluator as Evaluator
from graphlab.nag.generation import Generation as Generation
from graphlab.nag.generation import generate as generate
from graphlab.nag.generation import measure as measure
from graphlab.nag.guidance import Guidance as Guidance
from graphlab.nag.loop import SearchResult as SearchResult
from graphlab.nag.loop import search as search
from graphlab.nag.meta import MetaPredictor as MetaPredictor
from graphlab.nag.meta import TaskPrior as TaskPrior
from graphlab.nag.objective import Objective as Objective
from graphlab.nag.predictors import Ensemble as Ensemble
from graphlab.nag.predictors import NoiseAwarePredictor as NoiseAwarePredictor
from graphlab.nag.release import release_rounds as release_rounds
from graphlab.nag.space import SearchSpace as SearchSpace
