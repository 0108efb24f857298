"""Model files: safetensors for numbers, JSON for the rest. Loading executes nothing.

The JSON in the header lists the parts of the generator, each class by its tag. A tag
is permanent: classes and files of mcsim are renamed and moved without a change of any model file.
The header names exactly the tensors of the file, a digest reveals damage, and sampling must
succeed under abstract evaluation before a file is accepted.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import jax
import jax.numpy as jnp
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mcsim._core.calls import with_remedies
from mcsim._core.checks import as_path, other_than_file
from mcsim._core.keys import digest
from mcsim._data.schema import Column, Schema, faults_of_labels
from mcsim._version import __version__
from mcsim.errors import InputError, ModelFileError, raise_all
from mcsim.generators._adversarial.trainers import GAN, WGAN
from mcsim.generators._adversarial.vectors import Generated
from mcsim.generators._autoregressive.distribution import CellOrder, Cells
from mcsim.generators._autoregressive.trainer import Autoregressive
from mcsim.generators._cross_sections.architecture import Architecture, Tables
from mcsim.generators._cross_sections.drawing import FittedGenerator
from mcsim.generators._cross_sections.levels import Levels, LevelsTable
from mcsim.generators._cross_sections.mixture import Mixture, MixtureTable
from mcsim.generators._flow.distribution import FlowDistribution, FlowParams, FlowPlan
from mcsim.generators._flow.trainer import Flow
from mcsim.generators._macro import FittedMacroPanel, MacroPanel
from mcsim.generators._macro.structural_model import Common, StructuralModel
from mcsim.generators._networks import Reader, Writer
from mcsim.generators._references.bootstraps import (
    BlockBootstrap,
    Kernel,
    RealDates,
    RealUnits,
    SmoothedBootstrap,
    UnitBootstrap,
)
from mcsim.generators._references.normals import (
    FactorDistribution,
    FactorVAR,
    GaussianCopula,
    GaussianMixture,
    MixtureOfNormals,
    Normal,
)
from mcsim.generators._scores.coding import Coding, Shocks
from mcsim.generators._scores.margins import Margin
from mcsim.generators._scores.unit_scales import ScaledNormal
from mcsim.generators._scores.vectors import Groups, Layout
from mcsim.generators._storage.trees import (
    FORMAT,
    Classes,
    Tensors,
    decode_tree,
    encode_tree,
)
from mcsim.generators._training.fitted_panel import FittedPanel, Part
from mcsim.generators._vae.model import Autoencoder, Decoded, Plan
from mcsim.generators._vae.trainer import VAE

KIND = "mcsim.generator"
_FAULTS = (SafetensorError, OSError, ValueError, TypeError, RecursionError, OverflowError,
           MemoryError)  # fmt: skip
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
    "FactorDistribution": FactorDistribution,
    "FlowDistribution": FlowDistribution,
    "FlowParams": FlowParams,
    "FlowPlan": FlowPlan,
    "Generated": Generated,
    "Kernel": Kernel,
    "MixtureOfNormals": MixtureOfNormals,
    "Normal": Normal,
    "Plan": Plan,
    "RealDates": RealDates,
    "RealUnits": RealUnits,
    "ScaledNormal": ScaledNormal,
    "StructuralModel": StructuralModel,
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
FORMER: Mapping[str, str] = {
    "FactorLaw": "FactorDistribution",
    "FlowLaw": "FlowDistribution",
    "Skeleton": "StructuralModel",
    "FittedMacroPanel.skeleton": "model",
    "Part.law": "distribution",
    "VAE.latent_law": "latent_distribution",
    "StructuralModel.trait_mean": "coefficient_mean",
    "StructuralModel.trait_root": "coefficient_root",
    "StructuralModel.calm": "volatility_persistence",
    "StructuralModel.factor_calm": "factor_volatility_persistence",
    "StructuralModel.factor_swing": "factor_vol_of_vol",
    "StructuralModel.swing": "vol_of_vol",
}
"""Current names by tags of older files, and by fields as ``"tag.field"``."""

CLASSES: Mapping[str, type] = {**GENERATORS, **TRAINERS, **DISTRIBUTIONS, **PARTS}

STORED = Classes(CLASSES, FORMER)


@with_remedies()
def save(generator: Any, path: str | Path) -> Path:
    """Write a generator to a file.

    The file is complete or not there at all: it is written beside its place and renamed.

    Parameters
    ----------
    generator : FittedGenerator, FittedPanel or FittedMacroPanel
        The result of a fit.
    path : str or Path
        The file; an existing one is replaced.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    InputError
        If it is no fitted generator, or a label of its schema is no string, number, bool or date.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, jax, numpy as np
    >>> from mcsim import Panel
    >>> from mcsim.generators import GaussianCopula
    >>> panel = Panel({"wage": np.exp(np.random.default_rng(0).normal(2, 0.5, (60, 4)))})
    >>> generator = GaussianCopula().fit(jax.random.key(0), panel)
    >>> path = save(generator, tempfile.mkdtemp() + "/wages.safetensors")
    >>> same, key = load(path), jax.random.key(1)
    >>> bool((same.sample(key, 5)["wage"] == generator.sample(key, 5)["wage"]).all())
    True
    """
    if not isinstance(generator, tuple(GENERATORS.values())):
        raise InputError(
            f"generator: got {type(generator).__name__}, expected what a trainer's fit returns"
        )
    raise_all(faults_of_labels(generator.schema))
    tensors: Tensors = {}
    try:
        tree = encode_tree(generator, STORED, tensors)
    except (TypeError, ValueError) as fault:
        raise InputError(f"generator: cannot be saved: {fault}") from None
    header = {"kind": KIND, "format": FORMAT, "mcsim": __version__, "generator": tree}
    header["sha256"] = digest_of(header, tensors)
    path = as_path("path", path)
    if path.is_dir():
        raise InputError(f"path: {path} is a folder, expected a file such as model.safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        save_file(tensors, beside, metadata={"mcsim": json.dumps(header, allow_nan=False)})
        os.replace(beside, path)
    except SafetensorError as fault:
        raise OSError(f"{path}: {fault}") from None
    finally:
        beside.unlink(missing_ok=True)
    return path


@with_remedies()
def load(path: str | Path) -> Any:
    """Read a generator from a file that `save` wrote.

    Nothing in the file is executed; classes, names, shapes, types and values are checked.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    FittedGenerator, FittedPanel or FittedMacroPanel
        Its samples equal the saved generator's, bit by bit.

    Raises
    ------
    ModelFileError
        If the file is missing, truncated, damaged, foreign, of another format, or inconsistent.
    """
    tree, tensors = _read(as_path("path", path))
    try:
        generator = decode_tree(tree, STORED, tensors)
    except (*_FAULTS, AttributeError, KeyError, IndexError) as fault:
        raise ModelFileError(f"{path}: the header is damaged: {fault}") from None
    if tensors:
        raise ModelFileError(f"{path}: tensors missing or unknown: {sorted(tensors)[:5]}")
    fitted = isinstance(generator, tuple(GENERATORS.values()))
    if not fitted or not isinstance(generator.config, tuple(TRAINERS.values())):
        raise ModelFileError(f"{path}: holds no fitted generator with its trainer")
    if fault := _fault_of_sampling(generator):
        raise ModelFileError(f"{path}: its parts do not go together: {fault}")
    return generator


def digest_of(header: dict[str, Any], tensors: Tensors) -> str:
    """Return the SHA-256 of a file's header, without the digest, and tensors."""
    content = {name: entry for name, entry in header.items() if name != "sha256"}
    numbers = {
        name: [array.dtype.name, *array.shape, hashlib.sha256(array.tobytes()).hexdigest()]
        for name, array in tensors.items()
    }
    return digest({"header": content, "tensors": numbers})


