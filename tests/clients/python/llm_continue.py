"""The ``llm`` command, one process for each turn: ``llm 'first'``, then ``llm -c 'next'``.

It keeps its transcript in its own folder; each user has one, as on a machine with two accounts.
"""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

FUNCTION = """
def get_weather(city: str) -> str:
    "The weather of a city"
    return f"12 degrees in {city}"
"""

plan = json.load(sys.stdin)
print(json.dumps({"client": "llm", "version": version("llm")}))
folders: dict[str, Path] = {}
for turn in plan["turns"]:
    folder = folders.get(turn["token"])
    command = [Path(sys.executable).with_name("llm"), "-m", "m", "--key", turn["token"]]
    if folder is None:
        folder = folders[turn["token"]] = Path.cwd() / f"user-{len(folders)}"
        folder.mkdir()
        model = {
            "model_id": "m",
            "model_name": "m",
            "api_base": plan["url"] + "/v1",
            "headers": plan["headers"],
            "api_key_name": "backstory",
            "supports_tools": True,
        }
        # JSON is YAML
        (folder / "extra-openai-models.yaml").write_text(json.dumps([model]))
    else:
        command.append("-c")
    if plan["tool"]:
        command += ["--functions", FUNCTION]
    if not plan["stream"]:
        command.append("--no-stream")
    answer = subprocess.run(
        [*command, turn["text"]],
        env=os.environ | {"LLM_USER_PATH": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    text = answer.stdout.removesuffix("\n")
    print(json.dumps({"text": text, "receipt": None, "conversation": None}))
