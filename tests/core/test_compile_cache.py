"""The compile cache: programs that another user may have written are never loaded."""

import os
import warnings

import jax
import pytest

from mcsim._core.machine import use_compile_cache


@pytest.fixture
def cache_in(monkeypatch):
    """Use the compile cache in a folder; the settings of JAX are those of before afterwards."""
    name, least = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = {setting: jax.config.values[setting] for setting in (name, least)}

    def use(folder):
        monkeypatch.setenv("MCSIM_COMPILE_CACHE", str(folder))
        jax.config.update(name, None)
        use_compile_cache.cache_clear()
        used = use_compile_cache()
        assert jax.config.values[name] == (None if used is None else str(folder))
        return used

    yield use
    use_compile_cache.cache_clear()
    for setting, value in before.items():
        jax.config.update(setting, value)


def test_a_folder_of_ones_own_is_used(cache_in, tmp_path):
    assert cache_in(tmp_path / "new" / "cache") == tmp_path / "new" / "cache"
    assert (tmp_path / "new" / "cache").stat().st_mode & 0o777 == 0o700
    tmp_path.chmod(0o755)  # others may read it
    assert cache_in(tmp_path) == tmp_path


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_folder_that_others_may_write_to_is_not(cache_in, tmp_path, mode):
    tmp_path.chmod(mode)
    match = r"compile cache: .* can be written to by others \(chmod go-w .*not used"
    with pytest.warns(UserWarning, match=match):
        assert cache_in(tmp_path) is None


def test_a_folder_of_another_user_is_not(cache_in, tmp_path, monkeypatch):
    mine = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: mine + 1)
    with pytest.warns(UserWarning, match=r"compile cache: .* belongs to another user"):
        assert cache_in(tmp_path) is None


def test_a_place_that_is_no_folder_is_passed_over(cache_in, tmp_path):
    (tmp_path / "file").touch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache_in(tmp_path / "file") is None
