"""What edged does on an NVIDIA GPU: engines built, compared and timed on a machine that is lent for some minutes.

`tools/gpu_check.sh` runs it step by step, each within its share of the time: device → engines → parity → sweep → pipeline →
fitting → streams → tests.
"""
