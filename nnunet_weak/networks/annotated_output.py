"""The annotation heads as nnU-Net's network is extended by them: from logits and features to what is drawn."""

from __future__ import annotations

from torch import Tensor, nn

from nnunet_weak.networks.annotation_heads import AnnotationHeads, AnnotatorOutput


class AnnotatedOutput(nn.Module):
    """Annotation heads behind a segmentation network's logits.

    Args:
        heads: One head for each annotation strategy.
    """

    def __init__(self, heads: AnnotationHeads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, logits: Tensor, features: Tensor, released: bool) -> dict[str, AnnotatorOutput]:
        """What each annotator is expected to draw.

        Args:
            logits: The network's logits.
            features: The last decoder features, which they were made from.
            released: False during the warm-up, see `AnnotationHeads.forward`.

        Shape:
            logits `(B, L, *spatial)`; features `(B, F, *spatial)`.
        """
        return self.heads(features, logits.float().softmax(1), released)
