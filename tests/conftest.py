"""For all tests."""

import collections
import contextlib
import ctypes
import functools
import gc
import os
import resource
import tempfile
import threading
from pathlib import Path

import jax
import jax.experimental
import pytest
from jax._src import compiler
from jax._src.interpreters import mlir

from lrx.optimizers.adam import ScaleByAdam

if not hasattr(jax, "enable_x64"):  # before JAX 0.8; lrx itself does not call it
    jax.enable_x64 = jax.experimental.enable_x64

# thousands of compiled programs live in a worker: each full collection would walk all of them
gc.set_threshold(50_000, 50, 1000)

PROGRAMS = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def pytest_configure(config):
    """Compile equal programs once in a session, whichever test, worker or process of its own asks for them.

    In a folder that the session removes. `JAX_COMPILATION_CACHE_DIR` names one that serves the next session too.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="lrx-programs-", ignore_cleanup_errors=True)
        config.add_cleanup(folder.cleanup)
        patch = pytest.MonkeyPatch()  # workers and processes of tests inherit it
        config.add_cleanup(patch.undo)
        for name, value in {**PROGRAMS, "JAX_COMPILATION_CACHE_DIR": folder.name}.items():
            patch.setenv(name, value)
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    COMPILER.use(real=False)  # modules of tests make arrays when they are imported
    if hasattr(config.option, "loadscopereorder"):  # workers take the files in the order of the next function
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """First the files with a slow test, then those of many: no worker is left with a long file at the end.

    Between them those that want the real compiler: what was compiled is dropped each time that the compiler changes.
    """
    tests = collections.Counter(item.path for item in items)
    slow, real = ({item.path for item in items if item.get_closest_marker(m)} for m in ("slow", "real_compiler"))
    items.sort(key=lambda item: (item.path not in slow, item.path not in real, -tests[item.path]))


def pytest_collection_finish(session):
    """No collection of garbage need walk what was imported: it lives as long as the session."""
    gc.collect()
    gc.freeze()


ROOM = 1_700_000_000
"""Bytes of a worker above which the programs of the tests so far are dropped."""


def resident():
    """Bytes of this process in memory; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0


class Memory:
    """JAX keeps every program that it compiled: gigabytes after some thousand tests, though hardly one is run again."""

    limit = ROOM

    def drop_programs(self):
        jax.clear_caches()
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # glibc keeps freed memory otherwise
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        # what remains is in use: not after every test again
        self.limit = max(ROOM, resident() + ROOM // 4)


MEMORY = Memory()


def pytest_runtest_logfinish(nodeid, location):
    if resident() > MEMORY.limit:
        MEMORY.drop_programs()


OPTIONS = {
    "xla_cpu_use_fusion_emitters": False,  # the older way from fused loops to LLVM, without MLIR: half the time
    "xla_cpu_parallel_codegen_split_count": 1,  # one LLVM module to a program: the tests share few cores anyway
}


class Contexts(threading.local):
    """An MLIR context for many programs: JAX makes one for each, which takes half the time of lowering a small one."""

    programs = 200
    """How many a context is for: it keeps the types and constants of all of them."""

    def __init__(self, make):
        self.make, self.context, self.left = make, None, 0

    def __call__(self):
        if not self.left:
            self.context, self.left = self.make(), self.programs
        self.left -= 1
        return self.context


if hasattr(mlir, "make_ir_context"):  # private to JAX, which may rename it
    mlir.make_ir_context = Contexts(mlir.make_ir_context)


class Compiler:
    """XLA as a test wants it: fast, or as users have it.

    Compiled fast, the programs are what they are up to the digits: the graph is optimised as ever, the machine code is
    not. `@pytest.mark.real_compiler` is for tests of which digits come out.
    """

    real = True
    patch = pytest.MonkeyPatch()

    def use(self, real):
        """Compile so from now on."""
        if real == self.real:
            return
        self.real = real
        self.patch.undo()
        jax.clear_caches()  # what was compiled the other way is not run again
        jax.config.update("jax_disable_most_optimizations", not real)
        # no setting of JAX's gives options to all programs that the code under test compiles
        get = getattr(compiler, "get_compile_options", None)
        if real or get is None:  # private to JAX, which may rename it
            return
        options = {name: value for name, value in OPTIONS.items() if is_option(name, value)}

        def get_cheap(*args, env_options_overrides=None, **kwargs):
            return get(*args, env_options_overrides={**options, **(env_options_overrides or {})}, **kwargs)

        self.patch.setattr(compiler, "get_compile_options", get_cheap)


@functools.cache
def is_option(name, value):
    """Whether this XLA has it."""
    try:
        jax.jit(lambda x: x, compiler_options={name: value})(0)
    except jax.errors.JaxRuntimeError:
        return False
    return True


COMPILER = Compiler()


def pytest_runtest_setup(item):
    COMPILER.use(real=item.get_closest_marker("real_compiler") is not None)


@contextlib.contextmanager
def cheaply():
    """Compile fast, in a process of a test's own too."""
    before = COMPILER.real
    COMPILER.use(real=False)
    try:
        yield
    finally:
        COMPILER.use(before)


class Traces:
    """How often Adam's rule was run, which under `jit` is how often it was traced."""

    def __init__(self):
        self.count = 0


@pytest.fixture
def traces(monkeypatch):
    """Count the traces of Adam's rule."""
    seen, update = Traces(), ScaleByAdam.update

    def counted(self, *args, **kwargs):
        seen.count += 1
        return update(self, *args, **kwargs)

    monkeypatch.setattr(ScaleByAdam, "update", counted)
    return seen


@pytest.fixture
def x64():
    """Let JAX compute in float64 for one test."""
    with jax.enable_x64(True):
        yield