def _read(path: Path) -> tuple[Any, Tensors]:
    """Return the JSON of the generator and the tensors of an undamaged file."""
    try:
        if other := other_than_file(path):
            raise ModelFileError(f"{path}: is {other}, expected a model file")
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("mcsim", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        intact = isinstance(header, dict) and header.get("sha256") == digest_of(header, tensors)
    except FileNotFoundError:
        raise ModelFileError(f"{path}: there is no such file") from None
    except ModelFileError:
        raise
    except OSError as fault:
        raise ModelFileError(f"{path}: cannot be read: {fault.strerror or fault}") from None
    except _FAULTS:
        raise ModelFileError(
            f"{path}: not a model file, or a truncated one; expected what mcsim.save wrote, so "
            "fit and save again"
        ) from None
    if not isinstance(header, dict) or header.get("kind") != KIND:
        raise ModelFileError(f"{path}: a safetensors file, but not a generator saved by mcsim")
    if header.get("format") != FORMAT:
        raise ModelFileError(
            f"{path}: format {header.get('format')!r}, this version of mcsim reads {FORMAT}; "
            "load it with the version that wrote it, or fit again"
        )
    if not intact:
        raise ModelFileError(
            f"{path}: damaged: its content does not match its SHA-256 digest; fit and save again"
        )
    return header.get("generator"), tensors


def _fault_of_sampling(generator: Any) -> str:
    """Return the fault of an abstract draw of three units, or of its columns; else ""."""
    shape = jax.ShapeDtypeStruct((3,), jnp.float64)
    try:
        hash(jax.tree.structure(generator))
        repr(generator)
        names = tuple(generator.schema.names)
        given = {name: shape for name in generator.given}
        panel = jax.eval_shape(
            lambda key, values: dict(generator.sample(key, 3, given=values)),
            *(jax.random.key(0), given),
        )
    except Exception as fault:  # parts that do not fit each other may raise any exception
        return f"{type(fault).__name__}: {str(fault).splitlines()[0] if str(fault) else ''}"
    found = {name: (leaf.shape[0], leaf.dtype) for name, leaf in panel.items()}
    if found != {name: (3, jnp.float64) for name in names}:
        return f"it draws {found}, but its schema has the columns {list(names)}"
    return ""
