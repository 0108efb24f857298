"""Generators: learn the distribution of a data set, and draw panels of any size from it."""

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
from mcsim.generators._storage.model_files import load as load
from mcsim.generators._storage.model_files import model_cache as model_cache
from mcsim.generators._storage.model_files import save as save
from mcsim.generators._training.fitted_panel import FittedPanel as FittedPanel
from mcsim.generators._vae.latent import Latent as Latent
from mcsim.generators._vae.latent import Posterior as Posterior
from mcsim.generators._vae.latent import latent as latent
from mcsim.generators._vae.trainer import VAE as VAE
