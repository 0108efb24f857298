"""The classes that a model file may hold, by name: no other is ever built from a file.

A law or a trainer that is not here can be neither saved nor kept in a model cache.
"""

from mcsim._schema import Column, Schema
from mcsim.generators._adversarial._gan import GAN
from mcsim.generators._adversarial._vector_adversary import Generated
from mcsim.generators._adversarial._wgan import WGAN
from mcsim.generators._autoregressive._law import CellOrder, Cells
from mcsim.generators._autoregressive._trainer import Autoregressive
from mcsim.generators._columns._architecture import Architecture, Tables
from mcsim.generators._columns._fitted import FittedGenerator
from mcsim.generators._columns._levels import Levels, LevelsTable
from mcsim.generators._columns._mixture import Mixture, MixtureTable
from mcsim.generators._flow._law import FlowLaw, FlowParams, FlowPlan
from mcsim.generators._flow._trainer import Flow
from mcsim.generators._macro._macro_panel import FittedMacroPanel, MacroPanel
from mcsim.generators._macro._skeleton import Common, Skeleton
from mcsim.generators._networks import Reader, Writer
from mcsim.generators._references._block_bootstrap import BlockBootstrap, RealDates
from mcsim.generators._references._factor_var import FactorLaw, FactorVAR
from mcsim.generators._references._gaussian_copula import GaussianCopula, Normal
from mcsim.generators._references._gaussian_mixture import GaussianMixture, MixtureOfNormals
from mcsim.generators._references._smoothed_bootstrap import Kernel, SmoothedBootstrap
from mcsim.generators._references._unit_bootstrap import RealUnits, UnitBootstrap
from mcsim.generators._vae._law import Decoded
from mcsim.generators._vae._model import Autoencoder, Plan
from mcsim.generators._vae._trainer import VAE
from mcsim.generators._vectors._coding import Coding
from mcsim.generators._vectors._fitted_panel import FittedPanel, Part
from mcsim.generators._vectors._groups import Groups
from mcsim.generators._vectors._layout import Layout
from mcsim.generators._vectors._margins import Margin
from mcsim.generators._vectors._shocks import Shocks

GENERATORS = (FittedGenerator, FittedPanel, FittedMacroPanel)

TRAINERS = (
    Autoregressive,
    BlockBootstrap,
    FactorVAR,
    Flow,
    GAN,
    GaussianCopula,
    GaussianMixture,
    MacroPanel,
    SmoothedBootstrap,
    UnitBootstrap,
    VAE,
    WGAN,
)

LAWS = (
    CellOrder,
    Cells,
    Autoencoder,
    Common,
    Decoded,
    FactorLaw,
    FlowLaw,
    FlowParams,
    FlowPlan,
    Generated,
    Kernel,
    MixtureOfNormals,
    Normal,
    Plan,
    RealDates,
    RealUnits,
    Skeleton,
)

PARTS = (
    Architecture,
    Coding,
    Column,
    Groups,
    Layout,
    Levels,
    LevelsTable,
    Margin,
    Mixture,
    MixtureTable,
    Part,
    Reader,
    Schema,
    Shocks,
    Tables,
    Writer,
)

CLASSES = {cls.__name__: cls for cls in (*GENERATORS, *TRAINERS, *LAWS, *PARTS)}
