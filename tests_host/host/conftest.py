"""What the tests of a cloud share, beside the cloud, which each module makes as it needs it.

cloud_support     a device as the cloud sees one
pages_support     somebody with a browser, without one; in the folder above, as page_forms is
page_forms        what a browser sends from the forms of a page
postgres_support  a PostgreSQL of the tests' own
rawrepl           a board at a serial port, of which rawrepl_board is the board's side
"""

import logging

import pytest
from cloud_support import Device
from waiting import WAIT_S

from ivota_tools.api_client import Client
from ivota_tools.common import api_connection

api_connection.TIMEOUT_S = WAIT_S  # a busy machine answers later than an operator waits


@pytest.fixture(autouse=True)
def no_closed_log():
    """A command that ran in this process, up to an error, has left its log at a closed stream.

    A cloud's thread would fail at it while another command runs.
    """
    yield
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if getattr(getattr(handler, "stream", None), "closed", False):
            root.removeHandler(handler)


@pytest.fixture
def api(cloud):
    """The cloud's API, as an operator of its machine uses it."""
    with Client(cloud.api_url) as client:
        yield client


@pytest.fixture
def device(cloud, request):
    """A device that is this test's alone."""
    with Device(cloud.mqtt_port, "P", request.node.name[:100]) as double:
        yield double
