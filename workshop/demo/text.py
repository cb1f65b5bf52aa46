"""The tab of texts: labels that nobody trained a model on."""

from __future__ import annotations

from nicegui import ui

from workshop.demo.parts import Latest, Missing, Tab, bar, heading, missing_models, newest_answered, note
from workshop.demo.services import Services
from workshop.errors import DataInvalidError
from workshop.text.classifier import Classification, ZeroShotClassifier
from workshop.text.ensembles import ZERO_SHOT_TEXT
from workshop.text.signatures import HYPOTHESIS_TEMPLATE

EXAMPLE = "Jupiter's biggest moons started as tiny grains of hail"
EXAMPLE_LABELS = "business, space and science, politics"
MOST_LABELS, LONGEST_LABEL, LONGEST_TEXT = 50, 100, 20_000


def missing(services: Services) -> list[Missing]:
    """The zero-shot ensemble."""
    return missing_models(services, [ZERO_SHOT_TEXT], 'make run NOTEBOOKS="01 02"  (notebook 02 traces it)')


def split_labels(text: str) -> list[str]:
    """Labels between commas, each once.

    Raises:
        DataInvalidError: there is none, or they are too many or too long.
    """
    labels = list(dict.fromkeys(label.strip() for label in text.split(",") if label.strip()))
    if not 1 <= len(labels) <= MOST_LABELS:
        raise DataInvalidError(f"{len(labels)} labels, expected 1 to {MOST_LABELS}", hint=EXAMPLE_LABELS)
    if longest := max(labels, key=len)[LONGEST_LABEL:]:
        raise DataInvalidError(f"a label has {len(longest) + LONGEST_LABEL:,} characters, expected {LONGEST_LABEL}")
    return labels


def classify(services: Services, text: str, labels: str, template: str) -> Classification:
    """The labels of a text, best first.

    Raises:
        WorkshopError: something blank or too long; or as :class:`workshop.text.classifier.ZeroShotClassifier`.
    """
    if not 1 <= len(text.strip()) <= LONGEST_TEXT:
        raise DataInvalidError(f"the text has {len(text.strip()):,} characters, expected 1 to {LONGEST_TEXT:,}")
    if "{}" not in template or len(template) > LONGEST_LABEL:
        raise DataInvalidError("the sentence has no {} where the label goes, or is too long", hint=HYPOTHESIS_TEMPLATE)
    return ZeroShotClassifier(services.triton)([text.strip()], split_labels(labels), template)[0]


async def build(services: Services) -> None:
    """Draw the tab."""
    with ui.column().classes("card gap-3"):
        heading("What is this text about?")
        text = ui.textarea("A text", value=EXAMPLE).props("outlined autogrow").classes("w-full")
        labels = ui.input("Your labels, with commas between them", value=EXAMPLE_LABELS)
        labels.props("outlined").classes("w-full")
        template = ui.input("The sentence that each label is put into", value=HYPOTHESIS_TEMPLATE)
        template.props("outlined dense").classes("w-full")
        button = ui.button("Classify", icon="label")
        note("Enter in a field of one line does it too, and Ctrl+Enter in the text.")
    results = ui.column().classes("w-full gap-3").props("aria-live=polite")

    latest = Latest()

    async def ask() -> None:
        is_newest = latest.begin()  # Enter asks again while the button is off
        given = (text.value or "", labels.value or "", template.value or "")
        button.disable()
        try:
            answer = await newest_answered(is_newest, results, classify, services, *given)
        finally:
            button.enable()
        if answer is None:
            return
        results.clear()
        with results, ui.column().classes("card gap-3"):
            for label, probability, score in zip(answer.labels, answer.probabilities, answer.scores, strict=True):
                with ui.column().classes("w-full gap-1"):
                    with ui.row().classes("w-full justify-between no-wrap"):
                        ui.label(label).classes("title wrap")
                        ui.label(f"{probability:.0%}").classes("title")
                    bar(float(probability), f"{probability:.0%}")
                    note(f"score {score:.3f}")

    button.on_click(ask)
    for line in (labels, template):
        line.on("keydown.enter", ask)
    text.on("keydown.ctrl.enter", ask)


TAB = Tab("Text", "notes", missing, build)
