"""What can go wrong when a service is started. Each message is one line a user can act on."""


class EmbeddedError(Exception):
    """An embedded service could not be found, started, or kept running."""


class BinaryMissing(EmbeddedError):
    """No program for an embedded service was found on this machine."""


class PortBusy(EmbeddedError):
    """Someone else listens on a port we were told to use."""


class DiskFull(EmbeddedError):
    """The folder for data has too little room left."""


class NotReady(EmbeddedError):
    """A service was started but died, or did not answer in time."""


class AlreadyRunning(EmbeddedError):
    """Another ``make up`` holds this folder."""
