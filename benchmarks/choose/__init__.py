"""How good is an automatic learning rate? Ways of choosing one, compared with the best of a dense sweep.

`python -m benchmarks.choose [--quick] [--only METHOD] [--free] [--json FILE] [--picture FILE] [--oracle FOLDER]`,
with the data from `pip install "lrx[bench]"`; `--free` for lrx's optimizers without a rate to choose. A new method is
one line in `methods.py` or in `grid.py`.

Nine small tasks, batches of 64, 1,000 steps, five seeds; 5 % warmup, then linear to zero. The oracle is Adam at 25
rates from 1e-5 to 10 on the same seeds. A method that picks a rate picks one for each seed, from other batches
(a key that no training uses), and is scored by Adam at exactly that rate from that seed: the same parameters to start
from and the same batches as the oracle's. A learning-rate-free optimizer is scored by its own training.

Losses are those of the final parameters, over the whole training set and over the validation set. With L the mean over
seeds, L_best that of the best swept rate (of training or of validation, each its own) and L_init that before training:

- ratio L / L_best: median over tasks, share of tasks within 5 %, worst;
- normalised regret (L − L_best) / (L_init − L_best), clipped to [0, 1]: mean and worst over tasks;
- log10 of the chosen rate over the best swept one: median.

Intervals are 95 % of the bootstrap, over tasks and over seeds within a task.

Costs are counted in runs: a run is 1,000 gradients, a forward pass is a third of a gradient, a Hessian-vector product
two. They are listed as choosing + training; so are seconds, both with compilation.

A second table (`grid.py`) is for choosing a rate and a schedule together. Its oracle is the best of 32 rates from 1e-4
to 1 under each of four schedules, three seeds; a method names one of these 128 members, and is scored by that member's
mean over the oracle's seeds, so that a lucky seed does not count.

A third question, whether `lrx.find` knows how sure it may be, has a command of its own, `evidence.py`: four optimizers,
fine-tunings from a trained start (`cases.py`), and tasks as users have them (`users.py`). Where its errors come from is
that of `lengths.py`.
"""
