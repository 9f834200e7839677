"""Settings from defaults, a TOML file, `.env`, the environment and flags (contract, section 7)."""

from .load import BadConfig, Loaded, load, read
from .settings import Config

__all__ = ["BadConfig", "Config", "Loaded", "load", "read"]
