import io
import json
import os
import signal
import socket
from pathlib import Path

import pytest
from live import seeing_chat, seeing_model, small_chat, small_model
from pictures import GOOD, encoded, part

from foretell.cli.main import main
from foretell.cli.serve import adapters, size
from foretell.core.errors import UserError
from foretell.infer.engine import Engine, EngineOptions
from foretell.infer.sampling import Sampling
from foretell.model.hf import save_hf
from foretell.serve.terminal import TerminalChat


class Terminal:
    """Lines in, text out."""

    def __init__(
        self, lines: list[object], most: int | None = 8, context: int = 400, seeing: bool = False
    ) -> None:  # fmt: skip
        model = seeing_chat() if seeing else small_chat()
        decoder = (seeing_model if seeing else small_model).decoder(context=context)
        engine = Engine(decoder, model.tokenizer, EngineOptions(memory=2**24))
        self.out, self._lines = io.StringIO(), iter(lines)
        self.chat = TerminalChat(
            engine, model.chat, model.end_of_turn_ids, Sampling(seed=1), most, self.out.write, model.images
        )  # fmt: skip

    def read(self, _: str) -> str:
        line = next(self._lines, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    def run(self) -> str:
        self.chat.run(self.read)
        return self.out.getvalue()


def test_a_conversation_with_commands(tmp_path: Path) -> None:
    terminal = Terminal(
        ["hello", "", "/system be brief", "/regenerate", "more", f"/save {tmp_path}/c.json", f"/save {tmp_path}/c.md",
         "/save", "/nothing", "/help", KeyboardInterrupt(), "/system", "/reset", "/regenerate", "/quit", "never"]
    )  # fmt: skip
    out = terminal.run()
    saved = json.loads((tmp_path / "c.json").read_text())["messages"]
    assert [message["role"] for message in saved] == ["system", "user", "assistant", "user", "assistant"]
    assert saved[0]["content"] == "be brief" and saved[1]["content"] == "hello" and saved[4]["content"] in out
    assert (tmp_path / "c.md").read_text().startswith("# Conversation\n\n## System\n\nbe brief\n\n## User\n\nhello")
    for sentence in ("/save needs the name", "/nothing is no command", "Ctrl-C stops", "no answer yet", "be brief"):
        assert sentence in out
    assert terminal.chat.messages == []


def test_what_is_too_long_is_said_and_the_oldest_turns_make_room() -> None:
    terminal = Terminal(["hello world " * 60, "hello", "hello " * 6, "hello " * 6], most=30, context=160)
    out = terminal.run()
    assert "the context has 160" in out and "oldest turns are left out" in out
    assert len(terminal.chat.messages) == 2


def test_ctrl_c_stops_an_answer_and_not_the_conversation() -> None:
    terminal = Terminal([], most=None)
    write = terminal.out.write

    def interrupting(text: str) -> None:
        write(text)
        if len(terminal.out.getvalue()) > 5:
            os.kill(os.getpid(), signal.SIGINT)

    terminal.chat._write = interrupting
    terminal.chat._sampling = Sampling(logit_bias={80: 100})
    assert 5 < len(terminal.chat.answer("hello")) < 50
    assert terminal.chat.messages[-1]["role"] == "assistant"
    terminal.chat._write = write
    terminal.chat._most = 3
    assert len(terminal.chat.answer("hello")) == 3


def test_one_question_by_option_and_by_pipe(small_folder: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["chat", str(small_folder), "--max-tokens", "9", "--seed", "1"]
    outs = []
    for piped, more in (("", ["-m", "hello"]), ("hello\n", [])):
        monkeypatch.setattr("sys.stdin", io.StringIO(piped))
        assert main([*command, *more]) == 0
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[1] and outs[0].endswith("\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["chat", "--temperature", "3"], "temperature is 3; a number from 0 to 2 is accepted"),
        (["chat", "--max-tokens", "0"], "--max-tokens is 0"),
        (["chat", "nothing.gguf", "-m", "x"], "There is no model"),
        (["chat", "-m", ""], "The question is empty"),
        (["serve", "--port", "-1"], "--port is -1"),
        (["serve", "--port", "70000"], "--port is 70000"),
        (["serve", "--host", "no.such.host.invalid"], "cannot listen at no.such.host.invalid"),
        (["serve", "--max-batch", "0"], "--max-batch is 0; a number from 1"),
        (["serve", "--cache-memory", "lots"], "--cache-memory is 'lots'; a size such as 512MiB"),
        (["serve", "--grace", "nan"], "--grace is nan"),
        (["serve", "--max-images", "-1"], "--max-images is -1; a number from 0"),
        (["serve", "--max-image", "lots"], "--max-image is 'lots'; a size such as"),
        (["serve", "--adapter", "x"], "NAME=DIRECTORY is expected"),
        (["serve", "--bits", "5"], "invalid choice"),
        (["serve", "extra"], "unrecognized arguments"),
    ],
)
def test_bad_options(arguments, sentence, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(arguments) == 2
    assert sentence in capsys.readouterr().err.replace("\n", " ")


def test_a_port_that_is_taken_is_said_before_the_model_is_loaded(capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port), "--model", "/no/such/model"]) == 2
    assert f"cannot listen at 127.0.0.1, port {port}" in capsys.readouterr().err.replace("\n", " ")


