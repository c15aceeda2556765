"""The add-ons: each in a module of its own, all in `ADDONS` by name. docs/addons.md is generated from it."""

from processors.addons import date_time_parser, ip_to_geo, referrer_parser, ua_parser, url_parser
from processors.addons.addon import Addon, AddonError

ADDONS: dict[str, Addon] = {
    addon.name: addon
    for addon in (
        ip_to_geo.ADDON,
        ua_parser.ADDON,
        url_parser.ADDON,
        referrer_parser.ADDON,
        date_time_parser.ADDON,
    )
}

__all__ = ["ADDONS", "Addon", "AddonError"]
