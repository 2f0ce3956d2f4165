"""Messages between server and page: a header in JSON and binary blocks."""

from __future__ import annotations

import json
from typing import Any


def pack(header: dict[str, Any], *blocks: bytes) -> bytes:
    """A message: length of the header (uint32), header in JSON with the lengths of the blocks, the blocks."""
    text = json.dumps({**header, "blocks": [len(block) for block in blocks]}).encode()
    text += b" " * (-(len(text) + 4) % 8)  # so that typed arrays can lie on the first block
    return b"".join([len(text).to_bytes(4, "little"), text, *blocks])


def unpack(message: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The inverse of `pack`.

    Raises:
        ValueError: No such message.
    """
    length = int.from_bytes(message[:4], "little")
    header = json.loads(message[4 : 4 + length])
    if not isinstance(header, dict) or not isinstance(header.get("blocks"), list):
        raise ValueError("the message has no header")
    start, blocks = 4 + length, []
    for size in header["blocks"]:
        if not isinstance(size, int) or size < 0 or start + size > len(message):
            raise ValueError("the message is cut off")
        blocks.append(message[start : start + size])
        start += size
    return header, blocks
