"""draft"""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
import jax, jax.numpy as jnp, numpy as np
from jaxtyping import Array
from mcsim.generators._coding import Scores
from mcsim.generators._panel_trainer import Learned, PanelTrainer
from mcsim.generators._training import train_members
from mcsim.generators._vae_law import Decoded
from mcsim.generators._vae_model import Plan
from mcsim.generators._vae_start import first_autoencoder
from mcsim.generators._vae_training import Bound, Rates, training_data
from mcsim.generators._networks import Reader, Writer

@dataclass(frozen=True, kw_only=True)
class VAE(PanelTrainer):
    latent: int | None = None
    hidden: tuple[int, ...] = (64,)
    arch: str = "mlp"
    likelihood: str = "student"
    noise: bool = True
    skip: bool = True
    beta: float = 1.0
    steps: int = 1000
    batch_size: int = 256
    folds: int = 4
    patience: int = 200
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    aggregate: str = "posterior"
    volatile: bool = True
    spreadout: float = 0.0

    def plan(self, layout):
        paths = len(layout.paths)
        volatile = self.volatile and layout.periods >= 4
        latent = self.latent or min(max(2, round(layout.size / 4)), 12) + (paths if volatile else 0)
        K, T, q = paths, layout.periods, len(layout.traits)
        if self.arch == "mlp":
            dec = (latent, *self.hidden, 2 * layout.size); enc = (2 * layout.size, *self.hidden, 2 * latent)
        else:
            dec = Writer(latent, 0, self.hidden[0], T, K, q, 2); enc = Reader(self.hidden[0], T, 2 * K, 2 * q, 2 * latent)
        return Plan(layout, latent, dec, enc, self.skip, self.noise, self.likelihood == "student", volatile)

    def learn(self, keys, data, progress):
        plan = self.plan(data[0].coding.layout)
        triples = [jax.random.split(k, 3) for k in keys]
        starts = [first_autoencoder(t[0], plan, d) for t, d in zip(triples, data)]
        td = training_data(data, starts, [t[1] for t in triples], self.folds)
        recipe = Bound(self.folds, self.batch_size, self.patience)
        rates = Rates(*(jnp.float32(getattr(self, n)) for n in Rates._fields))
        out = train_members(recipe, td, rates, [t[2] for t in triples], progress)
        return [Learned(self.law(recipe.learned(d, o.state), d), o.losses) for d, o in zip(td, out)]

    def law(self, model, d):
        x = jnp.asarray(d.known.inside[: int(d.count)])
        m, lv = (np.asarray(a, np.float64) for a in model.encode(x))
        n, L = m.shape
        if self.aggregate == "prior":
            return Decoded(model, np.ones(1, np.float32), np.zeros((1, L), np.float32), np.eye(L, dtype=np.float32)[None])
        if self.aggregate == "normal":
            c = np.cov(m, rowvar=False, ddof=0).reshape(L, L) + np.diag(np.exp(lv).mean(0))
            return Decoded(model, np.ones(1, np.float32), m.mean(0)[None].astype(np.float32), np.linalg.cholesky(c).T[None].astype(np.float32))
        if self.aggregate == "posterior":
            roots = np.sqrt(np.exp(lv))[:, :, None] * np.eye(L)
            return Decoded(model, np.full(n, 1 / n, np.float32), m.astype(np.float32), roots.astype(np.float32))
        from mcsim.generators._gaussian_mixture import best_mixture
        rng = np.random.default_rng(0)
        z = np.repeat(m, 4, 0) + np.exp(.5 * np.repeat(lv, 4, 0)) * rng.standard_normal((4 * n, L))
        g = best_mixture(rng, z, range(1, 9))
        cov = {"full": lambda: g.covariances_, "diag": lambda: np.stack([np.diag(c) for c in g.covariances_]), "spherical": lambda: np.stack([c * np.eye(L) for c in g.covariances_])}[g.covariance_type]()
        roots = np.stack([np.linalg.cholesky(c).T for c in cov])
        return Decoded(model, g.weights_.astype(np.float32), g.means_.astype(np.float32), roots.astype(np.float32))
