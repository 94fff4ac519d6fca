"""The scheduler's part of public configs: "repository: path" -> library, numbers, and what the run adds.

What the run adds is what such a file leaves to its command line or to the data: the rate of the optimizer, and the
number of updates.
"""

HANDBOOK = "huggingface/alignment-handbook: recipes/"


def decay(steps):
    """The ExponentialDecay of a Keras recipe."""
    config = {"initial_learning_rate": 0.001, "decay_steps": steps, "decay_rate": 0.5, "staircase": False}
    return {"module": "keras.optimizers.schedules", "class_name": "ExponentialDecay", "config": config}


PUBLIC = {
    HANDBOOK + "zephyr-7b-beta/sft/config_full.yaml": (
        "transformers",
        {"learning_rate": 2.0e-05, "lr_scheduler_type": "cosine", "max_steps": -1, "warmup_ratio": 0.1},
        {"num_training_steps": 1000},
    ),
    HANDBOOK + "smollm3/sft/mid.yaml": (
        "transformers",
        {
            "learning_rate": 2.0e-05,
            "lr_scheduler_type": "cosine_with_min_lr",
            "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        }
        | {"max_steps": -1, "warmup_ratio": 0.03},
        {"num_training_steps": 1999},
    ),
    HANDBOOK + "mistral-capybara/orpo/config_full.yaml": (
        "transformers",
        {"learning_rate": 5.0e-6, "lr_scheduler_type": "inverse_sqrt", "warmup_steps": 100},
        {"num_training_steps": 1000},
    ),
    HANDBOOK + "smollm2/dpo/config.yaml": (
        "transformers",
        {"learning_rate": 1.0e-6, "lr_scheduler_type": "cosine", "warmup_ratio": 0.1},
        {"num_training_steps": 333},
    ),
    HANDBOOK + "gpt2-nl/cpt/config_full.yaml": (
        "transformers",
        {"learning_rate": 2.0e-04, "lr_scheduler_type": "cosine", "max_steps": -1, "warmup_ratio": 0.1},
        {"num_training_steps": 61},
    ),
    "apoorvkh/academic-pretraining: README.md": (
        "transformers",
        {"learning_rate": 1e-3, "lr_scheduler_kwargs": {"min_lr_rate": 0.1}, "lr_scheduler_type": "cosine_with_min_lr"}
        | {"max_steps": 143000, "warmup_steps": 1430},
        {},
    ),
    "aimat-lab/gcnn_keras: training/hyper/hyper_esol.py": ("keras", decay(1600), {}),
    "ZK-Zhou/spikformer: cifar10/cifar10.yml": (
        "timm",
        {"sched": "cosine", "epochs": 300, "lr": 5e-4, "min_lr": 1e-5, "cooldown_epochs": 10, "warmup_epochs": 20}
        | {"warmup_lr": 1e-5},
        {},
    ),
    "ZK-Zhou/spikformer: imagenet/imagenet.yml": (
        "timm",
        {"sched": "cosine", "epochs": 300, "lr": 5e-4, "min_lr": 1e-5, "cooldown_epochs": 10, "warmup_epochs": 20}
        | {"warmup_lr": 1e-6},
        {},
    ),
    "nakashima-kodai/FractalDB-Pretrained-ViT-PyTorch: configs/scheduler/cosine.yaml": (
        "timm",
        {"sched": "cosine", "lr_cycle_mul": 1.0, "min_lr": 1e-5, "decay_rate": 0.1, "warmup_lr": 1e-6}
        | {"warmup_epochs": 5, "lr_cycle_limit": 1, "cooldown_epochs": 10},
        {"lr": 1e-3, "epochs": 100},
    ),
    "state-spaces/s4: configs/scheduler/cosine.yaml": (
        "torch",
        {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": 40000, "eta_min": 0.001},
        {"learning_rate": 0.01},
    ),
    "captwd/mamba-matcha-tts: configs/model/scheduler/multistep_late.yaml": (
        "torch",
        {"_target_": "torch.optim.lr_scheduler.MultiStepLR", "_partial_": True, "milestones": [104, 114, 124, 134]}
        | {"gamma": 0.5},
        {"learning_rate": 1e-4},
    ),
    "R1ck29/kaggle-cassava-leaf-disease-classification: configs/scheduler/cosine.yaml": (
        "torch",
        {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": 10, "eta_min": 0},
        {"learning_rate": 1e-3},
    ),
}
