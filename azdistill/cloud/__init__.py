"""Azure Machine Learning: the only package that imports ``azure.*``."""
