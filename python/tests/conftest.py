"""Models and inputs that several tests share."""

import os
import warnings
from pathlib import Path

import numpy
import pytest

import pleura

MODELS = Path(os.environ.get("PLEURA_MODELS", Path(__file__).parents[2] / "models"))


@pytest.fixture(scope="session")
def prepare():
    return pleura.XrayPreparation("pneumoniamnist")


@pytest.fixture(scope="session")
def items(prepare):
    return prepare([sample.data for sample in pleura.samples()])


@pytest.fixture(scope="session")
def plan(prepare, items):
    return pleura.compile(prepare.model, calibration=items)


@pytest.fixture(scope="session")
def pipeline(plan):
    return pleura.Pipeline(plan, device="cpu")


@pytest.fixture(scope="session")
def client(plan):
    return pleura.Client(plan.client)


@pytest.fixture(scope="session")
def session(plan, client):
    return pleura.Server(plan.server, device="cpu").open_session(client.evaluation_keys())
