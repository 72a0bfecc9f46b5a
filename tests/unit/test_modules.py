"""Handlers from packages and files, for this process: all or none, and what is in use stays."""

import errno
import inspect
import sys
from pathlib import Path

import pytest

from fanotify_fastpath import (
    Group,
    HandlerBusy,
    HandlerExists,
    HandlerNotFound,
    InvalidArgument,
    PathNotFound,
    Registry,
    SourceRefused,
    modules,
    registry,
)
from fanotify_fastpath._modules.listing import Listing
from fanotify_fastpath.chain import Chain
from sources import NAMES, OTHERS, installed, write_handler

MODULE = "all = some_handlers.handlers"


def names(handlers: Registry) -> list[str]:
    return [handler.name for handler in handlers]


def test_a_file_gives_the_handlers_with_a_name_that_it_defines() -> None:
    handlers = Registry()
    loaded = modules.load(str(OTHERS), handlers)
    assert tuple(handler.name for handler in loaded) == NAMES
    assert names(handlers) == sorted(NAMES)
    assert "class OthersIgnorePrefix" in inspect.getsource(handlers.get("others-ignore-prefix"))


@pytest.mark.parametrize(
    ("entry_points", "expected"),
    [
        (MODULE, sorted(NAMES)),
        ("one = some_handlers.handlers:OthersIgnorePrefix", ["others-ignore-prefix"]),
        (f"{MODULE}\n one = some_handlers.handlers:OthersIgnorePrefix", sorted(NAMES)),
    ],
)
@pytest.mark.parametrize("name", ["some-handlers", "Some_Handlers"])
def test_a_package_gives_what_its_entry_points_name(
    tmp_path: Path, entry_points: str, expected: list[str], name: str
) -> None:
    handlers = Registry()
    with installed(tmp_path, "Some-Handlers", "some_handlers", entry_points):
        modules.load(name, handlers)
        assert names(handlers) == expected
        assert sorted(modules.unload("some.handlers", handlers)) == expected
    assert names(handlers) == []


def test_one_name_that_is_taken_leaves_nothing_registered() -> None:
    handlers = Registry()
    modules.load(str(OTHERS), handlers)
    handlers.unregister(NAMES[0])
    with pytest.raises(HandlerExists):
        modules.load(str(OTHERS), handlers)
    assert names(handlers) == [NAMES[1]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class Mine(:", "SyntaxError"),
        ("\n\n1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import no_such_module_anywhere", "no_such_module_anywhere"),
        ("", "has no handlers"),
        ("from fanotify_fastpath import IgnorePrefix", "has no handlers"),
    ],
)
def test_a_broken_file_is_refused_with_enoexec_and_leaves_no_module(tmp_path: Path, text: str, said: str) -> None:
    handlers, before = Registry(), set(sys.modules)
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(SourceRefused) as caught:
        modules.load(str(tmp_path / "broken.py"), handlers)
    assert caught.value.errno == errno.ENOEXEC
    assert said in str(caught.value)
    assert names(handlers) == []
    assert not [name for name in set(sys.modules) - before if name.startswith("fanotify_fastpath_file_")]


def test_a_declaration_that_is_not_right_leaves_nothing_registered(tmp_path: Path) -> None:
    handlers = Registry()
    with pytest.raises(InvalidArgument):
        modules.load(str(write_handler(tmp_path / "long.py", "n" * 64)), handlers)
    assert names(handlers) == []


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("/nowhere/file.py", PathNotFound),
        ("no-such-package", HandlerNotFound),
        ("pytest", HandlerNotFound),
        ("/etc/passwd", InvalidArgument),
        ("", InvalidArgument),
    ],
)
def test_what_is_no_source_is_refused(source: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        modules.load(source, Registry())


def test_an_entry_point_that_is_no_handler_is_refused(tmp_path: Path) -> None:
    with (
        installed(tmp_path, "odd", "odd_handlers", "x = odd_handlers.handlers:Any"),
        pytest.raises(SourceRefused, match="neither a handler nor a module"),
    ):
        modules.load("odd", Registry())


def test_a_file_is_run_anew_when_it_was_changed_and_leaves_no_cache(tmp_path: Path) -> None:
    handlers, path = Registry(), write_handler(tmp_path / "mine.py", desc="old")
    modules.load(str(path), handlers)
    modules.unload(str(path), handlers)
    write_handler(path, desc="new")
    modules.load(str(path), handlers)
    assert handlers.get("mine").desc == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["mine.py"]


def test_what_is_in_use_cannot_be_unloaded_but_delisted_and_serves_on(tmp_path: Path) -> None:
    handlers, path = Registry(), write_handler(tmp_path / "mine.py")
    modules.load(str(path), handlers)
    chain = Chain(lambda: None, registry=handlers)
    attachment = chain.attach("mine", {})
    for what in ("mine", str(path)):
        with pytest.raises(HandlerBusy) as caught:
            modules.unload(what, handlers)
        assert caught.value.errno == errno.EBUSY
    assert modules.unload(str(path), handlers, force=True) == ("mine",)
    with pytest.raises(HandlerNotFound):
        chain.attach("mine", {})
    assert chain.attachments == (attachment,)


def test_one_handler_in_use_keeps_all_of_its_source() -> None:
    handlers = Registry()
    modules.load(str(OTHERS), handlers)
    chain = Chain(lambda: None, registry=handlers)
    chain.attach("others-ignore-prefix", {"prefixes": ["a"]})
    with pytest.raises(HandlerBusy):
        modules.unload(str(OTHERS), handlers)
    assert names(handlers) == sorted(NAMES)
    chain.detach()
    assert set(modules.unload(str(OTHERS), handlers)) == set(NAMES)


@pytest.mark.parametrize("what", ["nobody", "/nowhere/file.py", "/odd/path"])
def test_what_is_not_loaded_cannot_be_unloaded(what: str) -> None:
    with pytest.raises(HandlerNotFound):
        modules.unload(what, Registry())


def test_a_private_handler_is_listed_nowhere(own_list: Listing) -> None:
    (private,) = (each for each in modules.load(str(OTHERS), Registry()) if each.name == "others-ignore-prefix")
    with Group(engine="fanotify") as group:
        group.attach(private, prefixes=["a"])
        assert group.attachments[0].name == "others-ignore-prefix"
        assert "others-ignore-prefix" not in registry
        assert private not in list(registry)
        assert own_list.names() == []
        with pytest.raises(HandlerNotFound):
            group.attach("others-ignore-prefix", prefixes=["a"])
