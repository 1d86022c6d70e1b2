"""The errors that reach a person as one line.

Everything that is a mistake in the input, not in the program, is raised as
`UserError`; the command line prints it without a traceback and ends with
status 2.
"""


class UserError(ValueError):
    """A mistake in what was given: names the input, what was found, what to do."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came: everything ends as after Ctrl-C, with the status 143."""


class MissingExtraError(UserError):
    """A command needs an optional part of emojax that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra `{extra}`: run  pip install 'emojax[{extra}]'")
        self.extra = extra


def one_line(message: str) -> str:
    """Return a message as a terminal may show it: one line, nothing that would steer the terminal.

    Names of files and what stands in them may hold anything.
    """
    words = " ".join(message.split())
    if words.isprintable():
        return words
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in words
    )
