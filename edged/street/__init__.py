"""A drawn street with known truth: demo camera, end-to-end test camera, load source and a share of the training pictures.

`plan.py` says who moves where and when, `sprites.py`, `people.py` and `vehicles.py` draw them, `backdrop.py` draws
what stands still, `scene.py` puts a frame together, `truth.py` is the referee of zones and lines.
"""
