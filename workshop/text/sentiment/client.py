"""Sentiment of lists of reviews through the served ensembles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workshop.text.embedder import check_strings
from workshop.text.sentiment.signatures import END_TO_END_ONNX, NEGATIVE, POSITIVE
from workshop.triton.client import TritonClient

# two instances share a batch limit of 64: requests of half of it keep both busy
REVIEWS_PER_REQUEST = 32


@dataclass(frozen=True)
class Sentiment:
    """The answer for one review.

    Attributes:
        label: ``positive``, ``negative``, or ``no text`` for a review without a token.
        probability: of the label, 0.5 to 1; 0 for ``no text``.
        truncated: whether the review was longer than 254 tokens and only its beginning was read.
    """

    label: str
    probability: float
    truncated: bool

    @property
    def positive(self) -> float:
        """Probability that the review is positive; not a number for ``no text``."""
        return {POSITIVE: self.probability, NEGATIVE: 1 - self.probability}.get(self.label, float("nan"))


class SentimentClient:
    """Asks an end-to-end ensemble, which tokenises and classifies on the server.

    Reviews are sorted by length, so that a request holds reviews of similar length: padding costs as much as text.

    Args:
        client: where the ensemble is served.
        model: name of the ensemble.
    """

    def __init__(self, client: TritonClient, model: str = END_TO_END_ONNX.name) -> None:
        self.client = client
        self.model = model

    def __call__(
        self, reviews: Sequence[str], *, progress: Callable[[int, int], None] | None = None
    ) -> list[Sentiment]:
        """Classify reviews.

        Args:
            reviews: any number of strings; empty ones are allowed.
            progress: called with the number of reviews done and the number of all.

        Returns:
            One answer a review, in the order of ``reviews``.

        Raises:
            TensorTypeError: an entry is not a string.
            ServingError: as :meth:`TritonClient.infer`.
        """
        check_strings(reviews, "reviews")
        order = sorted(range(len(reviews)), key=lambda row: len(reviews[row]))
        groups = [order[start : start + REVIEWS_PER_REQUEST] for start in range(0, len(order), REVIEWS_PER_REQUEST)]
        requests = ({"product_reviews": [[reviews[row]] for row in group]} for group in groups)
        answers: dict[int, Sentiment] = {}
        for group, answer in zip(groups, self.client.infer_many(self.model, requests), strict=True):
            columns = (answer[name][:, 0] for name in ("review_index", "label", "probability", "truncated"))
            for index, label, probability, truncated in zip(*columns, strict=True):
                answers[group[int(index)]] = Sentiment(label.decode(), float(probability), bool(truncated))
            if progress:
                progress(len(answers), len(reviews))
        return [answers[row] for row in range(len(reviews))]
