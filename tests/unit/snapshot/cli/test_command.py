"""How a command ends when something goes wrong."""

import errno

import pytest

from projections.errors import OperatorError
from snapshot.cli.command import run


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OperatorError("mend\nthis"), 2, "mend this\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/y"),
            2,
            "could not go on: /x/y: No space left on device; ",
        ),
        (OSError(errno.EIO, "Input/output error"), 2, "could not go on: Input/output error; "),
        (KeyboardInterrupt(), 130, ""),
        (RuntimeError("a mistake of ours"), 2, "Traceback"),
        (SystemExit(1), 1, ""),
    ],
)
def test_only_a_run_that_came_to_its_end_ends_with_1(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def app() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run(app)
    assert ended.value.code == code
    assert capsys.readouterr().err.startswith(says)
