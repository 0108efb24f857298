"""Generators: learn the law of a data set, and draw panels of any size from it."""

from mcsim.generators._autoregressive import Autoregressive as Autoregressive
from mcsim.generators._block_bootstrap import BlockBootstrap as BlockBootstrap
from mcsim.generators._cache import model_cache as model_cache
from mcsim.generators._ensemble import fit_many as fit_many
from mcsim.generators._factor_var import FactorVAR as FactorVAR
from mcsim.generators._files import load as load
from mcsim.generators._files import save as save
from mcsim.generators._fitted import FittedGenerator as FittedGenerator
from mcsim.generators._fitted_panel import FittedPanel as FittedPanel
from mcsim.generators._flow import Flow as Flow
from mcsim.generators._gan import GAN as GAN
from mcsim.generators._gaussian_copula import GaussianCopula as GaussianCopula
from mcsim.generators._gaussian_mixture import GaussianMixture as GaussianMixture
from mcsim.generators._macro import FittedMacroPanel as FittedMacroPanel
from mcsim.generators._macro import MacroPanel as MacroPanel
from mcsim.generators._smoothed_bootstrap import SmoothedBootstrap as SmoothedBootstrap
from mcsim.generators._unit_bootstrap import UnitBootstrap as UnitBootstrap
from mcsim.generators._vae import VAE as VAE
from mcsim.generators._vae_latent import Latent as Latent
from mcsim.generators._vae_latent import Posterior as Posterior
from mcsim.generators._vae_latent import latent as latent
from mcsim.generators._wgan import WGAN as WGAN
