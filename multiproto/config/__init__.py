"""Settings from defaults, a TOML file, `.env`, the environment and flags (contract, section 7)."""

from .load import BadConfig, load
from .settings import Config

__all__ = ["BadConfig", "Config", "load"]
