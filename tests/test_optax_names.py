"""Every public name of optax is lrx's own, or optax's under its name, or answered with where it is."""

import ast
import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import optax.contrib
import pytest

import lrx
from lrx import _elsewhere, _from_optax, _optax_names

PLACES = {optax: lrx, optax.contrib: lrx.contrib, optax.schedules: lrx.schedules, optax.transforms: lrx.transforms}
NOT_OF_TRAINING = {"matrix_inverse_pth_root", "monte_carlo", "multi_normal", "nnls", "power_iteration"}
"""Linear algebra and distributions, which stay optax's, as losses and projections do."""
RENAMED = {"safe_int32_increment"}
"""Optax's own under an old name, of which optax warns."""
HAS_A_NUMBER = {"apply_every", "measure_with_ema"}
"""Transformations of optax's own that take a number nonetheless: of steps, or of what is only shown."""


DOG = {"dog", "dowg"}
"""Optimizers in `lrx.contrib`, learning rates in `lrx`."""


def public(module):
    names = {name: x for name, x in vars(module).items() if not name.startswith("_")}
    return {k: x for k, x in names.items() if not inspect.ismodule(x) or x.__name__.startswith(module.__name__)}


MODULES = {name: public(x) for name, x in public(optax).items() if inspect.ismodule(x)}
STAYS = {name for module, names in MODULES.items() if module not in _elsewhere.SHARED for name in names}


def is_own(x):
    return getattr(x, "__module__", "").startswith("lrx.")


@pytest.mark.parametrize("place", PLACES, ids=lambda m: m.__name__)
def test_every_name_of_optax_is_classified(place):
    kinds = {"own": [], "optax's": [], "a module": [], "elsewhere": [], "forgotten": []}
    for name, theirs in public(place).items():
        ours = getattr(PLACES[place], name, None)
        if ours is None:
            is_elsewhere = inspect.ismodule(theirs) or name in STAYS or name in NOT_OF_TRAINING
            kind = "elsewhere" if is_elsewhere else "forgotten"
        elif inspect.ismodule(ours) and inspect.ismodule(theirs):
            kind = "a module"
        elif is_own(ours):
            kind = "own"
        else:
            kind = "optax's" if ours is theirs or name in RENAMED else "forgotten"
        kinds[kind].append(name)
    assert kinds["forgotten"] == []
    assert place is optax or kinds["elsewhere"] == []
    assert {*kinds["a module"]} == ({*_elsewhere.SHARED} if place is optax else set())
    assert len(kinds["own"]) > (5 if place is optax.transforms else 10)
    for name in (*kinds["own"], *kinds["optax's"]):  # all of it stands in `lrx` too; the two are the same but for DoG
        assert (getattr(PLACES[place], name) is getattr(lrx, name)) == (PLACES[place] is lrx or name not in DOG)


NUMBERS = (int, float, jax.typing.ArrayLike, optax.ScalarOrSchedule)


OTHERWISE = {"monitor"}
"""Called otherwise than optax's; a dict, which optax's takes, still gives optax's."""


@pytest.mark.parametrize("place", PLACES, ids=lambda m: m.__name__)
def test_arguments_have_the_names_and_the_places_that_optax_gives_them(place):
    def named(function):
        kinds = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
        return [name for name, x in inspect.signature(function).parameters.items() if x.kind not in kinds]

    for name, theirs in public(place).items():
        ours = getattr(PLACES[place], name, None)
        if is_own(ours) and inspect.isfunction(theirs) and name not in OTHERWISE:
            expected = named(theirs)
            assert named(ours)[: len(expected)] == expected, name


def test_what_has_a_number_is_lrxs_own():
    found = set()
    for name, x in public(_from_optax).items():
        if inspect.isfunction(x) and "GradientTransformation" in str(inspect.signature(x).return_annotation):
            annotations = [p.annotation for p in inspect.signature(x).parameters.values()]
            found |= {name} if any(kind in annotations for kind in NUMBERS) else set()
    assert found <= HAS_A_NUMBER and "apply_every" in found


def test_a_state_is_lrxs_own_where_lrx_has_the_rule():
    classes = {}
    for file in Path(lrx.__file__).parent.rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                classes[node.name.lower()] = file.name
    optaxs = [name for name in public(_from_optax) if name.endswith("State") and name.lower() in classes]
    assert optaxs == []


