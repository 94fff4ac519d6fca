"""`lrx.Search` as a sampler of Optuna's and `lrx.halving` as a pruner. Needs the extra `optuna`.

Any number of workers share one study, through a storage of Optuna's: a journal file, SQLite or another database. Each
worker runs this script::

  import lrx, optuna
  from lrx.integrations.optuna import SearchSampler

  sampler = SearchSampler(steps=10_000)                  # the arguments of lrx.Search

  def objective(trial):
      run = sampler.run(trial)                           # an lrx.Trial
      losses = train(lrx.adamw(run.schedule), steps=run.steps, seed=run.seed)
      return sampler.value(trial, losses)

  storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend("rates.log"))
  study = optuna.create_study(study_name="rates", storage=storage, sampler=sampler, load_if_exists=True)
  study.optimize(objective)                              # ends when the search is done

  sampler.search(study).result.learning_rate

`train` makes `run.steps` updates from a fresh start and gives the training loss before each of them. The answer is that
of the search, `result`, with an interval and what is to be doubted; `study.best_trial` is another thing, since trials
of different lengths are in it.

**Nothing is kept between trials.** The sampler makes the search anew from the trials of the study each time that it is
asked, so that a worker may come, go, or be killed at any moment. A trial that stays RUNNING for ever is given to
another worker when nothing else is left to do, and the first one to finish counts. A trial that failed (an exception,
a NaN, a worker that a heartbeat found dead) is made once more, and has diverged if it fails again.

**Asking and telling.** `study.ask()` and `study.tell(trial, sampler.value(trial, losses))` do the same;
`sampler.search(study).done` says when to stop.

**Without `value`.** An objective may return any number that is to be minimised, the validation loss, say, and
`float("inf")` if it is not finite. Then report the loss at step 0, `trial.report(loss, step=0)`, by which the result
knows whether anything was learnt.

**Other samplers.** `HalvingPruner` stops the worse trials of a grid, of random search or of TPE on their way.
"""

try:
    import optuna as _optuna  # noqa: F401
except ImportError as error:
    raise ImportError('lrx.integrations.optuna needs Optuna: pip install "lrx[optuna]"') from error

from ._pruner import HalvingPruner as HalvingPruner
from ._sampler import SearchSampler as SearchSampler
