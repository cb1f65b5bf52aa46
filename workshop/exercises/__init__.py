"""Exercises that answer: a check for every exercise of the notebooks, and a quiz for every notebook."""

from workshop.exercises.checking import check
from workshop.exercises.questions import quiz

__all__ = ["check", "quiz"]
