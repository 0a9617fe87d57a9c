"""What the help of ``spanetv2 train classification`` says."""

from spanetv2.tasks.guide import TrainGuide

__all__ = ["GUIDE"]

GUIDE = TrainGuide(
    summary="an image classifier",
    trains="an image classifier",
    data="""\
root of the data set; a folder with train/ and val/, one folder per class in
each, unless --data.dataset says otherwise""",
    weights="start from these weights (fine-tuning)",
    more="""\
  --freeze [N]         train the classifier only; with N, keep the stem and the first N stages""",
    values="""\
  --model.name s18_pure            ours (see: spanetv2 models) or any timm model
  --data.batch_size 64             images per device at a time; data.total_batch is kept
  --data.total_batch 1024          images per update, over all devices
  --data.workers 8                 loading processes per device
  --optimizer.name lamb --optimizer.lr 1e-3 --optimizer.layer_decay 0.75
  --schedule.warmup_epochs 5       --augmentation.hflip 0       --mixing.mixup 0.2
  --ema.decay 0.9998               --checkpoints.every_steps 200
  --trainer.max_epochs 30          --trainer.precision bf16-mixed
  --trainer.devices 2              --trainer.gradient_clip_val 1.0""",
    examples="""\
  spanetv2 train classification --config digits
  spanetv2 train classification --config imagenet/s18_pure --data /data/imagenet
  spanetv2 train classification --resume --out runs/s18_pure""",
)
