"""What the help of ``spanetv2 train detection`` says."""

from spanetv2.tasks.guide import TrainGuide

__all__ = ["GUIDE"]

GUIDE = TrainGuide(
    summary="detection and instance segmentation: Mask R-CNN or Cascade Mask R-CNN",
    trains="a detector with or without masks",
    data="""\
root of the data set, as COCO, CVAT, Label Studio or Roboflow lay it out,
or as the options of --data say (docs/your_data.md)""",
    weights="start from these: a classifier's (the backbone), or a detector's",
    values="""\
  --model.name s18_pure            ours (see: spanetv2 models) or any timm model with features
  --detector.masks no              boxes alone (auto: masks where the data have any)
  --data.batch_size 2              images per device at a time; data.total_batch is kept
  --trainer.max_epochs 12          --trainer.precision bf16-mixed   --trainer.devices 8""",
    examples="""\
  spanetv2 scenes data/scenes && spanetv2 train detection --config scenes/mask_rcnn \\
      --data data/scenes
  spanetv2 train detection --config coco/mask_rcnn_s18_pure_3x --data /data/coco""",
)
