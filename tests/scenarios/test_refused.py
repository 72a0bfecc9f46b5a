"""A handler that the kernel's verifier does not accept is asked by the listener, and not loaded again and again."""

from typing import Annotated

from fanotify_fastpath import SEND_TO_USERSPACE, SKIP_EVENT, Handler, HandlerEvent, Mask, Verdict
from fanotify_fastpath.errors import VerifierError
from fanotify_fastpath.widths import Bytes, Items

from . import actions
from .conftest import Stage, only_kernel
from .support import paths


class TooLarge(Handler):
    """Loops in a loop, each turn with more ways than the verifier follows."""

    name = "too-large"
    texts: Annotated[tuple[bytes, ...], Items(60), Bytes(60)]

    def init(self) -> None:
        self.texts = tuple(b"%d" % n * 20 for n in range(60))

    def handle(self, event: HandlerEvent) -> Verdict:
        found = 0
        if event.name is not None and event.exe is not None:
            for byte in event.name:
                for text in self.texts:
                    if event.exe.endswith(text) or byte == 65:
                        found = 1
        return SKIP_EVENT if found else SEND_TO_USERSPACE


@only_kernel
def test_it_is_asked_in_user_space_and_loaded_once(stage: Stage) -> None:
    (directory,) = stage.dirs("directory")
    ears = stage.watch(directory, Mask.CREATE)
    attachment = ears.group.attach(TooLarge)
    obstacle = attachment.obstacle
    assert isinstance(obstacle, VerifierError)
    assert "too complex" in obstacle.log or "too large" in obstacle.log
    second = ears.group.attach("ignore-prefix", prefixes=["b"])
    assert attachment.obstacle is obstacle
    for name in ("xA", "b", "c"):
        stage.other(actions.touch, directory / name)
    heard = ears.until(lambda event: event.path == str(directory / "c"), "c")
    assert paths(heard, Mask.CREATE, directory) == ["c"]
    assert (attachment.n_seen, attachment.n_skipped, second.n_seen, second.n_skipped) == (3, 1, 2, 1)
    ears.group.detach(attachment)
    assert second.obstacle is None
