"""Every model of the page, in the page's order. Their collections have different names, so that one project can hold all."""

from docs.models import game, github, saas, sendgrid, shop, stripe
from docs.models.model import Model

MODELS: tuple[Model, ...] = (saas.MODEL, shop.MODEL, game.MODEL, stripe.MODEL, sendgrid.MODEL, github.MODEL)
