"""`torchgraft zoo`: the models that can be built by name, and what is published of them."""

from __future__ import annotations

import click

from torchgraft.cli.choice import Choice
from torchgraft.cli.options import output_options
from torchgraft.cli.output import Output

__all__ = ["zoo"]


@click.command()
@click.argument("action", type=Choice(["list", "show"]))
@click.argument("name", required=False)
@click.option("--published", is_flag=True, help="list: only models with published weights.")
@output_options
def zoo(action: str, name: str | None, published: bool, output: Output) -> None:
    """List the models that NAME fits (a pattern with *; default: all), or show what is known of one.

    Nothing is downloaded, but for the small files that describe a model of the Hugging Face hub.

    \b
    torchgraft zoo list 'torchvision/*'
    torchgraft zoo list '*vit*' --published
    torchgraft zoo show torchvision/resnet152
    torchgraft zoo show timm/resnet18 --json
    """
    import torchgraft as tg
    from torchgraft.report.terminal import model_view, models_view
    from torchgraft.zoo.catalogue import stated

    if action == "show":
        if name is None or published:
            raise click.UsageError(
                "show takes the NAME of a model" if name is None else "--published is for list"
            )
        model = tg.published(name)
        output.result(model_view(model), model.to_json)
        return
    models = [stated(full) for full in tg.list_models(name or "*", published=published)]
    output.result(
        models_view(models),
        lambda: {"models": [model.to_json(labels=False) for model in models]},
        lines=len(models) + 2,
    )
