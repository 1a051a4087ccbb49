"""What a share that was counted in a sample says of the whole."""

from math import sqrt
from typing import Final

Z_95: Final = 1.959963984540054  # of the normal distribution: 95 % lie nearer than so many sigma


def wilson(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a share: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n).

    Parameters
    ----------
    successes, trials
        How many of how many, 0 <= successes <= trials and trials > 0; p is their quotient.
    z
        Half-width of the interval in standard deviations.

    Returns
    -------
    tuple
        Its ends, within [0, 1]. It has a width where p is 0 or 1, too.
    """
    p = successes / trials
    middle = p + z * z / (2 * trials)
    spread = z * sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max((middle - spread) / scale, 0.0), min((middle + spread) / scale, 1.0)
