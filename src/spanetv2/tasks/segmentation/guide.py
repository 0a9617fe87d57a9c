"""What the help of ``spanetv2 train segmentation`` says."""

from spanetv2.tasks.guide import TrainGuide

__all__ = ["GUIDE"]

GUIDE = TrainGuide(
    summary="semantic segmentation: Semantic FPN or UPerNet",
    trains="a segmentation model",
    data="""\
root of the data set: images/ and annotations/ as in ADE20K, or as
--data.dataset says""",
    weights="start from these: a classifier's (the backbone), or a segmentation model's",
    values="""\
  --model.name s18_pure            ours (see: spanetv2 models) or any timm model with features
  --data.batch_size 4              images per device at a time; data.total_batch is kept
  --schedule.updates 40000         length of the run
  --schedule.validate_every 4000   updates between two validations
  --trainer.precision bf16-mixed   --trainer.devices 8""",
    examples="""\
  spanetv2 scenes data/scenes && spanetv2 train segmentation --config scenes/segmentation \\
      --data data/scenes
  spanetv2 train segmentation --config ade20k/upernet_s18_pure --data /data/ADEChallengeData2016""",
)
