"""What edged does on an NVIDIA GPU: engines built, compared and timed on a machine that is lent for some minutes.

`tools/gpu_check.sh` runs it step by step, each with a time limit: device → engines → sweep → pipeline → streams → tests.
"""
