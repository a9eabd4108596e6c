"""The names of the policies: what `--policy` and `--compare` may say.

By themselves, so that `cans device --help` can list them without the seconds that numpy and scipy take.
`device/policies.py` builds each; it refuses to be imported while one is named in only one of the two files.
"""

LEARNER = "fedlinucb_dw"
DEVICE_ONLY = "device_only"
# The codec that each sends the input with.
EDGE_ONLY = {"edge_only_uint8": "uint8", "edge_only_jpeg": "jpeg", "edge_only_float32": "float32"}
TWO_ARM = "two_arm"
LINUCB = "linucb"
ANS = "ans"
NEUROSURGEON = "neurosurgeon"
# Before the label of the arm that is played whatever happens, such as fixed:0/jpeg.
FIXED = "fixed:"
NAMES = (LEARNER, DEVICE_ONLY, *EDGE_ONLY, TWO_ARM, LINUCB, ANS, NEUROSURGEON)
