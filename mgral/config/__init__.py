"""The configuration: one typed, strict model, the only place where a default is written."""

from mgral.config.data import CocoData, DataConfig, DiskData, SyntheticData, VocData, YoloData, download_of
from mgral.config.detector import DetectorConfig, EvaluationConfig
from mgral.config.experiment import (
    Config,
    ContainerConfig,
    Kind,
    check_budget,
    config_schema,
    config_yaml,
    load_config,
    read_values,
    resolve_config,
)
from mgral.config.instances import DEFAULT, OWN_SECTIONS, StrategyConfig
from mgral.config.method import (
    AgentConfig,
    Distance,
    EmbeddingConfig,
    Estimator,
    FidelityConfig,
    Labels,
    LutConfig,
    RewardConfig,
    Start,
)
from mgral.config.training import (
    AugmentationConfig,
    IterationsConfig,
    Precision,
    SemiSupervisedConfig,
    TrainingConfig,
)

__all__ = [
    "DEFAULT",
    "OWN_SECTIONS",
    "AgentConfig",
    "AugmentationConfig",
    "CocoData",
    "Config",
    "ContainerConfig",
    "DataConfig",
    "DetectorConfig",
    "DiskData",
    "Distance",
    "EmbeddingConfig",
    "Estimator",
    "EvaluationConfig",
    "FidelityConfig",
    "IterationsConfig",
    "Kind",
    "Labels",
    "LutConfig",
    "Precision",
    "RewardConfig",
    "SemiSupervisedConfig",
    "Start",
    "StrategyConfig",
    "SyntheticData",
    "TrainingConfig",
    "VocData",
    "YoloData",
    "check_budget",
    "config_schema",
    "config_yaml",
    "download_of",
    "load_config",
    "read_values",
    "resolve_config",
]
