"""Stands in for NVIDIA's library: the cards of STAND_IN_CARDS, such as `GPU-a:16000,GPU-b:8000` in MiB."""

import os


class NVMLError(Exception):
    """What the driver says."""


class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801, N818 - NVIDIA's names
    """There is no driver."""


class NVMLError_NotSupported(NVMLError):  # noqa: N801, N818
    """The card does not know it."""


class Memory:
    """Bytes of a card's memory."""

    def __init__(self, total: int) -> None:
        self.total = total


def _cards() -> list[list[str]]:
    return [card.split(":") for card in os.environ["STAND_IN_CARDS"].split(",")]


def nvmlInit() -> None:  # noqa: N802
    if "STAND_IN_CARDS" not in os.environ:
        raise NVMLError_LibraryNotFound


def nvmlShutdown() -> None:  # noqa: N802
    pass


def nvmlSystemGetCudaDriverVersion() -> int:  # noqa: N802
    return 99000


def nvmlDeviceGetCount() -> int:  # noqa: N802
    return len(_cards())


def nvmlDeviceGetHandleByIndex(number: int) -> list[str]:  # noqa: N802
    return _cards()[number]


def nvmlDeviceGetHandleByUUID(name: str) -> list[str]:  # noqa: N802
    for card in _cards():
        if card[0] == name:
            return card
    raise NVMLError


def nvmlDeviceGetUUID(card: list[str]) -> str:  # noqa: N802
    return card[0]


def nvmlDeviceGetName(card: list[str]) -> str:  # noqa: N802
    return "NVIDIA Stand-in"


def nvmlDeviceGetMemoryInfo(card: list[str]) -> Memory:  # noqa: N802
    return Memory(int(card[1]) * 2**20)