def test_sizes_and_adapters(tmp_path: Path) -> None:
    assert [size("--x", text) for text in ("1GiB", "512 MiB", "1.5k", "2GB", "77")] == [
        2**30, 2**29, 1536, 2 * 10**9, 77]  # fmt: skip
    assert adapters([f"a={tmp_path}"]) == {"a": tmp_path}
    for given in (["a"], ["=x"], [f"a={tmp_path}", f"a={tmp_path}"], ["a=/no/such/folder"]):
        with pytest.raises(UserError, match="--adapter"):
            adapters(given)


def test_images_in_a_conversation(tmp_path: Path) -> None:
    first, second = tmp_path / "a picture.png", tmp_path / "b.png"
    first.write_bytes(GOOD)
    second.write_bytes(encoded(seeing_model.picture(32, 32, 3)))
    (tmp_path / "notes.txt").write_text("no image")
    lines = [f"/image {first}", f"/image '{second}'", "what are these?", "and now?", "/regenerate",
             f"/image {tmp_path}/none.png", f"/image {tmp_path}/notes.txt", f"/image {second}", "/image",
             f"/image {first}", "/regenerate", "one more", f"/save {tmp_path}/c.json", f"/save {tmp_path}/c.md",
             "/reset"]  # fmt: skip
    terminal = Terminal(lines, seeing=True)
    requests = []
    stream = terminal.chat._engine.stream
    terminal.chat._engine.stream = lambda request: requests.append(request) or stream(request)
    out = terminal.run()
    assert [len(request.images) for request in requests] == [2, 2, 2, 2, 3]
    assert requests[0].images[1] == terminal.chat._reader.prepared(seeing_model.picture(32, 32, 3))
    assert "none.png cannot be read (No such file" in out and "notes.txt is no image" in out
    assert f"images of the next message: {first}, {second}\n" in out and "next message: (none)\n" in out
    saved = json.loads((tmp_path / "c.json").read_text())["messages"]
    assert saved[0]["content"] == [part(str(first)), part(str(second)), {"type": "text", "text": "what are these?"}]
    assert saved[2]["content"] == "and now?" and [one["type"] for one in saved[4]["content"]] == ["image_url", "text"]
    written = (tmp_path / "c.md").read_text()
    assert f"![Image 1]({str(first).replace(' ', '%20')})\n\n![Image 2]({second})\n\nwhat" in written


def test_images_make_room_with_their_turns(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(seeing_model.picture(32, 32, 3)))
    terminal = Terminal([f"/image {tmp_path}/a.png", "what is this?", "more " * 12, "more " * 12], 30, 220, seeing=True)
    out = terminal.run()
    assert "oldest turns are left out" in out and not any(one.get("images") for one in terminal.chat.messages)


def test_a_question_about_an_image(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch, small_folder: Path) -> None:
    seeing_chat().tokenizer.save(tmp_path / "seer")
    save_hf(seeing_model.decoder(), tmp_path / "seer")
    for number in (1, 2):
        (tmp_path / f"{number}.png").write_bytes(encoded(seeing_model.picture(24, 16, number)))
    outs = []
    for number in (1, 2, 1):
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        command = ["chat", str(tmp_path / "seer"), "-m", "what?", "--seed", "1", "--max-tokens", "9"]
        assert main([*command, "--image", str(tmp_path / f"{number}.png")]) == 0
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[2] != outs[1]
    for folder, image, words in ((tmp_path / "seer", "none.png", "none.png cannot be read"),
                                 (small_folder, str(tmp_path / "1.png"), "reads text alone")):  # fmt: skip
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert main(["chat", str(folder), "-m", "what?", "--image", image]) == 2
        assert words in capsys.readouterr().err.replace("\n", " ")
