"""A handler whose code is a program for the kernel, wherever it is asked."""

from typing import Any, ClassVar

from fanotify_fastpath._bpf._abi import FpVerdict
from fanotify_fastpath._programs.object_code import ObjectCode
from fanotify_fastpath._programs.on_demand import OnDemand
from fanotify_fastpath.errors import NotPermitted
from fanotify_fastpath.handlers import Handler, HandlerEvent
from fanotify_fastpath.verdict import SEND_TO_USERSPACE, SKIP_EVENT, Verdict, deny


class HandlerInC(Handler):
    """
    Base of such handlers.

    :cvar code: its code
    """

    code: ClassVar[ObjectCode]

    def init(self, **arguments: Any) -> None:
        """
        Load the program, which the kernel must accept.

        :raises NotPermitted: a capability is missing
        :raises VerifierError: the kernel does not accept it
        """
        vars(self).update(arguments)
        try:
            self._program = OnDemand(self.code, self)
        except NotPermitted as exc:
            raise NotPermitted(
                f"cannot attach handler {self.name!r}: it is a program for the kernel, which needs CAP_BPF and "
                f"CAP_PERFMON: {exc}"
            ) from None

    def handle(self, event: HandlerEvent) -> Verdict:
        """
        Run the program once.

        :raises RuntimeError: it could not decide, or its answer is no verdict
        """
        answer = self._program.ask(event)
        if answer < 0:
            return deny(-answer)
        if answer == FpVerdict.SEND_TO_USERSPACE:
            return SEND_TO_USERSPACE
        if answer == FpVerdict.SKIP_EVENT:
            return SKIP_EVENT
        said = "FP_FAILED" if answer == FpVerdict.FAILED else f"{answer}, which is no verdict"
        raise RuntimeError(f"handler {self.name!r} answered {said}")

    def free(self) -> None:
        """Unload the program."""
        self._program.close()
