"""For all tests."""

import gc

# thousands of compiled programs live in a worker: each full collection would walk all of them
gc.set_threshold(50_000, 50, 1000)
