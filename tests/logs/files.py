"""Logs as loggers write them, by name: their text, and what is in it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class File(NamedTuple):
    name: str
    text: str
    steps: list[int]
    losses: list[float]
    rates: list[float] | None = None
    validation: tuple[list[int], list[float]] | None = None
    steps_per_epoch: float | None = None
    keywords: Mapping[str, Any] = MappingProxyType({})


LIGHTNING = """\
epoch,lr-AdamW,step,train_loss_epoch,train_loss_step,val_loss
,0.001,0,,,
0,,9,,2.3,
0,,19,,2.1,
0,,19,,,2.0
0,,19,2.2,,
,0.0005,20,,,
1,,29,,1.9,
1,,39,,1.8,
1,,39,,,1.7
1,,39,1.85,,
2,,49,,1.75,
"""
KERAS = """\
epoch,accuracy,learning_rate,loss,val_accuracy,val_loss
0,0.5,0.001,2.0,0.4,2.1
1,0.6,0.001,1.5,0.5,1.9
"""
WANDB_PAGE = """\
"Step","brave-sun-1 - train/loss","brave-sun-1 - train/loss__MIN","brave-sun-1 - train/loss__MAX"
"0","2.5","2.4","2.6"
"10","1.5","1.4","1.6"
"""
TWO_RUNS = (
    '"Step","a - train/loss","b - train/loss","a - lr","b - lr"\n"0","2.5","3.5","1","2"\n"10","2.25","3","1","1"\n'
)
BATCHES = "epoch,batch,loss\n" + "".join(f"{e},{b},{4 - e - b / 8}\n" for e in range(3) for b in range(4))
MMENGINE = """\
{"env_info": "x", "seed": 1}
{"mode": "train", "epoch": 1, "iter": 50, "lr": 0.1, "loss": 2.5, "loss_cls": 1.0}
{"mode": "train", "epoch": 1, "iter": 100, "lr": 0.1, "loss": 2.4}
{"mode": "val", "epoch": 1, "iter": 20, "lr": 0.1, "loss": 2.45}
{"mode": "train", "epoch": 2, "iter": 50, "lr": 0.01, "loss": 2.3}
{"mode": "train", "epoch": 2, "iter": 100, "lr": 0.01, "loss": 2.2}
"""
TRAINER_STATE = """\
{"best_metric": null, "global_step": 30, "log_history": [
{"epoch": 0.1, "grad_norm": 1.5, "learning_rate": 5e-05, "loss": 2.5, "step": 10},
{"epoch": 0.2, "grad_norm": 1.5, "learning_rate": 4e-05, "loss": 2.4, "step": 20},
{"epoch": 0.2, "eval_loss": 2.45, "eval_runtime": 3.1, "step": 20},
{"epoch": 0.3, "step": 30, "total_flos": 1e9, "train_loss": 2.45, "train_runtime": 9.5}], "max_steps": 30}
"""
WANDB_HISTORY = """\
{"_step": 0, "_runtime": 1.5, "_timestamp": 1.7e9, "train/loss": 2.5, "train/lr": 0.1, "train/global_step": 10}
{"_step": 1, "_runtime": 2.5, "train/loss": 2.25, "train/lr": 0.1, "train/global_step": 20, "h": {"_type": "histogram"}}
{"_step": 2, "eval/loss": 2.3, "train/global_step": 20}
"""
LLAMA_FACTORY = """\
{"current_steps": 10, "total_steps": 100, "loss": 2.5, "lr": 5e-05, "epoch": 0.1, "elapsed_time": "0:00:01"}
{"current_steps": 20, "total_steps": 100, "loss": 2.4, "lr": 4e-05, "epoch": 0.2, "elapsed_time": "0:00:02"}
"""
NANOGPT = """\
tokens per iteration: 491,520
number of parameters: 123.59M
step 0: train loss 2.6, val loss 2.7
iter 0: loss 2.5000, time 1000ms, mfu -100.00%
iter 10: loss 2.25, time 100ms, mfu 3%
iter 20: loss 2.0, time 3ms
"""
MNIST = """\
Train Epoch: 1 [0/60000 (0%)]\tLoss: 2.25
Train Epoch: 1 [640/60000 (1%)]\tLoss: 2.0

