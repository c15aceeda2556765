"""keen:ua_parser: device, browser and operating system from a User-Agent header, by uap-core's expressions."""

import re

from ua_parser.core import Device, Domain
from ua_parser.loaders import load_lazy_builtins
from ua_parser.regex import Resolver

from headwater.settings import Settings
from processors.addons.addon import Addon, Field, LookUp, Result, cached

CACHED_AGENTS = 10_000
READ_MAX = 1_024  # characters; what tells agents apart comes first, and a thousand expressions run over it

OTHER = "Other"
_TELEVISIONS = re.compile(
    r"smart-?tv|hbbtv|apple ?tv|google ?tv|android ?tv|netcast|web0s|webos\.tv|roku|bravia|viera|chromecast|crkey|\baft[a-z]\w*",
    re.I,
)
_CONSOLES = re.compile(r"playstation|xbox|nintendo", re.I)
_WATCHES = re.compile(r"\bwatch\b|watchos|apple ?watch|galaxy watch|\bsm-r[789]\d\d", re.I)
_TABLETS = re.compile(r"ipad|tablet|kindle|silk/|playbook|\bnexus (?:7|9|10)\b", re.I)
_PHONES = re.compile(
    r"iphone|ipod|windows phone|blackberry|\bbb10\b|symbian|series ?60|opera mini|\bmobile\b|phone", re.I
)
_TABLET_WITHOUT_MOBILE = frozenset({"Android", "FireOS"})
_DESKTOPS = frozenset(
    {"Windows", "Mac OS X", "Linux", "Chrome OS", "Ubuntu", "Fedora", "Debian", "Red Hat", "CentOS", "Arch Linux", "Gentoo"}
    | {"SUSE", "Mandriva", "FreeBSD", "OpenBSD", "NetBSD", "Solaris"}
)  # fmt: skip


def load(settings: Settings) -> LookUp:
    """The parser: reads the expressions that come with ua-parser into its native backend."""
    resolve = Resolver(load_lazy_builtins())

    def parse(agent: str) -> Result:
        agent = agent[:READ_MAX]
        found = resolve(agent, Domain.ALL)
        browser, os, device = found.user_agent, found.os, found.device
        return {
            "device": {
                "family": device.family if device else OTHER,
                "type": device_type(agent, device, os.family if os else OTHER),
            },
            "browser": {
                "family": browser.family if browser else OTHER,
                "major": browser.major if browser else None,
                "minor": browser.minor if browser else None,
                "patch": browser.patch if browser else None,
            },
            "os": {
                "family": os.family if os else OTHER,
                "major": os.major if os else None,
                "minor": os.minor if os else None,
                "patch": os.patch if os else None,
                "patch_minor": os.patch_minor if os else None,
            },
        }

    return cached(parse, CACHED_AGENTS)


def device_type(agent: str, device: Device | None, os_family: str) -> str:
    """What sort of device an agent runs on; the first rule that holds decides.

    uap-core names devices but does not sort them, so the words that makers put into their agents do: what uap-core
    calls a spider is a bot; then televisions, consoles, watches, tablets, phones by their words. Android without
    `Mobile` is a tablet, as Google tells makers to write it. The families of desktop systems are desktops.
    """
    if device is not None and device.brand == "Spider":
        return "bot"
    if _TELEVISIONS.search(agent):
        return "television"
    if _CONSOLES.search(agent):
        return "game console"
    if _WATCHES.search(agent):
        return "watch"
    if _TABLETS.search(agent):
        return "tablet"
    if _PHONES.search(agent):
        return "mobile phone"
    if os_family in _TABLET_WITHOUT_MOBILE:
        return "tablet"
    if os_family in _DESKTOPS:
        return "desktop"
    return OTHER


ADDON = Addon(
    name="keen:ua_parser",
    meaning="Device, browser and operating system of a User-Agent header. Versions are text, null where there is none.",
    inputs=(Field("ua_string", "The property with the User-Agent header."),),
    outputs=(
        Field("device.family", 'The device, such as "iPhone"; "Other" where it is not known, as for most desktops.'),
        Field(
            "device.type",
            '"desktop", "mobile phone", "tablet", "television", "game console", "watch", "bot", or "Other".',
        ),
        Field("browser.family", 'The browser, such as "Chrome Mobile"; "Other" where it is not known.'),
        Field("browser.major", "First part of the browser's version."),
        Field("browser.minor", "Second part of the browser's version."),
        Field("browser.patch", "Third part of the browser's version."),
        Field("os.family", 'The operating system, such as "iOS"; "Other" where it is not known.'),
        Field("os.major", "First part of the system's version."),
        Field("os.minor", "Second part of the system's version."),
        Field("os.patch", "Third part of the system's version."),
        Field("os.patch_minor", "Fourth part of the system's version."),
    ),
    load=load,
)
