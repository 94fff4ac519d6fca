"""How often `lrx.diagnose` is right, and by how much its correction is wrong.

Runs: the nine development tasks of `benchmarks.choose` × SGD, momentum, Adam, Adagrad, RMSprop, Lion × constant, step,
cosine, linear, WSD, triangular schedules × 25 rates over six decades × two seeds, 400 steps of 32 rows; verdicts are
asked for after a quarter, a half and all of each run. A tenth of the runs get a huge first loss, a tenth an outlier.

Truth: a rate is fine if its final loss, the mean over the last twentieth and over the seeds, is above that of the best
rate of its sweep by at most 5 % of the best's descent; else it is too low or too high, as it lies below or above the
best rate. A run that ends without a finite loss is too high. The right correction is the best rate over the rate.
The truth is always that of the whole run.

Curves: the kinds of `curves.py`, 30 draws each, one in ten without noise. Epochs that repeat are looked for in curves
alone: the runs draw new batches.

Unknown is wrong in the balanced accuracy; it is neither ill nor fine in the shares of what is called so.

Each task is judged by numbers that were fitted without it, each kind of curve by numbers that were fitted without that
kind; the prior of a fine rate is chosen without them as well (`choice.py`). `--fit` writes the numbers fitted and
chosen on all of them, which are those of the library.
"""
