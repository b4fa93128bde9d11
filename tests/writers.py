"""Stand-ins for the thread that writes checkpoints: what it does when is decided here, not by the machine."""

from concurrent.futures import Executor, Future


class AtOnce(Executor):
    """Writes before it answers, as if the disk took no time."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is raised to whoever waits
            future.set_exception(error)
        return future


class AtTheLastMoment(Executor):
    """Writes only when somebody waits for it, as if the disk took longer than an epoch."""

    def submit(self, fn, /, *args, **kwargs):
        return _Asked(AtOnce(), fn, args, kwargs)


class _Asked:
    def __init__(self, executor, *call):
        self._executor, self._call = executor, call

    def done(self):
        return False

    def result(self):
        fn, args, kwargs = self._call
        return self._executor.submit(fn, *args, **kwargs).result()
