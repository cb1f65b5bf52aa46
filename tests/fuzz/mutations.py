"""Valid bytes made wrong in many small ways, and readers that must not mind."""

from __future__ import annotations

import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType

from readers import Reader

LONGEST_SECONDS = 10.0
"""A case that takes longer counts as a hang."""
_TOKENS = (
    b"", b"\0", b"\xff", b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\n", b"\r\n", b'"', b"''", b",", b",,", b";",
    b"{", b"}", b"[", b"]", b"[" * 2000, b'{"a":' * 1500, b"null", b"true", b"nan", b"inf", b"-inf", b"NaN", b"1e999",
    b"-1", b"0", b"9" * 25, b"18446744073709551616", b"-9223372036854775809", b"1e-400", b"0x1F", b"\\u0000",
    b"\\ud800", b"../../etc/passwd", b"/", b"%s%n", b"2300", b"2302", b"type", b"_key", b"max_batch_size: -1",
    b"dims: [ 99999999999 ]", b"2024-13-45", b"9999-99-99T99:99:99Z", b"0001-01-01", b" ", b"\t", b"\xef\xbb\xbf",
)  # fmt: skip


class Hang(BaseException):
    """A case takes too long. No Exception: readers turn some of those, TimeoutError too, into refusals of their own."""


@dataclass(frozen=True)
class Crash:
    """Bytes on which a reader raised what it should not, or hung."""

    reader: str
    data: bytes
    error: str


def mutated(examples: Sequence[bytes], chance: random.Random) -> bytes:
    """One example with one to four random changes."""
    data = bytearray(chance.choice(examples))
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((1, 1, 2, 4, 16, 64)))
        match chance.randrange(7):
            case 0:
                data[start:end] = bytes(chance.randrange(256) for _ in range(end - start))
            case 1:
                del data[start:end]
            case 2:
                data[start:start] = data[start:end] * chance.choice((1, 2, 50))
            case 3:
                data[start:start] = chance.choice(_TOKENS)
            case 4:
                data[start:end] = chance.choice(_TOKENS)
            case 5:
                other = chance.choice(examples)
                data[start:] = other[min(start, len(other)) :]
            case _:
                del data[start:]
    return bytes(data)


def fuzz(reader: Reader, cases: int, seed: int) -> list[Crash]:
    """Give a reader so many mutated examples; the result is what it stumbled over, ten of them at most."""
    chance = random.Random(seed)
    crashes: list[Crash] = []
    previous = signal.signal(signal.SIGALRM, _too_long)
    try:
        for _ in range(cases):
            data = mutated(reader.examples, chance)
            if error := problem(reader, data):
                crashes.append(Crash(reader.name, data, error))
                if len(crashes) == 10:
                    break
    finally:
        signal.signal(signal.SIGALRM, previous)
    return crashes


def problem(reader: Reader, data: bytes) -> str:
    """What is wrong with how a reader takes bytes; empty when it reads or refuses them."""
    signal.setitimer(signal.ITIMER_REAL, LONGEST_SECONDS)
    try:
        reader.read(data)
    except reader.refusals as error:
        return "" if str(error) else f"{type(error).__name__} without a message"
    except (Hang, Exception) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return ""


def _too_long(_: int, __: FrameType | None) -> None:
    raise Hang(f"still reading after {LONGEST_SECONDS:.0f} s")
