"""Whether a deployment is healthy: what is looked at, what that says, and what to do."""

from headwater.doctor.check import Check, healthy, remedies
from headwater.doctor.event import Target
from headwater.doctor.examine import Deployment, examine, service_urls

__all__ = ["Check", "Deployment", "Target", "examine", "healthy", "remedies", "service_urls"]