Train Epoch: 2 [0/60000 (0%)]\tLoss: 0.5
"""
MEGATRON = """\
 iteration       10/     100 | consumed samples:  80 | learning rate: 1.500E-06 | lm loss: 1.075E+01 | loss scale: 1.0 |
 iteration       20/     100 | consumed samples: 160 | learning rate: 3.000E-06 | lm loss: 1.05E+01 | loss scale: 1.0 |
"""
TUTORIAL = """\
Epoch [1/5], Step [100/200], Loss: 2.25
Epoch [1/5], Step [200/200], Loss: 2.0
Epoch [2/5], Step [100/200], Loss: 1.5
"""

FILES = [
    File("commas.csv", "step,lr,loss\n1,.1,2\n2,.05,1.5\n", [1, 2], [2, 1.5], [0.1, 0.05]),
    File("semicolons.csv", "step;lr;loss\n1;0,1;2,5\n2;0,05;1,5\n", [1, 2], [2.5, 1.5], [0.1, 0.05]),
    File("tabs.tsv", "step\ttrain loss\tlr\n1\t2.5\t.1\n2\t2\t.1\n", [1, 2], [2.5, 2], [0.1, 0.1]),
    File("bars.txt", "step | loss\n1 | 2.5\n2 | 2\n", [1, 2], [2.5, 2]),
    File("spaces.txt", "step  loss\n 1  2.5\n10  2\n", [1, 10], [2.5, 2]),
    File("bom.csv", "\ufeffstep,loss\n1,2\n2,1\n", [1, 2], [2, 1]),
    File("windows.csv", "step,loss\r\n1,2\r\n2,1\r\n", [1, 2], [2, 1]),
    File("no_end.csv", "step,loss\n1,2\n2,1", [1, 2], [2, 1]),
    File(
        "comments.csv",
        "# run 7\n# best loss: 0.5\n# last loss: 0.6\nstep,loss\n# a remark\n1,2\n\n2,1\n",
        [1, 2],
        [2, 1],
    ),
    File("trailing.csv", "step,loss,\n1,2,\n2,1,\n", [1, 2], [2, 1]),
    File("savetxt.txt", "# step loss lr\n0 2.5 .1\n10 2.0 .1\n", [0, 10], [2.5, 2], [0.1, 0.1]),
    File("pandas.csv", ",step,loss\n0,10,2.5\n1,20,2.4\n", [10, 20], [2.5, 2.4]),
    File("numbers.txt", "2.5\n2.0\n1.5\n", [0, 1, 2], [2.5, 2, 1.5]),
    File("named_numbers.txt", "loss\n2,5\n2,0\n", [0, 1], [2.5, 2]),
    File("pairs.txt", "0 2.5\n10 2.0\n", [0, 10], [2.5, 2]),
    File("mlflow", "1700000000123 2.5 0\n1700000001123 2.0 10\n", [0, 10], [2.5, 2]),
    File("thousands.csv", 'step,loss\n"1,000",2.5\n"2,000",2.4\n', [1000, 2000], [2.5, 2.4]),
    File("quoted_decimals.csv", 'step,loss\n1,"2,5"\n2,"0,4"\n', [1, 2], [2.5, 0.4]),
    File(
        "tensors.csv",
        "step,loss,lr\n0,\"tensor(2.5, device='cuda:0', grad_fn=<NllLossBackward0>)\",[0.1]\n1,tensor(2.25),[0.1]\n",
        [0, 1],
        [2.5, 2.25],
        [0.1, 0.1],
    ),
    File(
        "alternate.csv",
        "step,train_loss,val_loss\n0,3,\n1,2.5,\n1,,2.6\n2,2,\n",
        [0, 1, 2],
        [3, 2.5, 2],
        None,
        ([1], [2.6]),
    ),
    File(
        "alternate_nan.csv",
        "step,train_loss,val_loss\n0,3,nan\n1,2.5,nan\n1,nan,2.6\n2,2,nan\n",
        [0, 1, 2],
        [3, 2.5, 2],
        None,
        ([1], [2.6]),
    ),
    File("phases.csv", "phase,step,loss\ntrain,1,3\nval,1,3.5\ntrain,2,2\n", [1, 2], [3, 2], None, ([1], [3.5])),
    File("newest_first.csv", "step,loss\n30,1\n20,2\n10,3\n", [10, 20, 30], [3, 2, 1]),
    File("validation_alone.csv", "step,val_loss\n100,3.5\n200,3.25\n", [100, 200], [3.5, 3.25]),
    File("tensorboard_page.csv", "Wall time,Step,Value\n1.7e9,0,2.5\n1.7e9,10,2\n", [0, 10], [2.5, 2]),
    File("tensorboard_page.json", "[[1.7e9, 0, 2.5], [1.7e9, 10, 2]]", [0, 10], [2.5, 2]),
    File(
        "metrics.csv",
        LIGHTNING,
        [9, 19, 29, 39, 49],
        [2.3, 2.1, 1.9, 1.8, 1.75],
        [0.000775, 0.000525, 0.0005, 0.0005, 0.0005],
        ([19, 39], [2.0, 1.7]),
        20.0,
    ),
    File("keras.csv", KERAS, [0, 1], [2, 1.5], [0.001, 0.001], ([0, 1], [2.1, 1.9])),
    File("history.json", '{"loss": [2, 1.5], "val_loss": [2.1, 1.9]}', [0, 1], [2, 1.5], None, ([0, 1], [2.1, 1.9])),
    File("wandb_page.csv", WANDB_PAGE, [0, 10], [2.5, 1.5]),
    File("wandb_two.csv", TWO_RUNS, [0, 10], [3.5, 3], [2, 1], keywords={"loss": "b - train/loss"}),
    File("wandb_history.jsonl", WANDB_HISTORY, [10, 20], [2.5, 2.25], [0.1, 0.1], ([20], [2.3])),
    File(
        "batches.csv",
        BATCHES,
        list(range(12)),
        [4 - e - b / 8 for e in range(3) for b in range(4)],
        steps_per_epoch=4.0,
    ),
    File(
        "mmengine.json",
        MMENGINE,
        [50, 100, 150, 200],
        [2.5, 2.4, 2.3, 2.2],
        [0.1, 0.1, 0.01, 0.01],
        ([100], [2.45]),
        100.0,
    ),
    File("trainer_state.json", TRAINER_STATE, [10, 20], [2.5, 2.4], [5e-5, 4e-5], ([20], [2.45]), 100.0),
    File("llama_factory.jsonl", LLAMA_FACTORY, [10, 20], [2.5, 2.4], [5e-5, 4e-5], None, 100.0),
    File(
        "nested.jsonl",
        '{"step": 1, "train": {"loss": 2, "lr": 0.5}}\n{"step": 2, "train": {"loss": 1, "lr": 0.5}}\n',
        [1, 2],
        [2, 1],
        [0.5, 0.5],
    ),
    File(
        "console.txt",
        "{'loss': 2.5, 'learning_rate': 0.5, 'epoch': 0.5}\n{'loss': 2.25, 'learning_rate': 0.25, 'epoch': 1.0}\n",
        [0, 1],
        [2.5, 2.25],
        [0.5, 0.25],
        None,
        2.0,
    ),
    File("nanogpt.log", NANOGPT, [0, 10, 20], [2.5, 2.25, 2]),
    File("mnist.log", MNIST, [0, 1, 2], [2.25, 2, 0.5]),
    File("megatron.log", MEGATRON, [10, 20], [10.75, 10.5], [1.5e-6, 3e-6]),
    File("tutorial.log", TUTORIAL, [100, 200, 300], [2.25, 2, 1.5], steps_per_epoch=200.0),
    File(
        "info.log",
        "[2026-01-01 10:00:00,1] INFO step=1 loss=2.5 lr=0.5\n[2026-01-01 10:00:01,2] INFO step=2 loss=2 lr=0.5\n",
        [1, 2],
        [2.5, 2],
        [0.5, 0.5],
    ),
    File("list.json", "[2.5, 2.0]", [0, 1], [2.5, 2]),
    File("objects.json", '[{"iter": 5, "loss": "2.5"}, {"iter": 6, "loss": 2}]', [5, 6], [2.5, 2]),
]
