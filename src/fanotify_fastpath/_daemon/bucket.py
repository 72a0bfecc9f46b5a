"""A token bucket: how often something may be done."""

import time
from collections.abc import Callable

Clock = Callable[[], float]


class TokenBucket:
    """
    So many at once, and so many a second in the long run. Not safe to use from several threads.

    :param rate: tokens that come in a second
    :param burst: tokens that can be there at most, and are there first
    :param clock: seconds that only grow
    """

    def __init__(self, rate: float, burst: int, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._rate, self._burst = rate, burst
        self._tokens = float(burst)
        self._at_s = clock()

    def configure(self, rate: float, burst: int) -> None:
        """Change what comes from now on."""
        self._fill()
        self._rate, self._burst = rate, burst
        self._tokens = min(self._tokens, burst)

    def take(self) -> float:
        """
        Take one token, if there is one.

        :return: 0 when it was taken; else the seconds until there will be one
        """
        self._fill()
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate

    def is_full(self) -> bool:
        """Tell whether the bucket is as good as new."""
        self._fill()
        return self._tokens >= self._burst

    def _fill(self) -> None:
        now_s = self._clock()
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
