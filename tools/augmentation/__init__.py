"""Pictures changed as the world and cameras change them, with all that is known of them; each kind has a key in the YAML.

`settings.py` lists the kinds, `augment.py` is the life of one sample. `geometry.py`, `warp.py` and `mosaic.py` move things and
take boxes, points and masks along; `light.py`, `weather.py` and `damage.py` change pixels in place. `chance.py` keeps the kinds'
random numbers apart, `sheet.py` shows people what the network sees.
"""
