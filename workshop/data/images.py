"""Photos that installed packages carry, with the ImageNet classes that name what they show, and folders of own ones."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from workshop.errors import DataMissingError


@dataclass(frozen=True)
class Photo:
    """A photo on disk.

    Attributes:
        name: what it shows.
        path: the file.
        labels: the ImageNet classes that are right for it; empty when no class is.
    """

    name: str
    path: Path
    labels: frozenset[str] = frozenset()


_PHOTOS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("cat", "skimage", "data/chelsea.png", ("Egyptian cat", "tabby", "tiger cat")),
    ("coffee", "skimage", "data/coffee.png", ("espresso", "cup", "coffee mug")),
    ("cameraman", "skimage", "data/camera.png", ("tripod",)),
    ("motorcycle", "skimage", "data/motorcycle_left.png", ("moped", "motor scooter")),
    ("rocket", "skimage", "data/rocket.jpg", ("missile", "projectile")),
    ("clock in motion", "skimage", "data/clock_motion.png", ("analog clock", "wall clock")),
    ("palace garden", "sklearn", "datasets/images/china.jpg", ("palace",)),
    ("admiral", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", ("military uniform",)),
    ("astronaut", "skimage", "data/astronaut.png", ()),
    ("dahlia", "sklearn", "datasets/images/flower.jpg", ()),
)


def sample_photos() -> list[Photo]:
    """Ten photos from scikit-image, scikit-learn and Matplotlib; two of them show what ImageNet has no class for.

    Raises:
        DataMissingError: a package is not installed, or does not hold the photo.
    """
    photos = []
    for name, package, file, labels in _PHOTOS:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None or not (path := Path(spec.origin).parent / file).is_file():
            raise DataMissingError(f"photo {file} of package {package} is missing", hint="make setup")
        photos.append(Photo(name, path, frozenset(labels)))
    return photos


def photos_in(folder: Path) -> list[Photo]:
    """The files of a folder as photos, sorted by name; hidden files and folders are left out.

    A link whose file is gone is listed too, so that who reads the photos names it.

    Raises:
        DataMissingError: no such folder, or it holds no file.
    """
    if not folder.is_dir():
        raise DataMissingError(f"{folder} is not a folder", hint="name a folder that holds photos")
    entries = (path for path in folder.iterdir() if path.is_file() or not path.exists())
    files = sorted(path for path in entries if not path.name.startswith("."))
    if not files:
        raise DataMissingError(f"{folder} holds no files", hint="name a folder that holds photos")
    return [Photo(path.stem, path) for path in files]
