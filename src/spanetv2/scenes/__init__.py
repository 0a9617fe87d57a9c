"""Built-in scenes: handwritten digits on photographs, with exact masks, made offline.

A data set for detection and segmentation that needs no download: real material (scikit-learn's
1,797 digits and its two sample photographs), written in the formats of ADE20K and COCO, so that
the same loaders read it.
"""

from spanetv2.scenes.compose import Instance, Scene, SceneSettings, make_scene
from spanetv2.scenes.material import CLASSES, Material, Split, material
from spanetv2.scenes.sheet import contact_sheet
from spanetv2.scenes.write import scene_of, write_scenes

__all__ = [
    "CLASSES",
    "Instance",
    "Material",
    "Scene",
    "SceneSettings",
    "Split",
    "contact_sheet",
    "make_scene",
    "material",
    "scene_of",
    "write_scenes",
]
