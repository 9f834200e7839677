"""Settings from defaults, a TOML file, `.env`, the environment and flags.

docs/configuration.md#where-a-setting-comes-from
"""

from .load import ConfigError, LoadedConfig, load_config
from .settings import Config

__all__ = ["Config", "ConfigError", "LoadedConfig", "load_config"]
