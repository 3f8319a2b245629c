"""``bci card``."""

from __future__ import annotations

import click
import msgspec

from bci.cli.common import emit, output_options
from bci.errors import ModelError


@click.command()
@click.argument("model", metavar="MODEL")
@output_options
def command(model: str, json_path: str | None, quiet: bool) -> None:
    r"""Print what a model is: its data, people, splits, scores and their spread, limits and intended use.

    \b
    bci card MODEL
    """
    from bci.offline.card import card
    from bci.signal.preprocessing import PreprocessingSpec
    from decoders.checkpoint import load_model
    from decoders.spec import DecoderError

    try:
        loaded = load_model(model)
        preprocessing = msgspec.convert(loaded.preprocessing, PreprocessingSpec)
        text = card(loaded.spec, preprocessing, loaded.info)
    except (DecoderError, msgspec.ValidationError) as error:
        raise ModelError(str(error)) from None
    except KeyError as error:
        raise ModelError(f"model {model}: its spec.json says nothing of {error}; train it again") from None
    emit({"model": model, "model_hash": loaded.hash, "info": loaded.info, "card": text}, text, json_path, quiet)
