"""The stages of a run, in order; each leaves a record and is passed over where the record is there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from foretell.core.errors import ForecastRefusedError, InterruptedRunError, UserError
from foretell.core.files import read_json, require_space, write_json
from foretell.core.hardware import available_cores, environment
from foretell.core.progress import duration, say
from foretell.data.config import IMAGE_BREAK, IMAGE_END, IMAGE_TOKEN
from foretell.data.corpus import freeze_corpus
from foretell.data.records import read_documents
from foretell.data.tokenizer import Tokenizer, train_tokenizer
from foretell.data.tokens import TokenDataset, tokenize_corpus
from foretell.data.visual.encode import VisualEncoder
from foretell.data.visual.freeze import freeze_visual, visual_texts
from foretell.infer.generate import generate_text
from foretell.ladder.jobs import forget_weights, job_folder, run_jobs
from foretell.ladder.plan import plan_record, planned_sizes
from foretell.ladder.token_features import forget_unreadable, rung_nats, save_nats
from foretell.ladder.tuning import choose_learning_rate
from foretell.laws.records import Finding
from foretell.model.hf import load_hf, save_hf
from foretell.recipes.code_exam import CodeExam, require_sandbox
from foretell.recipes.config import Recipe
from foretell.recipes.forecasts import TEXT, Forecasts
from foretell.recipes.planning import foreseen, measured_peak, plan_of, text_share
from foretell.recipes.references import told_by_tokens
from foretell.recipes.text_generators import GENERATORS
from foretell.recipes.visual_exam import examine, in_words, not_begun
from foretell.recipes.workspace import Workspace
from foretell.report.page import write_report
from foretell.train.config import RunSettings
from foretell.train.display import Display
from foretell.train.interrupt import graceful_stop, stop_requested
from foretell.train.looking import pretrain
from foretell.train.loop import recorded_result, trained_model
from foretell.train.multimodal import ANSWERS

LONGEST_SAMPLE_PROMPT = 200  # characters
LEAST_TEXT = 1_000_000  # bytes: what a tokenizer and a held-out split need where a run reads images for the most part


class Pipeline:
    """One recipe carried out in its run directory."""

    def __init__(self, recipe: Recipe, workspace: Workspace, anyway: bool) -> None:
        self.recipe, self.workspace, self.anyway = recipe, workspace, anyway
        self.plan = plan_of(recipe)
        self.path = workspace.path
        self.visual_from = recipe.visual.sources
        self.forecasts = Forecasts(
            workspace.folder, recipe.visual.share if self.visual_from else 0.0, bool(recipe.code.problems)
        )

    def run(self) -> dict[str, Any]:
        """All stages; returns the score.

        Raises:
            ForecastRefusedError: when the ladder cannot carry the forecast, unless ``anyway``.
            InterruptedRunError: on SIGTERM or Ctrl-C; the same call goes on.
            UserError: for anything the user has to put right.
        """
        self.environment()
        if self.recipe.code.problems and not self.path("code.json").exists():
            require_sandbox()
        self.foresee()
        self.once("corpus/summary.json", "Corpus: reading, filtering and freezing documents", self.corpus)
        self.once("tokenizer/tokenizer.json", "Tokenizer", self.tokenizer)
        self.once("tokens/index.json", "Tokens", self.tokens)
        self.check_size()
        if self.visual_from:
            self.once("visual/index.json", "Images: drawing and encoding questions about them", self.visual)
            self.plan = self.plan.with_documents(read_json(self.path("visual", "index.json"))["splits"]["train"])
        self.once("ladder/tuning.json", "Ladder: tuning the learning rate on the smallest rungs", self.tune)
        self.once("ladder/rungs.json", "Ladder: training the rungs", self.rungs)
        if not self.path("forecast.json").exists():
            forget_unreadable(self.path("ladder", "heldout.npy"), TokenDataset(self.path("tokens"), "heldout"))
            self.once("ladder/heldout.npy", "Ladder: what rungs pay for each token", self.rung_tokens)
        if self.visual_from:
            self.once("ladder/images.json", "Ladder: asking the largest rung about images", self.rung_images)
        if self.recipe.code.problems:
            self.once("ladder/code.json", "Ladder: asking the rungs for micro-code", self.rungs_code)
        self.once("forecast.json", "Forecast", self.forecast)
        self.stand_by_forecast()
        self.once("target/result.json", "Target", self.target)
        if self.recipe.code.problems:
            self.once("code.json", "Asking the target for micro-code", self.target_code)
        self.once("score.json", "Score", self.score)
        if self.visual_from:
            self.once("images.json", "Questions about images", self.images)
        self.once("samples.json", "Samples", self.samples)
        return self.report()

    def once(self, record: str, title: str, stage: Callable[[], None]) -> None:
        """Carry out a stage whose last act is to write ``record``, unless it is there."""
        if stop_requested():
            raise InterruptedRunError(f"Interrupted before '{title}'; the same command goes on from there.")
        if not self.path(record).exists():
            folder, _, _ = record.rpartition("/")
            name = folder if folder not in ("", "ladder") else record.removesuffix(".json")
            with self.workspace.stage(name, title):
                stage()

    def environment(self) -> None:
        """Measure the machine once and record the plan with its price."""
        path = self.path("environment.json")
        if not path.exists():
            write_json(path, environment() | {"matmul_peak": measured_peak(self.recipe), "threads": available_cores()})
        self.peak: float = read_json(path)["matmul_peak"]
        record = plan_record(self.plan, self.peak, available_cores())
        if not self.path("plan.json").exists():
            require_space(self.workspace.folder, record["price"]["disk_bytes"], "this plan")
            write_json(self.path("plan.json"), record)
        elif (
            planned_sizes(read_json(self.path("plan.json"))) != planned_sizes(record)
            and not self.path("score.json").exists()
        ):
            raise UserError(
                f"{self.path('plan.json')} holds other sizes than this version of Foretell plans for the same recipe; "
                "go on with the version that began the run, or choose another folder with --output."
            )

    @property
    def finished(self) -> bool:
        """Whether the target is trained."""
        return self.path("target", "result.json").exists()

    @property
    def data(self) -> str:
        """Digest of the tokens."""
        return str(read_json(self.path("tokens", "index.json"))["digest"])

    def corpus(self) -> None:
        """Freeze as much text as the target needs."""
        wanted = int(self.plan.target.text_tokens * self.plan.bytes_per_token * 1.25)  # a quarter more for safety
        wanted = max(wanted, LEAST_TEXT)
        config = self.recipe.corpus
        config = config.model_copy(update={"max_bytes": min(config.max_bytes, wanted)})
        summary = freeze_corpus(config, self.recipe.seed, self.path("corpus"), GENERATORS)
        for split, counts in summary["splits"].items():
            say(f"  {split}: {counts['documents']:,} documents, {counts['bytes'] / 1e6:.1f} MB")

    def tokenizer(self) -> None:
        """Train the tokenizer on the training side, or take the one named."""
        questions = visual_texts(self.recipe.visual, self.recipe.seed) if self.visual_from else ()
        train_tokenizer(self.path("corpus"), self.recipe.tokenizer, self.path("tokenizer"), questions)

    def visual(self) -> None:
        """Draw or read the images, and write what is asked about them."""
        tokenizer = Tokenizer.from_file(self.path("tokenizer", "tokenizer.json"))
        shape = self.recipe.model.vision
        encoder = VisualEncoder.of(tokenizer, shape.patch, shape.longest)
        processes = self.recipe.ladder.processes or available_cores()
        index = freeze_visual(self.recipe.visual, self.recipe.seed, encoder, self.path("visual"), processes)
        for split, counts in index["splits"].items():
            say(f"  {split}: {counts['images']:,} images, {counts['questions']:,} questions, "
                f"{counts['positions'] / 1e6:.1f} million positions")  # fmt: skip

    def tokens(self) -> None:
        """Write the token shards."""
        tokenizer = Tokenizer.from_file(self.path("tokenizer", "tokenizer.json"))
        index = tokenize_corpus(self.path("corpus"), tokenizer, self.path("tokens"))
        counts = index["splits"]["train"]
        say(f"  {counts['tokens'] / 1e6:.1f} million tokens, {counts['bytes'] / counts['tokens']:.2f} bytes each")

    def check_size(self) -> None:
        """Refuse a corpus that the target would have to read too often; say when it is read more than once."""
        available = read_json(self.path("tokens", "index.json"))["splits"]["train"]["tokens"]
        needed, limit = self.plan.target.text_tokens, self.recipe.target.max_epochs
        wanted = needed * self.plan.bytes_per_token
        if needed > limit * available:
            raise UserError(
                f"The corpus is too small for the plan: {available:,} training tokens, and target.flops "
                f"{self.recipe.target.flops:.3g} asks for {needed:,}, {needed / available:.1f} epochs where "
                f"target.max_epochs allows {limit:g}. Add text to corpus.sources"
                f"{', raise corpus.max_bytes' if self.recipe.corpus.max_bytes < wanted else ''} or lower target.flops."
            )
        if needed > available:
            say(f"  The target reads its corpus {needed / available:.1f} times; rungs read less.", "yellow")

    def jobs(self, settings: list[RunSettings], title: str, keep: bool = False) -> list[dict[str, Any]]:
        """Train small runs side by side; their weights go unless ``keep``."""
        processes = self.recipe.ladder.processes or available_cores()
        data = self.workspace.folder
        return run_jobs(settings, data, self.path("ladder", "runs"), processes, self.peak, title, keep)

    def tune(self) -> None:
        """Choose the base learning rate."""
        by_rate = self.plan.tuning_runs(self.data)
        results = iter(self.jobs([run for runs in by_rate.values() for run in runs], "tuning"))
        share = self.recipe.visual.share if self.visual_from else 0.0
        losses = {rate: [loss_of(next(results), share) for _ in runs] for rate, runs in by_rate.items()}
        record = choose_learning_rate(losses)
        say(f"  {record['sentence']}")
        write_json(self.path("ladder", "tuning.json"), record)

    @property
    def base_rate(self) -> float:
        """The tuned base learning rate."""
        return float(read_json(self.path("ladder", "tuning.json"))["chosen"])

    def rungs(self) -> None:
        """Train every rung and seed."""
        runs = self.plan.rung_runs(self.base_rate, self.data)
        results = self.jobs(runs, "rungs", keep=True)
        diverged = [result["diverged"] for result in results if "diverged" in result]
        if diverged:
            raise UserError(f"A rung diverged: {diverged[0]} Lower ladder.learning_rates.")
        folders = [job_folder(self.path("ladder", "runs"), run).name for run in runs]
        record = [{**result, "folder": folder} for result, folder in zip(results, folders, strict=True)]
        write_json(self.path("ladder", "rungs.json"), record)

    def rung_folders(self) -> dict[Path, RunSettings]:
        """Every rung, the largest first."""
        runs = self.plan.rung_runs(self.base_rate, self.data)
        return {job_folder(self.path("ladder", "runs"), run): run for run in runs}

    def rung_tokens(self) -> None:
        """Write what each held-out token costs the rungs that references know it by, on average over seeds."""
        sizes = [
            [trained_model(folder, run) for folder, run in self.rung_folders().items()
             if (run.model, run.steps) == (size.model, size.steps)]
            for size in self.plan.told_by
        ]  # fmt: skip
        nats = rung_nats(sizes, TokenDataset(self.path("tokens"), "heldout"))
        save_nats(self.path("ladder", "heldout.npy"), nats)

    def rung_images(self) -> None:
        """Ask the largest rung about images."""
        folder, run = next(iter(self.rung_folders().items()))
        write_json(self.path("ladder", "images.json"), examine(run, self.workspace.folder, folder))

    def rungs_code(self) -> None:
        """Ask every rung for micro-code."""
        with CodeExam(self.recipe.code, self.tokenizer_file()) as exam:
            answered = [exam.ask(partial(trained_model, folder), run, folder / "code.json")
                        for folder, run in self.rung_folders().items()]  # fmt: skip
        write_json(self.path("ladder", "code.json"), answered)

    def target_code(self) -> None:
        """Ask the target."""
        settings = self.target_settings()
        with CodeExam(self.recipe.code, self.tokenizer_file()) as exam:
            exam.ask(partial(trained_model, self.path("target")), settings, self.path("code.json"))

    def tokenizer_file(self) -> Tokenizer:
        """The run's tokenizer."""
        return Tokenizer.from_file(self.path("tokenizer", "tokenizer.json"))

    def forecast(self) -> None:
        """Forecast the target's losses and seal them; the rungs' weights have said what they had to say and go."""
        settings, told = self.target_settings(), told_by_tokens(self.workspace.folder, self.plan, self.recipe)
        for folder in self.rung_folders():
            forget_weights(folder)
        context = {
            "recipe_digest": self.recipe.digest(),
            "plan": read_json(self.path("plan.json")),
            "learning_rate": self.base_rate,
            "target_config_hash": settings.digest(),
            "ladder": read_json(self.path("ladder", "rungs.json")),
            "environment": read_json(self.path("environment.json")),
            "corpus_digest": read_json(self.path("corpus", "summary.json"))["digest"],
        }
        known = {TEXT.key: text_share(self.plan) if told is None else ()}
        if self.visual_from:
            known[ANSWERS] = not_begun(read_json(self.path("ladder", "images.json")))
        self.forecasts.register(settings.flops, self.recipe.forecast.level, context, known, told)

    def foresee(self) -> None:
        """Stop before anything is trained if the planned sizes alone cannot carry the forecast.

        Raises:
            ForecastRefusedError: with the reasons, unless ``anyway``.
        """
        if not self.path("forecast.json").exists():
            self.stand_by(foreseen(self.plan, self.recipe), "Nothing was trained")

    def stand_by_forecast(self) -> None:
        """Show the sealed forecast; stop before the target if the ladder cannot carry it.

        Raises:
            ForecastRefusedError: with the reasons, unless ``anyway``.
        """
        self.forecasts.draw()
        if not self.finished:
            self.forecasts.show()
        self.stand_by(self.forecasts.findings(), "The target was not started")

    def stand_by(self, findings: Sequence[Finding], state: str) -> None:
        """Record refusals among ``findings`` and stop at them, unless ``anyway``, now or in an earlier call."""
        reasons = [finding.sentence for finding in findings if finding.severity == "refusal"]
        if not reasons:
            return
        record = self.path("refusal.json")
        anyway = self.anyway or self.recipe.forecast.anyway or (record.exists() and read_json(record)["anyway"])
        write_json(record, {"sentences": reasons, "anyway": anyway})
        if not anyway:
            self.report()
            raise ForecastRefusedError(
                f"This ladder cannot carry this forecast: {' '.join(reasons)} {state}; "
                "--anyway goes on and records the refusal."
            )

    def target_settings(self) -> RunSettings:
        """The target in full."""
        return self.plan.target_run(self.base_rate, self.data)

    def target(self) -> None:
        """Train the target against its sealed forecast, then export it."""
        settings, made = self.target_settings(), self.forecasts.made()
        if self.forecasts.targets() != {settings.digest()}:
            raise UserError(f"{self.path('forecast.json')} was registered for another target; choose another --output.")
        size = self.plan.target
        say(f"  width {size.model.width}, {size.tokens / 1e6:.1f} million tokens, {size.flops:.3g} FLOPs, "
            f"about {duration(read_json(self.path('plan.json'))['price']['target_seconds'])}")  # fmt: skip
        if recorded_result(self.path("target"), settings) is None:
            display = Display("target", f"{made.median:.3f} [{made.low:.3f}, {made.high:.3f}]")
            folder = self.workspace.folder
            pretrain(settings, folder, self.path("target"), peak=self.peak, display=display)

    def score(self) -> None:
        """Export the model and hold its held-out loss against the forecast."""
        settings = self.target_settings()
        model_folder = self.path("model")
        names = (IMAGE_TOKEN, IMAGE_BREAK, IMAGE_END) if self.visual_from else None
        save_hf(trained_model(self.path("target"), settings), model_folder, image_tokens=names)
        Tokenizer.from_file(self.path("tokenizer", "tokenizer.json")).save(model_folder)
        self.forecasts.score(read_json(self.path("target", "result.json")))

    def images(self) -> None:
        """Let the model, and one that never saw an image, answer held-out questions."""
        share, folder = self.recipe.visual.question_only, self.workspace.folder
        blind = self.path("question-only") if share else None
        record = examine(self.target_settings(), folder, self.path("target"), blind, share)
        write_json(self.path("images.json"), record)
        for line in in_words(record):
            say(f"  {line}")

    def samples(self) -> None:
        """Let the model write a few texts for the report."""
        config = self.recipe.samples
        prompts = list(config.prompts) or self.heldout_openings(config.count)
        tokenizer = Tokenizer.from_file(self.path("tokenizer", "tokenizer.json"))
        model = load_hf(self.path("model"))
        write_json(self.path("samples.json"), [
            {"prompt": prompt, "text": "".join(generate_text(model, tokenizer, prompt, tokens=config.tokens,
                                                             temperature=config.temperature, seed=index)),
             "temperature": config.temperature, "seed": index}
            for index, prompt in enumerate(prompts)
        ])  # fmt: skip

    def heldout_openings(self, count: int) -> list[str]:
        """First lines of held-out documents."""
        openings: list[str] = []
        for document in read_documents(self.path("corpus"), ["text"], "heldout"):
            if len(openings) == count:
                break
            opening = document["text"][:LONGEST_SAMPLE_PROMPT]
            openings.append(opening[: opening.rfind("\n") + 1] or opening)
        return openings

    def report(self) -> dict[str, Any]:
        """Write report.html from the records."""
        page = write_report(self.workspace.folder)
        say(f"Report: {page}", "bold")
        return read_json(self.path("score.json")) if self.path("score.json").exists() else {}


def run_recipe(recipe: Recipe, *, anyway: bool = False) -> dict[str, Any]:
    """Carry out a recipe, or go on with it, in ``recipe.output``.

    Raises:
        UserError: see :meth:`Pipeline.run`.
    """
    workspace = Workspace(recipe)
    try:
        with graceful_stop():
            return Pipeline(recipe, workspace, anyway).run()
    finally:
        workspace.close()


def loss_of(result: dict[str, Any], share: float) -> float:
    """Held-out loss by which learning rates are compared; not finite where the run diverged.

    Bits per byte of text, or nats where ``share`` of it is the loss on answers about images.
    """
    if "diverged" in result:
        return math.inf
    found = result["heldout"]
    return float((1 - share) * found["nats_per_token"] + share * found[ANSWERS] if share else found["bits_per_byte"])
