"""Run directories as a run leaves them, made up but of one piece: a known law, rungs on it, a target near it."""

from __future__ import annotations

import csv
import json
import math
import random
from pathlib import Path
from typing import Any

START = 1_767_600_000.0  # 2026-01-05 08:00 UTC
A, B, C = 21.0, 0.105, 0.98  # bits per byte = A * FLOPs^-B + C
TARGET_FLOPS = 6.2e13
BYTES, WORDS, TOKENS = 5_200_000, 880_000, 2_260_000
HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'
SEAL = "9f2c" * 16
WIDTHS = (16, 24, 32, 48, 64)
SHARES = (1 / 5000, 1 / 2200, 1 / 1000, 1 / 450, 1 / 210)


def law(flops: float) -> float:
    """Bits per byte of the law the runs are made from."""
    return A * flops**-B + C


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def edit(path: Path, key: str, value: Any) -> None:
    """Change one dotted field of a JSON record."""
    content = json.loads(path.read_text(encoding="utf-8"))
    node = content
    *parents, leaf = key.split(".")
    for parent in parents:
        node = node[parent]
    node[leaf] = value
    write_json(path, content)


def shape(width: int, flops: float) -> dict[str, Any]:
    inner = 3 * 12 * width * width
    tokens = round(flops / (6 * (inner + 1024 * width)))
    return {
        "width": width, "depth": 3, "heads": max(1, width // 16), "kv_heads": max(1, width // 16), "head_dim": 16,
        "ffn_width": width * 8 // 3, "context": 256, "vocab_size": 1024,
        "parameters": {"total": inner + 2048 * width, "non_embedding": inner, "with_head": inner + 1024 * width},
        "tokens": tokens, "flops": flops, "steps": math.ceil(tokens / 4096), "batch_rows": 16, "learning_rate": 8e-3,
    }  # fmt: skip


def result(width: int, flops: float, seed: int, role: str, loss: float, start: float) -> dict[str, Any]:
    planned = shape(width, flops)
    seconds = flops / (9e10 if role == "target" else 8e9)
    return {
        "config_hash": f"{width:08x}" * 8, "label": f"width {width}", "role": role, "seed": seed, "width": width,
        "parameters": planned["parameters"], "tokens": planned["tokens"], "flops": flops, "steps": planned["steps"],
        "learning_rate": 8e-3, "seconds": seconds, "tokens_per_second": planned["tokens"] / seconds,
        "flops_per_second": flops / seconds, "peak_share": flops / seconds / 1.7e11, "joules": 50 * seconds,
        "joules_source": "assumed: 20 W for the machine and 15 W for each of 2 cores in use",
        "heldout": {
            "nats_per_token": loss * math.log(2) * BYTES / TOKENS, "bits_per_byte": loss,
            "bits_per_word": loss * BYTES / WORDS, "bytes": BYTES, "words": WORDS, "tokens": TOKENS,
        },
        "started": start, "finished": start + seconds,
    }  # fmt: skip


def settings(name: str) -> str:
    return f"""name: {json.dumps(name)}
seed: 0
corpus:
  sources: [{{kind: environment, weight: 1.0}}]
  heldout_share: 0.02
  near_duplicate_threshold: 0.8
tokenizer: {{vocab_size: 1024, digits_apart: true}}
model: {{depth: 3, head_dim: 16, qk_norm: false, tied: false, parametrization: mup}}
target: {{flops: 6.2e13, tokens_per_parameter: 20}}
ladder: {{ratio: 200, seeds: 3, processes: 2}}
training: {{schedule: linear, warmup_share: 0.05, weight_decay: 0.1, betas: [0.9, 0.95], clip: 1.0, compile: auto}}
forecast: {{level: 0.9, metric: bits_per_byte}}
"""


def build_ladder(folder: Path, rungs: int = len(WIDTHS), name: str = "laptop", hostile: bool = False) -> Path:
    """A run whose ladder has ``rungs`` of its rungs finished; nothing after it."""
    text = HOSTILE if hostile else ""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(settings(name + text), encoding="utf-8")
    write_json(folder / "environment.json", {
        "foretell": "0.1.0", "python": "3.11.2", "packages": {"torch": "2.13.0", "numpy": "2.3.1"},
        "system": "Linux-6.1-x86_64", "processor": "AMD EPYC 7B13" + text, "cores": 2, "memory_bytes": 8_300_000_000,
        "accelerator": None, "git_commit": "0123456789abcdef0123456789abcdef01234567", "matmul_peak": 1.7e11,
        "threads": 2,
    })  # fmt: skip
    build_corpus(folder, text)
    build_plan(folder)
    noise = random.Random(1)
    for width, share in list(zip(WIDTHS, SHARES, strict=True))[:rungs]:
        for seed in range(3):
            flops = share * TARGET_FLOPS
            loss = law(flops) * (1 + noise.gauss(0, 0.004))
            record = result(width, flops, seed, "rung", loss, START + 60 + width)
            write_json(folder / f"ladder/runs/w{width}-s{seed}/result.json", record)
    if rungs == len(WIDTHS):
        files = sorted(folder.glob("ladder/runs/w*/result.json"))
        results = [json.loads(file.read_text()) | {"folder": file.parent.name} for file in files]
        write_json(folder / "ladder/rungs.json", results)
    candidates = []
    for rate in (2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2):
        losses = [
            3.0 - size + 0.05 * math.log2(rate / 7e-3) ** 2 + noise.gauss(0, 0.01)
            for size in (0.0, 0.2)
            for _ in range(2)
        ]
        candidates.append({"learning_rate": rate, "losses": losses})
        for seed, loss in enumerate(losses):
            record = result(16, 2e9, seed, "tuning", loss, START + 30) | {"learning_rate": rate}
            write_json(folder / f"ladder/runs/lr{rate:g}-s{seed}/result.json", record)
    write_json(folder / "ladder/tuning.json", {
        "candidates": [*candidates, {"learning_rate": 6.4e-2, "losses": [None, 3.5, 3.4, 3.3]}],
        "chosen": 7.1e-3, "curve": {"second": 0.0335, "first": 0.3316, "constant": 0.8205}, "at_edge": False,
        "sentence": "Base learning rate 0.0071, tuned over 6 rates on 4 small runs each.",
    })  # fmt: skip
    stages = [("corpus", 21.4), ("tokenizer", 9.8), ("tokens", 12.6), ("ladder/tuning", 16.0), ("ladder/rungs", 124.2)]
    write_lines(folder / "run.jsonl", [
        {"kind": "stage", "time": START + 20 * i, "name": stage, "seconds": spent, "status": "done"}
        for i, (stage, spent) in enumerate(stages)
    ])  # fmt: skip
    return folder


def build_corpus(folder: Path, text: str) -> None:
    projects = [("cpython", "train"), ("torch", "train"), ("numpy", "train"), ("sympy", "heldout"), ("rich", "heldout")]
    write_json(folder / "corpus/summary.json", {
        "sources": [{"name": "python environment" + text, "kind": "environment", "weight": 1.0, "files_found": 15_010,
                     "documents": 14_210, "bytes": 257_000_000, "kept_documents": 11_902, "kept_bytes": 201_000_000}],
        "filters": [{"name": "exact duplicates", "removed_documents": 1_204, "removed_bytes": 9_000_000},
                    {"name": "near duplicates of held-out text", "removed_documents": 31, "removed_bytes": 410_000}],
        "splits": {"train": {"documents": 11_500, "bytes": 195_800_000, "words": 21_000_000, "projects": 3},
                   "heldout": {"documents": 402, "bytes": BYTES, "words": WORDS, "projects": 2}},
        "split_by": "project", "heldout_projects": ["sympy", "rich" + text],
        "licences": {"PSF-2.0": 30_000_000, "BSD-3-Clause": 120_000_000, "": 51_000_000},
        "projects": [{"project": name + text, "split": split, "documents": 100 + i, "bytes": 1_000_000 * (i + 1),
                      "licence": "BSD-3-Clause" if i else None} for i, (name, split) in enumerate(projects)],
        "digest": "ab" * 32, "seconds": 21.4,
    })  # fmt: skip
    write_json(folder / "tokens/index.json", {
        "vocab_size": 1024, "tokenizer_digest": "cd" * 32, "digest": "ef" * 32,
        "splits": {"train": {"documents": 11_500, "tokens": 85_000_000, "bytes": 195_800_000, "words": 21_000_000},
                   "heldout": {"documents": 402, "tokens": TOKENS, "bytes": BYTES, "words": WORDS}},
    })  # fmt: skip
    write_json(folder / "tokenizer/tokenizer.json", {})
    with (folder / "corpus/manifest.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "source", "project", "path_or_url", "licence", "sha256", "bytes", "words", "split"])
        for number in range(120):
            project, split = projects[number % len(projects)]
            path = f"lib/python3.11/site-packages/{project}/module_{number}.py{text}"
            if number == 118:
                path = "javascript:alert(1)" if text else "https://example.org/sympy/module.py"
            digest = f"{number:02x}" * 32
            table.writerow([number, "environment", project, path, "BSD-3-Clause", digest, 1000 * number, 90, split])


def build_plan(folder: Path) -> None:
    law_cited = "Widths follow maximal update parametrization (Yang et al. 2022, Tensor Programs V)."
    rungs = [
        shape(width, share * TARGET_FLOPS) | {"seeds": [0, 1, 2], "ratio": 1 / share}
        for width, share in zip(WIDTHS, SHARES, strict=True)
    ]
    write_json(folder / "plan.json", {
        "target": shape(256, TARGET_FLOPS) | {"law": law_cited}, "rungs": rungs, "tuning": [],
        "price": {"flops": 8e13, "ladder_share_of_flops": 0.03, "estimated_seconds": 600, "disk_bytes": 3e8},
    })  # fmt: skip


def build_forecast(folder: Path) -> Path:
    """Add the registered forecast to a finished ladder."""
    grid = [TARGET_FLOPS * 10 ** (-4 + 4 * i / 60) for i in range(61)]
    spread = [0.01 + 0.012 * max(0.0, math.log10(flops / (TARGET_FLOPS / 1000))) for flops in grid]
    middle = law(TARGET_FLOPS)
    rungs = []
    for width, share in zip(WIDTHS, SHARES, strict=True):
        flops = share * TARGET_FLOPS
        files = folder.glob(f"ladder/runs/w{width}-s*/result.json")
        losses = [json.loads(file.read_text())["heldout"]["bits_per_byte"] for file in files]
        mean = sum(losses) / len(losses)
        rungs.append({"flops": flops, "mean_loss": mean, "standard_error": 0.007, "seeds": len(losses),
                      "params": shape(width, flops)["parameters"]["with_head"], "tokens": shape(width, flops)["tokens"],
                      "residual": mean - law(flops), "label": f"width {width}"})  # fmt: skip
    write_json(folder / "forecast.json", {
        "forecast": {
            "law": {"name": "power law with offset", "formula": "L(C) = a C^-b + c",
                    "a": {"median": A, "low": 15.0, "high": 30.0}, "b": {"median": B, "low": 0.08, "high": 0.13},
                    "c": {"median": C, "low": 0.7, "high": 1.2},
                    "seed_noise": {"median": 0.004, "low": 0.003, "high": 0.006}},
            "target_flops": TARGET_FLOPS, "median": middle, "low": middle * 0.953, "high": middle * 1.047,
            "level": 0.9, "metric": "bits per byte",
            "findings": [{"code": "slopes", "severity": "warning",
                          "sentence": "Local slopes rise by 12 % over the ladder; the interval was widened."}],
            "band": {"flops": grid, "median": [law(flops) for flops in grid],
                     "low": [law(flops) * (1 - s) for flops, s in zip(grid, spread, strict=True)],
                     "high": [law(flops) * (1 + s) for flops, s in zip(grid, spread, strict=True)]},
            "rungs": rungs,
        },
        "observations": [], "context": {}, "created": "2026-01-05T08:05:00+00:00", "created_unix": START + 300,
        "sha256": SEAL,
    })  # fmt: skip
    return folder


def build_target(folder: Path, share: float = 1.0, outcome: float | None = None) -> Path:
    """Add the target's log up to ``share`` of its tokens and, at 1, its result, score and samples."""
    planned = shape(256, TARGET_FLOPS)
    final = law(TARGET_FLOPS) * 1.011 if outcome is None else outcome
    steps = round(planned["steps"] * share)
    noise = random.Random(2)
    records: list[dict[str, Any]] = [{"kind": "start", "time": START + 301, "step": 0, "tokens": 0}]
    for step in range(1, steps + 1):
        tokens = step * 4096
        done = step / planned["steps"]
        loss = final * (1 + 0.35 * (1 - done) ** 1.5) + 5 * math.exp(-step / 12)
        common = {"time": START + 301 + 0.5 * step, "step": step, "tokens": tokens, "flops": TARGET_FLOPS * done}
        records.append({"kind": "step", **common, "loss": loss, "bits_per_byte": loss + noise.gauss(0, 0.06),
                        "learning_rate": 8e-3 * (1 - done), "grad_norm": 0.4, "tokens_per_second": 8000.0,
                        "flops_per_second": 9e10})  # fmt: skip
        if step % max(1, planned["steps"] // 15) == 0 or step == planned["steps"]:
            records.append({"kind": "eval", **common, "bits_per_byte": loss, "bits_per_word": loss * BYTES / WORDS,
                            "whole": step == planned["steps"]})  # fmt: skip
        if step == 300:
            records.append(
                {"kind": "guard", "time": common["time"], "step": step, "verdict": "skip", "reason": "spike"}
            )
    write_lines(folder / "target/log.jsonl", records)
    spent, status = (99.0, "interrupted") if share < 1 else (400.0, "done")
    with (folder / "run.jsonl").open("a") as file:
        stage = {"kind": "stage", "time": START + 400, "name": "target", "seconds": spent, "status": status}
        file.write(json.dumps(stage) + "\n")
    if share < 1:
        return folder
    write_json(folder / "target/result.json", result(256, TARGET_FLOPS, 0, "target", final, START + 301))
    middle = law(TARGET_FLOPS)
    inside = middle * 0.953 <= final <= middle * 1.047
    write_json(folder / "score.json", {
        "outcome": final, "median": middle, "low": middle * 0.953, "high": middle * 1.047, "inside": inside,
        "relative_error": final / middle - 1,
        "sentence": f"The outcome lies {'inside' if inside else 'outside'} the registered interval.",
    })  # fmt: skip
    write_json(folder / "samples.json", [
        {"prompt": "def __init__(self, ", "text": "name):\n        self.name = name\n        return self\n",
         "temperature": 0.8, "seed": 0},
        {"prompt": "import ", "text": "os\nimport sys\n\n\nclass Test(TestCase):\n", "temperature": 0.8, "seed": 1},
    ])  # fmt: skip
    return folder


def build_complete(folder: Path, hostile: bool = False) -> Path:
    """A run that went to its end."""
    build_target(build_forecast(build_ladder(folder, hostile=hostile)))
    if hostile:
        write_json(folder / "samples.json", [{"prompt": HOSTILE, "text": "\x00\x1b[31m\ud800" + HOSTILE + "</pre>"}])
    return folder


def build_refused(folder: Path) -> Path:
    """A run whose ladder could not carry its forecast."""
    build_forecast(build_ladder(folder))
    sentence = "Local slopes rise from 0.07 to 0.10 over the ladder: its rungs are not past a transition."
    findings = [{"code": "slopes", "severity": "refusal", "sentence": sentence}]
    edit(folder / "forecast.json", "forecast.findings", findings)
    write_json(folder / "refusal.json", {"sentences": [sentence], "anyway": False})
    return folder


def build_interrupted(folder: Path) -> Path:
    """A run stopped in the middle of its target."""
    return build_target(build_forecast(build_ladder(folder)), share=0.4)
