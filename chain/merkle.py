"""Cumulative reward trees as the coordinator verifies them. Pure: no Django, no network, no web3.

Leaves are hashed twice and pairs are sorted before they are hashed, as OpenZeppelin's MerkleProof
expects, so an inner node can never be passed off as a leaf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eth_utils.crypto import keccak


def leaf(task_id: int, participant: str, amount: int) -> bytes:
    """keccak256(keccak256(abi.encode(taskId, participant, amount))); `amount` in wei.

    Raises ValueError when a value does not fit (uint256, address, uint96).
    """
    address = bytes.fromhex(participant.removeprefix("0x"))
    if len(address) != 20 or not 0 <= amount < 2**96 or not 0 <= task_id < 2**256:
        raise ValueError(
            f"Leaf ({task_id}, {participant}, {amount}) does not fit (uint256, address, uint96)."
        )
    return keccak(
        keccak(task_id.to_bytes(32, "big") + bytes(12) + address + amount.to_bytes(32, "big"))
    )


class MerkleTree:
    """A tree over leaves in the order given; a node without a sibling moves up unchanged.

    One leaf is its own root and has an empty proof. Raises ValueError for no leaves.
    """

    def __init__(self, leaves: Sequence[bytes]) -> None:
        if not leaves:
            raise ValueError("A Merkle tree needs at least one leaf; nobody has earned anything.")
        # Holds always: layers[i + 1] has ceil(len(layers[i]) / 2) nodes; the last layer has one.
        self._layers: list[list[bytes]] = [list(leaves)]
        while len(self._layers[-1]) > 1:
            below = self._layers[-1]
            pairs = range(0, len(below), 2)
            self._layers.append([_join(below[i : i + 2]) for i in pairs])

    @property
    def root(self) -> bytes:
        return self._layers[-1][0]

    def proof(self, index: int) -> list[bytes]:
        """The siblings from leaf `index` up to the root."""
        siblings = []
        for layer in self._layers[:-1]:
            sibling = index ^ 1
            if sibling < len(layer):
                siblings.append(layer[sibling])
            index //= 2
        return siblings


def verify(root: bytes, node: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` leads from leaf `node` to `root`."""
    for sibling in proof:
        node = _join([node, sibling])
    return node == root


def reward_tree(task_id: int, cumulative: Mapping[str, int]) -> MerkleTree:
    """The tree over everyone's cumulative earnings (wei), leaves in the order of address text.

    The order is part of the standard: everyone must arrive at the same root.
    """
    return MerkleTree(
        [leaf(task_id, address, cumulative[address]) for address in sorted(cumulative)]
    )


def reward_root(task_id: int, cumulative: Mapping[str, int]) -> str:
    """The Merkle root over everyone who has earned anything, as 0x-hex; zero when nobody has."""
    if not any(cumulative.values()):
        return "0x" + "0" * 64
    return "0x" + earners_tree(task_id, cumulative).root.hex()


def reward_proof(task_id: int, cumulative: Mapping[str, int], address: str) -> list[str]:
    """The proof for one member's leaf, as 0x-hex strings."""
    earners = sorted(a for a, amount in cumulative.items() if amount > 0)
    proof = earners_tree(task_id, cumulative).proof(earners.index(address))
    return ["0x" + node.hex() for node in proof]


def earners_tree(task_id: int, cumulative: Mapping[str, int]) -> MerkleTree:
    """The tree over those who have earned anything; ValueError when nobody has."""
    return reward_tree(task_id, {a: amount for a, amount in cumulative.items() if amount > 0})


def _join(nodes: Sequence[bytes]) -> bytes:
    return nodes[0] if len(nodes) == 1 else keccak(b"".join(sorted(nodes)))
