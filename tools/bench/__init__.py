"""What edged costs: CPU a frame, beside a peer; memory; how soon events arrive; how many cameras two cores carry.

`clip.py` draws what is measured on, `cost.py` measures the pipeline in this process, `service.py` a daemon as a child,
`maps.py` maps beside detections, `peer.py` Ultralytics in an environment of its own, `report.py` says what the goals are and
prints.
"""
