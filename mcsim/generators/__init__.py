"""Generators: learn the distribution of a data set, and draw panels of any size from it."""

import typing as _typing

from mcsim._core.startup import Door as _Door

if _typing.TYPE_CHECKING:
    from mcsim.generators._adversarial.trainers import GAN as GAN
    from mcsim.generators._adversarial.trainers import WGAN as WGAN
    from mcsim.generators._autoregressive.trainer import Autoregressive as Autoregressive
    from mcsim.generators._cross_sections.drawing import FittedGenerator as FittedGenerator
    from mcsim.generators._ensemble import fit_many as fit_many
    from mcsim.generators._flow.trainer import Flow as Flow
    from mcsim.generators._macro import FittedMacroPanel as FittedMacroPanel
    from mcsim.generators._macro import MacroPanel as MacroPanel
    from mcsim.generators._references.bootstraps import BlockBootstrap as BlockBootstrap
    from mcsim.generators._references.bootstraps import SmoothedBootstrap as SmoothedBootstrap
    from mcsim.generators._references.bootstraps import UnitBootstrap as UnitBootstrap
    from mcsim.generators._references.normals import FactorVAR as FactorVAR
    from mcsim.generators._references.normals import GaussianCopula as GaussianCopula
    from mcsim.generators._references.normals import GaussianMixture as GaussianMixture
    from mcsim.generators._storage.model_cache import model_cache as model_cache
    from mcsim.generators._storage.model_files import load as load
    from mcsim.generators._storage.model_files import save as save
    from mcsim.generators._training.fitted_panel import FittedPanel as FittedPanel
    from mcsim.generators._vae.latent import Latent as Latent
    from mcsim.generators._vae.latent import Posterior as Posterior
    from mcsim.generators._vae.latent import latent as latent
    from mcsim.generators._vae.trainer import VAE as VAE

_HOMES = {
    "GAN": "mcsim.generators._adversarial.trainers:GAN",
    "WGAN": "mcsim.generators._adversarial.trainers:WGAN",
    "Autoregressive": "mcsim.generators._autoregressive.trainer:Autoregressive",
    "FittedGenerator": "mcsim.generators._cross_sections.drawing:FittedGenerator",
    "fit_many": "mcsim.generators._ensemble:fit_many",
    "Flow": "mcsim.generators._flow.trainer:Flow",
    "FittedMacroPanel": "mcsim.generators._macro:FittedMacroPanel",
    "MacroPanel": "mcsim.generators._macro:MacroPanel",
    "BlockBootstrap": "mcsim.generators._references.bootstraps:BlockBootstrap",
    "SmoothedBootstrap": "mcsim.generators._references.bootstraps:SmoothedBootstrap",
    "UnitBootstrap": "mcsim.generators._references.bootstraps:UnitBootstrap",
    "FactorVAR": "mcsim.generators._references.normals:FactorVAR",
    "GaussianCopula": "mcsim.generators._references.normals:GaussianCopula",
    "GaussianMixture": "mcsim.generators._references.normals:GaussianMixture",
    "model_cache": "mcsim.generators._storage.model_cache:model_cache",
    "load": "mcsim.generators._storage.model_files:load",
    "save": "mcsim.generators._storage.model_files:save",
    "FittedPanel": "mcsim.generators._training.fitted_panel:FittedPanel",
    "Latent": "mcsim.generators._vae.latent:Latent",
    "Posterior": "mcsim.generators._vae.latent:Posterior",
    "latent": "mcsim.generators._vae.latent:latent",
    "VAE": "mcsim.generators._vae.trainer:VAE",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__ = _Door(__name__, _HOMES)
__dir__ = __getattr__.names
