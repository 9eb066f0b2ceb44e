"""CLIP: pictures and texts become unit vectors of one space. Importing this package loads no model and no torch."""