PARAMS = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}
STATES = {
    "ScaleByAdamState": lambda m: m.adamw(0.1),
    "ScaleByLionState": lambda m: m.lion(0.1),
    "ScaleByRssState": lambda m: m.adagrad(0.1),
    "ScaleByAdaDeltaState": lambda m: m.adadelta(0.1),
    "ScaleByAdanState": lambda m: m.adan(0.1),
    "ScaleByAmsgradState": lambda m: m.amsgrad(0.1),
    "ScaleByBeliefState": lambda m: m.adabelief(0.1),
    "ScaleByNovogradState": lambda m: m.novograd(0.1),
    "ScaleByRmsState": lambda m: m.rmsprop(0.1, momentum=0.9),
    "ScaleByRStdDevState": lambda m: m.rmsprop(0.1, centered=True),
    "ScaleByRpropState": lambda m: m.rprop(0.1),
    "ScaleBySM3State": lambda m: m.sm3(0.1),
    "FactoredState": lambda m: m.adafactor(0.1),
    "TraceState": lambda m: m.sgd(0.1, momentum=0.9),
    "EmaState": lambda m: m.chain(m.ema(0.9), m.sgd(0.1)),
    "MaskedState": lambda m: m.masked(m.adam(0.1), {"w": True, "b": False}),
    "PartitionState": lambda m: m.partition({"a": m.adam(0.1)}, "a"),
    "MultiTransformState": lambda m: m.multi_transform({"a": m.adam(0.1)}, "a"),
    "ApplyIfFiniteState": lambda m: m.apply_if_finite(m.adam(0.1), 3),
    "MultiStepsState": lambda m: m.MultiSteps(m.adam(0.1), 3),
    "InjectStatefulHyperparamsState": lambda m: m.inject_hyperparams(m.adam)(0.1),
    "AddNoiseState": lambda m: m.noisy_sgd(0.1),
    "ZeroNansState": lambda m: m.zero_nans(),
    "ScaleByScheduleState": lambda m: m.scale_by_schedule(m.linear_schedule(0.1, 0.0, 3)),
    "ScaleByLBFGSState": lambda m: m.scale_by_lbfgs(),
    "ScaleByZoomLinesearchState": lambda m: m.scale_by_zoom_linesearch(10),
    "ScaleByBacktrackingLinesearchState": lambda m: m.scale_by_backtracking_linesearch(10),
    "ConditionallyTransformState": lambda m: m.conditionally_transform(m.adam(0.1), lambda step: step > 2),
}
IN_CONTRIB = {
    "ScaleByAdemamixState": lambda m: m.ademamix(0.1),
    "COCOBState": lambda m: m.cocob(),
    "DAdaptAdamWState": lambda m: m.dadapt_adamw(),
    "DoGState": lambda m: m.dog(),
    "DoWGState": lambda m: m.dowg(),
    "MomoState": lambda m: m.momo(),
    "MomoAdamState": lambda m: m.momo_adam(),
    "ProdigyState": lambda m: m.prodigy(),
    "ReduceLROnPlateauState": lambda m: m.reduce_on_plateau(),
    "ScheduleFreeState": lambda m: m.schedule_free_sgd(0.1),
    "MadgradState": lambda m: m.madgrad(0.1),
    "GaLoreState": lambda m: m.galore(0.1),
    "MuonState": lambda m: m.muon(0.1),
    "DifferentiallyPrivateAggregateState": lambda m: m.differentially_private_aggregate(1.0, 0.1, 0),
    "SAMState": lambda m: m.sam(optax.sgd(0.1), optax.sgd(0.1)),
    "ScaleBySimplifiedAdEMAMixState": lambda m: m.simplified_ademamix(0.1),
    "HutchinsonState": lambda m: m.hutchinson_estimator_diag_hessian(),
    "SophiaState": lambda m: m.sophia(0.1),
    "MechanicState": lambda m: m.mechanize(optax.adam(0.1)),
}


