"""The trainers under the names that nnU-Net's finder looks up in this folder."""

try:
    import nnunet_weak.trainers
except ModuleNotFoundError as error:
    # Processes of environments without the package inherit the search path: they must find nothing here, not fail.
    if error.name != "nnunet_weak":
        raise
else:
    globals().update({name: getattr(nnunet_weak.trainers, name) for name in nnunet_weak.trainers.__all__})
