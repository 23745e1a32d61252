"""What every test may rely on, and what may be asked of all of them."""

import signal

import pytest

pytest_plugins = ["stand_ins.kernels", "stand_ins.own_process"]
pytest.register_assert_rewrite("contracts.backend_contract")  # tests, though in no test_*.py


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tensorrt",
        action="append",
        metavar="VERSION",
        help="a TensorRT, e.g. 10.3.0, whose Python API is compared with what we use of it; may be given again "
        "(default: 8.6.1, 10.3.0, 10.16.1.11 and 11.4.0.106)",
    )


@pytest.fixture(scope="session", autouse=True)
def _fixture_interruptible():
    """A shell that runs the tests in the background lets them, and so their children, ignore SIGINT; here it interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
