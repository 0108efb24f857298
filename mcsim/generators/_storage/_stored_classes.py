"""The classes that a model file may hold, each by its tag: no other is ever built from a file.

A tag is for ever: classes and files of mcsim are renamed and moved without a change of any model
file. A distribution or a trainer without a tag can be neither saved nor kept in a model cache.
"""

from collections.abc import Mapping

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
from mcsim.generators._macro import FittedMacroPanel, MacroPanel
from mcsim.generators._macro._skeleton import Common, Skeleton
from mcsim.generators._networks import Reader, Writer
from mcsim.generators._references._block_bootstrap import BlockBootstrap, RealDates
from mcsim.generators._references._factor_var import FactorLaw, FactorVAR
from mcsim.generators._references._gaussian_copula import GaussianCopula, Normal
from mcsim.generators._references._gaussian_mixture import GaussianMixture, MixtureOfNormals
from mcsim.generators._references._smoothed_bootstrap import Kernel, SmoothedBootstrap
from mcsim.generators._references._unit_bootstrap import RealUnits, UnitBootstrap
from mcsim.generators._training._fitted_panel import FittedPanel, Part
from mcsim.generators._vae._law import Decoded
from mcsim.generators._vae._model import Autoencoder, Plan
from mcsim.generators._vae._trainer import VAE
from mcsim.generators._vectors._coding import Coding
from mcsim.generators._vectors._groups import Groups
from mcsim.generators._vectors._layout import Layout
from mcsim.generators._vectors._margins import Margin
from mcsim.generators._vectors._shocks import Shocks

GENERATORS: Mapping[str, type] = {
    "FittedGenerator": FittedGenerator,
    "FittedPanel": FittedPanel,
    "FittedMacroPanel": FittedMacroPanel,
}

TRAINERS: Mapping[str, type] = {
    "Autoregressive": Autoregressive,
    "BlockBootstrap": BlockBootstrap,
    "FactorVAR": FactorVAR,
    "Flow": Flow,
    "GAN": GAN,
    "GaussianCopula": GaussianCopula,
    "GaussianMixture": GaussianMixture,
    "MacroPanel": MacroPanel,
    "SmoothedBootstrap": SmoothedBootstrap,
    "UnitBootstrap": UnitBootstrap,
    "VAE": VAE,
    "WGAN": WGAN,
}

DISTRIBUTIONS: Mapping[str, type] = {
    "CellOrder": CellOrder,
    "Cells": Cells,
    "Autoencoder": Autoencoder,
    "Common": Common,
    "Decoded": Decoded,
    "FactorLaw": FactorLaw,
    "FlowLaw": FlowLaw,
    "FlowParams": FlowParams,
    "FlowPlan": FlowPlan,
    "Generated": Generated,
    "Kernel": Kernel,
    "MixtureOfNormals": MixtureOfNormals,
    "Normal": Normal,
    "Plan": Plan,
    "RealDates": RealDates,
    "RealUnits": RealUnits,
    "Skeleton": Skeleton,
}

PARTS: Mapping[str, type] = {
    "Architecture": Architecture,
    "Coding": Coding,
    "Column": Column,
    "Groups": Groups,
    "Layout": Layout,
    "Levels": Levels,
    "LevelsTable": LevelsTable,
    "Margin": Margin,
    "Mixture": Mixture,
    "MixtureTable": MixtureTable,
    "Part": Part,
    "Reader": Reader,
    "Schema": Schema,
    "Shocks": Shocks,
    "Tables": Tables,
    "Writer": Writer,
}

CLASSES: Mapping[str, type] = {**GENERATORS, **TRAINERS, **DISTRIBUTIONS, **PARTS}
