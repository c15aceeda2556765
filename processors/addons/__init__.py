"""The add-ons: each in a module of its own, all in `ADDONS` by name. docs/addons.md is generated from it."""

from processors.addons import ip_to_geo
from processors.addons.addon import Addon, AddonError

ADDONS: dict[str, Addon] = {addon.name: addon for addon in (ip_to_geo.ADDON,)}

__all__ = ["ADDONS", "Addon", "AddonError"]
