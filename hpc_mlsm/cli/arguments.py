"""Arguments and options that many commands have."""

from pathlib import Path
from typing import Annotated

import typer

Target = Annotated[
    Path, typer.Argument(metavar="CONFIG|RUN", help="A YAML configuration, or the directory of an earlier run.")
]
Run = Annotated[Path | None, typer.Option("--run", help="Run directory; runs/NAME by default.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one setting; may be repeated.")
]
