"""torch's optimisers without torch's compiler, whose import takes longer than many a training here.

Their methods are wrapped so that the compiler leaves them out of its graphs, and import it for that. No optimiser is
compiled here.
"""

import inspect
from typing import TypeVar, cast

import torch
from torch.optim import Optimizer

OptimizerT = TypeVar("OptimizerT", bound=Optimizer)

WRAPPED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def uncompiled(optimizer: type[OptimizerT]) -> type[OptimizerT]:
    """Return a subclass of an optimiser that does the same, by the methods inside the wrappers."""
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in WRAPPED}
    methods["step"] = torch.no_grad()(inspect.unwrap(optimizer.step))
    return cast(type[OptimizerT], type(optimizer.__name__, (optimizer,), methods))


SGD = uncompiled(torch.optim.SGD)
Adam = uncompiled(torch.optim.Adam)
AdamW = uncompiled(torch.optim.AdamW)
