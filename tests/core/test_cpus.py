"""Workers by default: as many as the CPUs that were granted, whoever grants them."""

import os

import pytest

from mcsim._core.machine import available_cpus

CPUS = 8


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(CPUS)), raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)


def file_system(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


V1 = {"cpu.cfs_quota_us": "300000\n", "cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("files", "granted"),
    [
        ({}, CPUS),
        # version 2
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, CPUS),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "50000 100000\n"}, 1),
        (
            {
                "proc/self/cgroup": "0::/job/step\n",
                "sys/fs/cgroup/job/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/job/step/cpu.max": "max 100000\n",
            },
            2,
        ),
        ({"proc/self/cgroup": "0::/host/path\n", "sys/fs/cgroup/cpu.max": "400000 100000"}, 4),
        # version 1
        (
            {"proc/self/cgroup": "7:memory:/x\n4:cpu,cpuacct:/job\n0::/\n"}
            | {f"sys/fs/cgroup/cpu,cpuacct/job/{name}": text for name, text in V1.items()},
            3,
        ),
        (
            {"proc/self/cgroup": "4:cpuacct,cpu:/host/path\n"}
            | {f"sys/fs/cgroup/cpu/{name}": text for name, text in V1.items()},
            3,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            CPUS,
        ),
        # what is none
        ({"proc/self/cgroup": "nonsense\n", "sys/fs/cgroup/cpu.max": "a b\n"}, CPUS),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": ""}, CPUS),
        ({"proc/self/cgroup": "0::/../..\n", "sys/fs/cgroup/cpu.max": "100000 0\n"}, CPUS),
    ],
)
def test_the_quota_of_a_control_group(tmp_path, files, granted):
    assert available_cpus(file_system(tmp_path, files)) == granted


@pytest.mark.parametrize(("said", "granted"), [("2", 2), ("64", CPUS), ("0", CPUS), ("x", CPUS)])
def test_the_scheduler(tmp_path, monkeypatch, said, granted):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", said)
    assert available_cpus(tmp_path) == granted


def test_the_least_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "5")
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}
    assert available_cpus(file_system(tmp_path, files)) == 3
