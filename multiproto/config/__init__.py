"""Settings from defaults, a TOML file, `.env`, the environment and flags (contract, section 7)."""

from .load import ConfigError, LoadedConfig, load_config
from .settings import Config

__all__ = ["Config", "ConfigError", "LoadedConfig", "load_config"]
