"""Room for open files: the process's limit is raised to fit the sessions it promises; it opens none."""

import resource

PER_SESSION = 2
"""Two sockets; unlike threads and timers, those cannot be shared."""
RESERVE = 128
"""Listeners, the store and its readers, log files, name look-ups, the interpreter's own."""


def make_room(max_sessions: int, *, others: int = 0) -> int:
    """Raise the soft limit on open files where it is too low for that many sessions.

    Without descriptors `accept` and every dial would fail with "too many open files".

    Args:
        others: descriptors that are needed besides, such as those of the page.

    Returns:
        How many sessions there is room for: `max_sessions`, or fewer where the hard limit is lower.
    """
    needed = max_sessions * PER_SESSION + RESERVE + others
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_enough(soft, needed):
        return max_sessions
    wanted = needed if _is_enough(hard, needed) else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        wanted = soft  # macOS says no hard limit and means one
    return max_sessions if wanted >= needed else max(1, (wanted - RESERVE - others) // PER_SESSION)


def _is_enough(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed
