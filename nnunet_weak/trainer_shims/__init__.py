"""The folder that nnU-Net searches for trainers; not meant to be imported as a package.

nnU-Net imports a trainer from here under its file's bare name and then forgets the module. The classes themselves
therefore live in `nnunet_weak.trainers`, where worker processes can find them again.
"""
