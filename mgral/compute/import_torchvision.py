"""Importing this imports torchvision without torch's compiler, which takes longer than the rest.

`torchvision.ops` compiles nothing before it is called, and yet imports the compiler at once, for a function that only
RoIAlign calls, which no detector here has. So a stand-in of that function is there meanwhile.
"""

import sys
from types import ModuleType

COMPILER = "torch._dynamo.utils"


def is_compile_supported(device_type: str) -> bool:
    """Ask the compiler, as the function of this name does that torchvision means to import."""
    from torch._dynamo.utils import is_compile_supported as ask

    return bool(ask(device_type))


def _import_torchvision() -> None:
    if COMPILER in sys.modules:
        return
    import torch  # noqa: F401 - whole, before a part of it is replaced

    stand_in = ModuleType(COMPILER)
    vars(stand_in)["is_compile_supported"] = is_compile_supported
    sys.modules[COMPILER] = stand_in
    try:
        import torchvision  # noqa: F401
    except ImportError:
        pass  # a version that wants more of the compiler is imported as it is, by whoever needs it
    finally:
        del sys.modules[COMPILER]


_import_torchvision()
