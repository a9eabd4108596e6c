"""Jobs over a Dask scheduler: the JSON of a job goes out, the content of its file comes back.

No folder needs to be shared. A worker refuses a job that it would play differently, so results are those of
this machine to the bit. Dask's own wire carries pickles: a scheduler belongs into a network that is trusted.
"""

from collections.abc import Callable, Sequence

import msgspec
from threadpoolctl import threadpool_limits

from bus.errors import ConfigurationError
from lab.simulator.jobs import Job, do_elsewhere, put

_PATIENCE_S = 20.0  # for a scheduler to answer


def do_all_at(
    address: str, jobs: Sequence[Job], ended: Callable[[Job], None], *, patience_s: float = _PATIENCE_S
) -> None:
    """Do all jobs on the workers of a scheduler; `ended` is called here after each file is written.

    On Ctrl-C, and when a job fails, no other is begun; what runs there runs to its end, and is not kept.

    Args:
        address: "tcp://host:8786", as `dask scheduler` prints it.
        jobs: as `jobs_of` gives them.
        ended: called with each.
        patience_s: for the scheduler to answer.

    Raises:
        ConfigurationError: Dask is not installed here, no scheduler is there, or a worker cannot play.
    """
    try:
        from distributed import Client, as_completed  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise ConfigurationError("--cluster needs Dask: pip install 'cans[cluster]'") from None
    try:
        client = Client(address, timeout=patience_s)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"no Dask scheduler answers at {address} ({error or 'timeout'}): start one with dask scheduler"
        ) from None
    with client:
        waiting = {client.submit(_do, msgspec.json.encode(job), pure=False): job for job in jobs}
        try:
            for future in as_completed(waiting):
                put(future.result(), waiting[future])
                ended(waiting[future])
        except ImportError as error:
            raise ConfigurationError(f"a worker of {address} cannot import cans: {error}") from None
        finally:
            client.cancel(list(waiting))


def _do(job: bytes) -> bytes:
    threadpool_limits(limits=1)  # as in a local worker: matrices are too small for threads
    return do_elsewhere(job)
