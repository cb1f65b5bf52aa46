"""The progress line of long cells."""

from workshop.runner.progress import progress_line


def test_first_and_last_are_shown_and_what_comes_too_soon_is_not(capsys):
    show = progress_line("films", seconds=60)
    for done in (1, 2, 1500, 2000):
        show(done, 2000)
    assert capsys.readouterr().out == "\r1 of 2,000 films\r2,000 of 2,000 films\n"


def test_every_step_is_shown_when_no_time_is_asked_for(capsys):
    show = progress_line("texts", seconds=0)
    for done in (1, 2, 3):
        show(done, 3)
    assert capsys.readouterr().out == "\r1 of 3 texts\r2 of 3 texts\r3 of 3 texts\n"
