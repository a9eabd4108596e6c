"""Many devices and seeds of one policy at once, in numpy; the same choices as the plain engine's.

One lane is one device of one seed. Lanes of a site see the same K contexts, so that a frame of all of them is
a few products of matrices. Between exchanges lanes do not meet; what an upload changes for devices later in
the same period is played again (`family.py`). The plain engine stays the reference: what this one does not
know it does not play (`scope.py`).
"""
