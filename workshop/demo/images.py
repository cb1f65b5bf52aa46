"""The tab of pictures: drop one, and see what the served classifier sees."""

from __future__ import annotations

from nicegui import events, ui
from PIL import Image

from workshop.demo.parts import Latest, Missing, Tab, alert, bar, heading, missing_models, newest_answered, note
from workshop.demo.services import Services
from workshop.errors import DataInvalidError
from workshop.vision.classification import ClassScore, classifier_form
from workshop.vision.preprocessing import PictureError, decode
from workshop.vision.signatures import image_classifier

MODEL = image_classifier().name
LARGEST_BYTES = 20 * 2**20
CLASSES, SHOWN_PIXELS = 5, 640


def missing(services: Services) -> list[Missing]:
    """The image classifier."""
    remedy = 'make run NOTEBOOKS="08"  (notebook 08 traces and loads it)'
    return missing_models(services, [MODEL], remedy)


def classify(services: Services, content: bytes) -> tuple[Image.Image, list[ClassScore]]:
    """A small copy of an encoded picture, and its likeliest classes, best first.

    Raises:
        DataInvalidError: it is no picture, or one that would give a plausible wrong answer.
        ServingError: as :meth:`workshop.triton.client.TritonClient.infer`.
    """
    try:
        picture = decode(content)
    except PictureError as error:
        raise DataInvalidError(str(error), hint="a JPEG or PNG of a single picture") from error
    form = classifier_form(services.triton.signature(MODEL, fresh=True))
    answer = services.triton.infer(MODEL, form.inputs([form.tensor(picture)]), classes=CLASSES)
    small = picture.copy()
    small.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
    return small, form.classes(answer)[0]


async def build(services: Services) -> None:
    """Draw the tab."""
    with ui.column().classes("card gap-3"):
        heading("What is in this picture?")
        note("Drop a JPEG or PNG below, or choose one by +. It goes to the server on this machine, and is not kept.")
        upload = ui.upload(label="A picture", auto_upload=True, max_file_size=LARGEST_BYTES, max_files=None)
        upload.props('accept="image/*" flat bordered').classes("w-full")
    results = ui.column().classes("w-full gap-3").props("aria-live=polite")

    latest = Latest()

    async def uploaded(event: events.UploadEventArguments) -> None:
        upload.reset()
        is_newest = latest.begin()  # a heavy picture is not to replace a light one that came after it
        if event.file.size() > LARGEST_BYTES:  # the browser's own limit holds for those who use a browser
            rejected()
            return
        content = await event.file.read()
        found = await newest_answered(is_newest, results, classify, services, content)
        if found is None:
            return
        picture, classes = found
        results.clear()
        with results, ui.row().classes("card items-start gap-4"):
            ui.image(picture).classes("rounded").style("max-width: 20rem").props('alt="The picture that was dropped"')
            with ui.column().classes("gap-3 grow").style("flex-basis: 16rem"):
                for each in classes:
                    with ui.column().classes("w-full gap-1"):
                        with ui.row().classes("w-full justify-between no-wrap"):
                            ui.label(each.label or f"class {each.index}").classes("title wrap")
                            ui.label(f"{each.score:.0%}").classes("title")
                        bar(each.score, f"{each.score:.0%}")

    def rejected() -> None:
        latest.begin()
        results.clear()
        with results:
            alert(DataInvalidError(f"not taken: expected one picture of at most {LARGEST_BYTES // 2**20} MB"))

    upload.on_upload(uploaded)
    upload.on_rejected(rejected)


TAB = Tab("Images", "image", missing, build)
