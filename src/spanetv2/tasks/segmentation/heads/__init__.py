"""What turns a backbone's maps into a class score for every place."""

from spanetv2.tasks.segmentation.heads.auxiliary import AuxiliaryHead
from spanetv2.tasks.segmentation.heads.semantic_fpn import SemanticFPN
from spanetv2.tasks.segmentation.heads.upernet import UPerNet

__all__ = ["AuxiliaryHead", "SemanticFPN", "UPerNet"]
