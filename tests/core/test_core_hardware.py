import subprocess
from pathlib import Path

import torch

from foretell.core.git import git_commit
from foretell.core.hardware import environment, estimated_watts, matmul_peak


def test_commits_are_those_of_the_folder(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@x"]
    (tmp_path / "a").write_text("1")
    for arguments in (["init", "-q"], ["add", "a"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    commit = git_commit(tmp_path, "a")
    assert commit is not None and len(commit) == 40
    (tmp_path / "b").write_text("2")
    assert git_commit(tmp_path, "a") == f"{commit}+dirty"
    assert git_commit(tmp_path, "b") is None  # there, but not of this repository


def test_the_peak_is_plausible_and_the_energy_assumption_is_said() -> None:
    assert 1e8 < matmul_peak(torch.device("cpu"), size=256, repeats=3) < 1e14
    watts, sentence = estimated_watts(torch.device("cpu"), 2)
    assert watts == 50 and "assumed" in sentence


def test_the_environment_names_versions() -> None:
    record = environment()
    assert record["packages"]["torch"] == torch.__version__
    assert record["cores"] >= 1
