"""Where a client goes: a deployment's addresses and a project's keys, from arguments, settings, or the local stack that runs."""

from dataclasses import dataclass, replace
from pathlib import Path

from headwater.client.errors import ConnectError
from headwater.local.state import State, read_state
from headwater.settings import PREFIX, Settings


@dataclass(frozen=True)
class Target:
    """What is known of a deployment and a project; None where it is neither given nor found."""

    url: str | None
    project_id: str | None
    write_key: str | None
    read_key: str | None
    kafka: str | None
    data_dir: Path
    master_key: str | None = None

    def missing(self, *names: str) -> ConnectError | None:
        """The error that says which of these are not known, and how to give them; None when all are."""
        unknown = [name for name in names if getattr(self, name) is None]
        if not unknown:
            return None
        arguments = ", ".join(f"{name}=..." for name in unknown)
        variables = ", ".join(PREFIX + name.upper() for name in unknown)
        return ConnectError(
            f"{' and '.join(unknown)} not known: give connect({arguments}), set {variables}, "
            f"or start a local stack with `headwater up` (none was found in {self.data_dir})."
        )


def find_target(settings: Settings, given: Target | None = None, *, local: bool = True) -> Target:
    """What `given`, the settings and (where `local`) the stack that runs in the data directory tell. Reads the stack's state."""
    given = given or Target(None, None, None, None, None, settings.data_dir)
    return complete(given, settings, read_state(given.data_dir) if local else None)


def complete(given: Target, settings: Settings, stack: State | None) -> Target:
    """What is given, then the settings, then the local stack's state: each for what those before leave open.

    Pure. The stack serves only where neither argument nor setting gives an address, and its keys only its own project.
    """
    write_key, read_key, master_key = (
        None if key is None else key.get_secret_value()
        for key in (settings.write_key, settings.read_key, settings.master_key)
    )
    target = Target(
        url=given.url or settings.url,
        project_id=given.project_id or settings.project_id,
        write_key=given.write_key or write_key or master_key,
        read_key=given.read_key or read_key or master_key,
        kafka=given.kafka or (settings.kafka if "kafka" in settings.model_fields_set else None),
        data_dir=given.data_dir,
        master_key=given.master_key or master_key,
    )
    if stack is not None and target.url is None and target.kafka is None:
        own = target.project_id in (None, stack.project_id)
        target = replace(
            target,
            url=stack.url,
            kafka=stack.kafka,
            project_id=target.project_id or stack.project_id,
            write_key=target.write_key or (stack.write_key if own else None),
            read_key=target.read_key or (stack.read_key if own else None),
            master_key=target.master_key or (stack.master_key if own else None),
        )
    return replace(target, url=target.url.rstrip("/") if target.url else None)