def test_the_memory_of_a_rule_is_found_by_the_type_that_optax_has_for_it():
    def found(kind, state):
        leaves = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, kind))
        return sum(isinstance(x, kind) for x in leaves)

    for cases, libraries in ((STATES, (lrx, optax)), (IN_CONTRIB, (lrx.contrib, optax.contrib))):
        for name, make in cases.items():
            for library in libraries:
                if library is optax.contrib and not hasattr(library, name):
                    continue  # newer than the optax that is installed; lrx.contrib has them all
                assert found(getattr(library, name), make(library).init(PARAMS)) == 1, (name, library.__name__)
    own = {name for name in _optax_names.__all__ if name.endswith("State")}
    assert own - {"LookaheadState"} <= {*STATES, *IN_CONTRIB}  # optax's needs a pair


# ---------------------------------------------------------------- the answers


def test_what_is_not_here_is_answered_with_where_it_is():
    asked = 0
    for module, names in {"": public(optax), **MODULES}.items():
        for name, theirs in names.items():
            if not hasattr(lrx, name):
                with pytest.raises(AttributeError) as error:
                    getattr(lrx, name)
                path = re.search(r"Use (optax[\w.]+)\.$", str(error.value))
                assert path, (name, str(error.value))
                at = optax
                for part in path[1].split(".")[1:]:
                    at = getattr(at, part)
                # `optax.tree` and `optax.tree_utils` have functions of one name
                assert at is theirs or module not in ("", *_elsewhere.SHARED), name
                asked += 1
    assert asked > 100


@pytest.mark.parametrize(
    ("place", "name", "answer"),
    [
        (lrx, "softmax_cross_entropy", "lrx has no softmax_cross_entropy: losses are optax's. Use optax.{}."),
        (lrx, "losses", "lrx has no losses: losses are optax's. Use optax.losses."),
        (lrx, "second_order", "lrx has no second_order: second_order is optax's. Use optax.second_order."),
        (lrx, "projection_simplex", "projections are optax's. Use optax.projections.projection_simplex."),
        (lrx, "power_iteration", "lrx has no power_iteration: it is optax's. Use optax.power_iteration."),
        (lrx, "warmup_cosine_decay_shedule", "Did you mean lrx.warmup_cosine_decay_schedule"),
        (lrx, "sotfmax_cross_entropy", "Did you mean optax.softmax_cross_entropy"),
        (lrx, "qqqq", "lrx has no qqqq, nor has optax."),
        (lrx, "__wrapped__", "module 'lrx' has no attribute '__wrapped__'"),
        (lrx.contrib, "adam", "lrx.contrib has no adam. Use lrx.adam."),
        (lrx.contrib, "adpot", "Did you mean lrx.contrib.adopt"),
        (lrx.schedules, "linear_shedule", "Did you mean lrx.schedules.linear_schedule"),
        (lrx.transforms, "hinge_loss", "lrx.transforms has no hinge_loss: losses are optax's. Use optax.hinge_loss."),
    ],
)
def test_answers(place, name, answer):
    assert not hasattr(place, name)
    with pytest.raises(AttributeError) as error:
        getattr(place, name)
    assert answer.format(name) in str(error.value)


def test_names_of_a_newer_optax_are_those_that_may_be_absent(monkeypatch):
    tree, taken = ast.parse(Path(_from_optax.__file__).read_text(encoding="utf-8")), {}
    text = Path(_from_optax.__file__).read_text(encoding="utf-8").splitlines()
    for node in tree.body:
        if isinstance(node, ast.With):
            version = re.search(r"# optax ([\d.]+)", text[node.lineno - 1])[1]
            taken[version] = tuple(sorted(alias.name for line in node.body for alias in line.names))
    assert taken == {version: tuple(sorted(names)) for version, names in _elsewhere.NEWER.items()}
    for version, names in taken.items():
        for name in names:
            monkeypatch.delattr(lrx, name, raising=False)
            with pytest.raises(AttributeError, match=rf"lrx.{name} needs optax {version} or newer, but optax \d"):
                getattr(lrx, name)


def test_a_star_import_and_dir_have_public_names_alone():
    namespace = {}
    exec("from lrx import *", namespace)
    assert {"adam", "MultiSteps", "ScaleByAdamState", "contrib", "schedules", "transforms"} <= set(namespace)
    assert set(namespace) - {"__builtins__"} <= set(dir(lrx))
    for module in (lrx, lrx.contrib, lrx.transforms):
        others = [x for name, x in public(module).items() if inspect.ismodule(x) and x.__name__.split(".")[0] != "lrx"]
        assert others == []
