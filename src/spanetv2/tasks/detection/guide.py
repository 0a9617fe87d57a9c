"""What the help of ``spanetv2 train detection`` says."""

from spanetv2.tasks.guide import TrainGuide

__all__ = ["GUIDE"]

GUIDE = TrainGuide(
    summary="detection and instance segmentation: Mask R-CNN or Cascade Mask R-CNN",
    trains="a detector with masks",
    data="""\
root of the data set: train2017/, val2017/ and annotations/ as in COCO, or
as the options of --data say""",
    weights="start from these: a classifier's (the backbone), or a detector's",
    values="""\
  --model.name s18_pure            ours (see: spanetv2 models) or any timm model with features
  --data.batch_size 2              images per device at a time; data.total_batch is kept
  --trainer.max_epochs 12          --trainer.precision bf16-mixed   --trainer.devices 8""",
    examples="""\
  spanetv2 scenes data/scenes && spanetv2 train detection --config scenes/mask_rcnn \\
      --data data/scenes
  spanetv2 train detection --config coco/mask_rcnn_s18_pure_3x --data /data/coco""",
)
