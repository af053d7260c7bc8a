"""Marks on other things than test functions: each is honoured, or refused when it is collected."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import FAKE_DRIVER

Events = Callable[[], list[str]]

CASE = """
import unittest
import pytest

@pytest.mark.usefixtures("kubernix")
class TestIt(unittest.TestCase):
    {mark}
    def test_a(self):
        pass
"""


def test_a_test_case_can_not_choose_its_cluster(suite: pytest.Pytester, events: Events) -> None:
    """A mark that asks for another cluster is refused on a unittest.TestCase, before anything is started."""
    suite.makepyfile(CASE.format(mark="@pytest.mark.kubernix(nodes=0)"))
    result = suite.runpytest()
    result.assert_outcomes(errors=1)
    told = "*TestIt::test_a: @pytest.mark.kubernix(nodes=0) can't be honoured on a unittest.TestCase, *allowed are*"
    result.stdout.fnmatch_lines([told])
    assert events() == []


def test_a_test_case_may_ask_for_what_all_have(suite: pytest.Pytester, events: Events) -> None:
    """Without a mark, a unittest.TestCase gets the suite's cluster, and what it requires is looked at."""
    suite.makepyfile(CASE.format(mark='@pytest.mark.kubernix_requires(version=">=1.99")'))
    result = suite.runpytest("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*needs Kubernetes >=1.99*"])
    suite.makepyfile(CASE.format(mark=""))
    suite.runpytest().assert_outcomes(passed=1)


def test_a_wrong_mark_on_a_test_case_is_told(suite: pytest.Pytester) -> None:
    """Mistakes in a mark show at collection there too."""
    suite.makepyfile(CASE.format(mark="@pytest.mark.kubernix(node=1)"))
    result = suite.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*kubernix(node=1): no such setting; there are *"])


def test_a_test_case_that_would_be_rolled_back_under_others(suite: pytest.Pytester) -> None:
    """kubernix_pristine is refused there while workers share, with a way out that is one."""
    suite.makepyfile(CASE.format(mark='@pytest.mark.usefixtures("kubernix_pristine")'))
    result = suite.runpytest_subprocess("-n1")
    result.stdout.fnmatch_lines(["*kubernix_pristine can't be had by a unittest.TestCase while workers share *"])


ITEMS = """
import pytest

class Item(pytest.Item):
    def runtest(self):
        pass

class File(pytest.File):
    def collect(self):
        item = Item.from_parent(self, name="one")
        item.add_marker(pytest.mark.{mark})
        yield item

def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".yaml":
        return File.from_parent(parent, path=file_path)
"""


@pytest.mark.parametrize("mark", ["kubernix(nodes=0)", "kubernix_requires(nodes=1)"])
def test_an_item_without_fixtures_is_refused(suite: pytest.Pytester, mark: str) -> None:
    """An item of another plugin that has our mark and could never see a cluster is an error, not a test without one."""
    suite.makeconftest(FAKE_DRIVER + ITEMS.format(mark=mark))
    suite.makefile(".yaml", test_it="a: 1")
    result = suite.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*@pytest.mark.{mark} can't be honoured on an item of Item, which has no fixtures*"])


def test_a_doctest_of_a_marked_module_is_left_alone(suite: pytest.Pytester) -> None:
    """A module's mark is about its tests; a doctest in it that uses no cluster runs as ever."""
    suite.makepyfile(
        'import pytest\npytestmark = pytest.mark.kubernix(nodes=0)\ndef f():\n    """\n    >>> 1\n    1\n    """'
    )
    suite.runpytest("--doctest-modules").assert_outcomes(passed=1)


def test_a_mark_that_comes_too_late_is_told(suite: pytest.Pytester, events: Events) -> None:
    """A test that asks for its cluster in its body can't choose one by a mark, and is told how to."""
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.kubernix(nodes=0)
        def test_a(request):
            request.getfixturevalue("kubernix")
        """
    )
    result = suite.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*kubernix(nodes=0) can't be honoured for a test that asks for kubernix by *"])
    assert "start 1.36.3/1" not in events()


def test_tests_that_want_the_same_share_session_fixtures(suite: pytest.Pytester) -> None:
    """What a suite prepares for one marked test is not prepared again for the next that wants the same cluster."""
    suite.makepyfile(
        """
        import pytest

        made = []

        @pytest.fixture(scope="session")
        def crd(kubernix):
            made.append(len(kubernix.nodes))

        @pytest.mark.kubernix(nodes=2)
        @pytest.mark.parametrize("number", range(3))
        def test_a(crd, number):
            assert made == [2]

        @pytest.mark.kubernix(nodes=2)
        def test_b(crd):
            assert made == [2]
        """
    )
    suite.runpytest().assert_outcomes(passed=4)
