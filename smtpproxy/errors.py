"""Every error that smtpproxy raises on purpose, in one tree; it knows no other module.

SmtpProxyError                 anything a user can act on; the command line prints it as one line
├ ConfigError                  a flag, a variable or a key of the configuration is wrong     exit 2
│ └ EndpointError              a listen or upstream URL is wrong                             exit 2
├ ServiceError                 a port is taken, a store is in use, a CA cannot be read       exit 2
│ ├ StoreError                 the event log cannot be opened, read or written               exit 2
│ └ CertificateError           the authority or a certificate cannot be read or made         exit 2
├ ReplayError                  a recorded session cannot be rerun as asked                   exit 2
├ RecordingError               a recording file cannot be read; names file and line          exit 2
│ └ TooNewError                it was written by a later smtpproxy                           exit 2
├ FilterError                  a filter cannot be read; names the column                     exit 2
└ NotFoundError                no such session                                               exit 2
"""


class SmtpProxyError(Exception):
    """What happened, where, and what to do next, in one line that is fit for a terminal."""

    exit_code = 2


class ConfigError(SmtpProxyError):
    """A flag, an environment variable or a key of smtpproxy.toml is wrong."""


class EndpointError(ConfigError):
    """A listen or upstream URL is wrong."""


class ServiceError(SmtpProxyError):
    """Something that the service needs cannot be had: a port, a file, a folder."""


class StoreError(ServiceError):
    """The event log cannot be opened, read or written."""


class CertificateError(ServiceError):
    """The authority or a certificate cannot be read or made."""


class ReplayError(SmtpProxyError):
    """A recorded session cannot be rerun as asked; nothing was connected, or no more than that."""


class RecordingError(SmtpProxyError):
    """A recording file cannot be used as it is.

    Attributes:
        file: what was read, as the user named it.
        line: the line it happened on, from 1; 0 where it concerns the whole file.
    """

    def __init__(self, file: str, line: int, problem: str) -> None:
        where = f"{file}:{line}" if line else file
        super().__init__(f"{where}: {problem}")
        self.file = file
        self.line = line
        self.problem = problem


class TooNewError(RecordingError):
    """The recording's format is newer than this smtpproxy reads."""


class FilterError(SmtpProxyError):
    """A filter cannot be read.

    Attributes:
        column: where in the filter, in characters from 1.
        problem: what is wrong there, and what would be right.
    """

    def __init__(self, column: int, problem: str) -> None:
        super().__init__(f"filter, column {column}: {problem}")
        self.column = column
        self.problem = problem


class NotFoundError(SmtpProxyError):
    """There is no such session in the store."""
